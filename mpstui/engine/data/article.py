"""The article's pipeline, unchanged from its script, so that it can be measured; it is slow."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch.utils.data import DataLoader, Dataset, default_collate
from typing_extensions import override

from mpstui.backends import Backend
from mpstui.trees import Tree, move

from .digits import Digits
from .feed import Batch, Feed, Ready, on_host
from .source import SAMPLE_INPUTS, IndexedPipeline


class ArticlePipeline(IndexedPipeline):
    """The article's DataLoader."""

    note = "reference pipeline: DataLoader, PIL, ToTensor, Normalize"

    def __init__(
        self, digits: Digits, backend: Backend, normalise: tuple[float, float] | None
    ) -> None:
        self.train_samples, self.test_samples = digits.sizes
        self._device = backend.device
        self._options = backend.loader_options
        self._train = PilDigits(digits.train_images, digits.train_labels, normalise)
        self._test = PilDigits(digits.test_images, digits.test_labels, normalise)

    @override
    def training(self, order: torch.Tensor, batch_size: int) -> Feed:
        batches = [batch.tolist() for batch in torch.split(order, batch_size)]
        return Feed(self._load(self._train, {"batch_sampler": batches}), self._send)

    @override
    def test(self, batch_size: int) -> Feed:
        return Feed(self._load(self._test, {"batch_size": batch_size}), self._send)

    @override
    def sample_inputs(self) -> Tree:
        samples = [self._test[index] for index in range(min(SAMPLE_INPUTS, len(self._test)))]
        return move(default_collate(samples), self._device)

    def _load(self, dataset: PilDigits, options: dict[str, Any]) -> Iterator[Batch]:
        # A generator of its own: the loader's seed draw must not move the model's random numbers.
        loader = DataLoader(dataset, generator=torch.Generator(), **options, **self._options)
        for images, labels in loader:
            yield Batch((images, labels), len(labels))

    def _send(self, batch: Batch) -> Ready:
        return on_host(batch._replace(content=move(batch.content, self._device)))


class PilDigits(Dataset[tuple[torch.Tensor, int]]):
    """Digits converted one by one with PIL and torchvision's transforms, as in the example."""

    def __init__(
        self, images: torch.Tensor, labels: torch.Tensor, normalise: tuple[float, float] | None
    ) -> None:
        from torchvision import transforms  # takes three seconds; only this pipeline needs it

        steps: list[Any] = [transforms.ToTensor()]
        if normalise is not None:
            mean, deviation = normalise
            steps.append(transforms.Normalize((mean,), (deviation,)))
        self._transform = transforms.Compose(steps)
        self._images = images
        self._labels = labels

    def __len__(self) -> int:
        return len(self._labels)

    def __getitem__(self, index: int) -> tuple[torch.Tensor, int]:
        from PIL import Image

        image = Image.fromarray(self._images[index].numpy(), mode="L")
        return self._transform(image), int(self._labels[index])

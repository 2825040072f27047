"""Two ways to feed the loop the same batches; both do the same mathematical work.

``resident`` keeps normalised float32 images on the device and picks batches by index. ``reference``
is the article's script as it stands: a DataLoader that makes each image a PIL image, then ToTensor,
then Normalize, one by one on the host, and a copy of each batch to the device. The gain of the one
over the other is measured, not claimed.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Protocol

import torch
from torch.utils.data import DataLoader, Dataset
from typing_extensions import override

from mpstui.backends import Backend

from .mnist import Digits

Batch = tuple[torch.Tensor, torch.Tensor]
"""Images (b, 1, 28, 28) float32 and labels (b,) int64, on the device."""

SHOWN = 8
"""Test images whose reconstructions are saved each epoch."""


class Pipeline(Protocol):
    """A source of batches on a device."""

    train_samples: int

    def training(self, order: torch.Tensor, batch_size: int) -> Iterator[Batch]:
        """The batches of one epoch, in the order of these indices, shape (n,) on the CPU."""

    def test(self, batch_size: int) -> Iterator[Batch]:
        """The test set in its own order."""

    def shown(self) -> torch.Tensor:
        """The first test images, for pictures."""


class Resident(Pipeline):
    """Everything on the device from the start."""

    def __init__(
        self, digits: Digits, backend: Backend, normalise: tuple[float, float] | None
    ) -> None:
        self.train_samples = len(digits.train_labels)
        device = backend.device
        self._images = as_float(digits.train_images, normalise).to(device)
        self._labels = digits.train_labels.to(device)
        self._test_images = as_float(digits.test_images, normalise).to(device)
        self._test_labels = digits.test_labels.to(device)

    @override
    def training(self, order: torch.Tensor, batch_size: int) -> Iterator[Batch]:
        for index in torch.split(order.to(self._images.device), batch_size):
            yield self._images.index_select(0, index), self._labels.index_select(0, index)

    @override
    def test(self, batch_size: int) -> Iterator[Batch]:
        images = torch.split(self._test_images, batch_size)
        labels = torch.split(self._test_labels, batch_size)
        yield from zip(images, labels, strict=True)

    @override
    def shown(self) -> torch.Tensor:
        return self._test_images[:SHOWN]


class Reference(Pipeline):
    """The article's DataLoader."""

    def __init__(
        self, digits: Digits, backend: Backend, normalise: tuple[float, float] | None
    ) -> None:
        self.train_samples = len(digits.train_labels)
        self._device = backend.device
        self._options = backend.loader_options
        self._train = PilDigits(digits.train_images, digits.train_labels, normalise)
        self._test = PilDigits(digits.test_images, digits.test_labels, normalise)

    @override
    def training(self, order: torch.Tensor, batch_size: int) -> Iterator[Batch]:
        batches = [batch.tolist() for batch in torch.split(order, batch_size)]
        yield from self._load(self._train, {"batch_sampler": batches})

    @override
    def test(self, batch_size: int) -> Iterator[Batch]:
        yield from self._load(self._test, {"batch_size": batch_size})

    @override
    def shown(self) -> torch.Tensor:
        count = min(SHOWN, len(self._test))
        return torch.stack([self._test[index][0] for index in range(count)]).to(self._device)

    def _load(self, dataset: PilDigits, how: dict[str, Any]) -> Iterator[Batch]:
        # A generator of its own: the loader's seed draw must not move the model's random numbers.
        loader = DataLoader(dataset, generator=torch.Generator(), **how, **self._options)
        for images, labels in loader:
            yield images.to(self._device), labels.to(self._device)


class PilDigits(Dataset[tuple[torch.Tensor, int]]):
    """Digits that go through PIL and torchvision's transforms one by one, as in the example."""

    def __init__(
        self, images: torch.Tensor, labels: torch.Tensor, normalise: tuple[float, float] | None
    ) -> None:
        from torchvision import transforms  # three seconds, for this pipeline only

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


def as_float(images: torch.Tensor, normalise: tuple[float, float] | None) -> torch.Tensor:
    """What ToTensor and Normalize make of bytes, for all images at once.

    Args:
        images: uint8, shape (n, 28, 28).
        normalise: Mean and deviation, or None.

    Returns:
        float32, shape (n, 1, 28, 28).
    """
    floats = images.unsqueeze(1).to(torch.float32).div(255)
    return floats if normalise is None else floats.sub_(normalise[0]).div_(normalise[1])


PIPELINES: dict[str, type[Resident] | type[Reference]] = {
    "resident": Resident,
    "reference": Reference,
}

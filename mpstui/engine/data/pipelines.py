"""Pipelines that feed the loop the same batches, with the same mathematics.

``resident`` keeps normalised float32 images on the device and selects batches by index.
``reference`` is the article's script, unchanged: a DataLoader that converts each image to a PIL
image, then ToTensor, then Normalize, one by one on the host, and a copy of each batch to the
device. The gain of the one over the other is measured, not claimed. ``streamed`` is for digits that
don't fit on the device; custom data sets use a DataLoader, or the user's own.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from typing_extensions import override

from mpstui.backends import Backend
from mpstui.domain.errors import FieldError
from mpstui.trees import Tree

from .article import ArticlePipeline
from .digits import Digits, as_float
from .feed import Batch, Feed, on_host
from .items import Items
from .loader import Loader
from .own_loaders import OwnLoaderPipeline, OwnLoaders
from .source import SAMPLE_INPUTS, IndexedPipeline, Pipeline
from .streamed import StreamedPipeline


class ResidentPipeline(IndexedPipeline):
    """All data on the device from the start."""

    note = ""

    def __init__(
        self, digits: Digits, backend: Backend, normalise: tuple[float, float] | None
    ) -> None:
        self.train_samples, self.test_samples = digits.sizes
        device = backend.device
        self._images = as_float(digits.train_images, normalise).to(device)
        self._labels = digits.train_labels.to(device)
        self._test_images = as_float(digits.test_images, normalise).to(device)
        self._test_labels = digits.test_labels.to(device)

    @override
    def training(self, order: torch.Tensor, batch_size: int) -> Feed:
        return Feed(self._pick(order, batch_size), on_host)

    @override
    def test(self, batch_size: int) -> Feed:
        images = torch.split(self._test_images, batch_size)
        labels = torch.split(self._test_labels, batch_size)
        # Cloned: the user's code may normalise a batch in place.
        batches = (
            Batch((image.clone(), label.clone()), len(label))
            for image, label in zip(images, labels, strict=True)
        )
        return Feed(batches, on_host)

    @override
    def sample_inputs(self) -> Tree:
        images, labels = self._test_images[:SAMPLE_INPUTS], self._test_labels[:SAMPLE_INPUTS]
        return images.clone(), labels.clone()

    def _pick(self, order: torch.Tensor, batch_size: int) -> Iterator[Batch]:
        for index in torch.split(order.to(self._images.device), batch_size):
            images = self._images.index_select(0, index)
            yield Batch((images, self._labels.index_select(0, index)), len(index))


Tensors = type[ResidentPipeline] | type[StreamedPipeline] | type[ArticlePipeline]

PIPELINE_CLASSES: dict[str, Tensors] = {
    "resident": ResidentPipeline,
    "streamed": StreamedPipeline,
    "reference": ArticlePipeline,
}


def open_pipeline(
    name: str,
    data: Digits | Items | OwnLoaders,
    backend: Backend,
    normalise: tuple[float, float] | None,
    batch_size: int,
) -> Pipeline:
    """Open a run's pipeline.

    Instead of ``resident``, digits that don't fit on the device are streamed. Custom data sets use
    their DataLoader for ``resident`` and ``streamed``.

    Args:
        name: One of ``PIPELINE_CLASSES``.
        data: Digits, or a custom workload's data sets or loaders.
        backend: Where the batches go.
        normalise: Mean and standard deviation for digits; None leaves them in 0 to 1.
        batch_size: Samples a training step.

    Raises:
        FieldError: When ``reference`` is selected for custom data sets: it only supports digits.
    """
    if isinstance(data, (Items, OwnLoaders)):
        if name == "reference":
            problem = "reference only supports MNIST's digits; this workload has its own data"
            raise FieldError("pipeline", problem, "resident, streamed")
        if isinstance(data, OwnLoaders):
            return OwnLoaderPipeline(data, backend)
        return Loader(data, backend, batch_size)
    room = backend.room() if name == "resident" else data.resident_bytes
    if data.resident_bytes <= room:
        return PIPELINE_CLASSES[name](data, backend, normalise)
    pipeline = StreamedPipeline(data, backend, normalise)
    needed, free = (f"{count / 2**20:,.0f} MiB" for count in (data.resident_bytes, room))
    pipeline.note += f": {needed} do not fit into the {free} that mpstui may use"
    return pipeline

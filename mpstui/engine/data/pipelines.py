"""Ways to feed the loop the same batches; all do the same mathematical work.

``resident`` keeps normalised float32 images on the device and picks batches by index. ``reference``
is the article's script as it stands: a DataLoader that makes each image a PIL image, then ToTensor,
then Normalize, one by one on the host, and a copy of each batch to the device. The gain of the one
over the other is measured, not claimed. ``streamed`` is for digits that the device has no room for,
and a workload's own data sets go through a DataLoader of theirs.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from typing_extensions import override

from mpstui.backends import Backend
from mpstui.domain.errors import FieldError

from .article import ArticlePipeline
from .digits import Digits, as_float
from .feed import Batch, Feed, on_host
from .items import Items
from .loader import Loader
from .source import SHOWN, Pipeline
from .streamed import StreamedPipeline


class ResidentPipeline(Pipeline):
    """Everything on the device from the start."""

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
        return Feed(zip(images, labels, strict=True), on_host)

    @override
    def shown(self) -> torch.Tensor:
        return self._test_images[:SHOWN]

    def _pick(self, order: torch.Tensor, batch_size: int) -> Iterator[Batch]:
        for index in torch.split(order.to(self._images.device), batch_size):
            yield self._images.index_select(0, index), self._labels.index_select(0, index)


Tensors = type[ResidentPipeline] | type[StreamedPipeline] | type[ArticlePipeline]

PIPELINES: dict[str, Tensors] = {
    "resident": ResidentPipeline,
    "streamed": StreamedPipeline,
    "reference": ArticlePipeline,
}


def open_pipeline(
    name: str,
    data: Digits | Items,
    backend: Backend,
    normalise: tuple[float, float] | None,
    batch_size: int,
) -> Pipeline:
    """What feeds a run.

    Digits that a device has no room for are streamed where they were to be resident. Own data sets
    go through their DataLoader, whichever of the two is asked for.

    Args:
        name: One of ``PIPELINES``.
        data: Digits, or a workload's own data sets.
        backend: Where the batches go.
        normalise: Mean and deviation for digits; None leaves them in 0 to 1.
        batch_size: Samples a training step.

    Raises:
        FieldError: When own data sets are to go through the article's pipeline, which is of digits.
    """
    if isinstance(data, Items):
        if name == "reference":
            problem = "reference is the article's, of digits; this workload has data of its own"
            raise FieldError("pipeline", problem, "resident, streamed")
        return Loader(data, backend, batch_size)
    room = backend.room() if name == "resident" else data.resident_bytes
    if data.resident_bytes <= room:
        return PIPELINES[name](data, backend, normalise)
    pipeline = StreamedPipeline(data, backend, normalise)
    needed, free = (f"{count / 2**20:,.0f} MiB" for count in (data.resident_bytes, room))
    pipeline.note += f": {needed} do not go into the {free} that may be taken"
    return pipeline

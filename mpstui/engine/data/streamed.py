"""Streams digits: they stay on the host as bytes; batches are converted there and copied ahead."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from typing_extensions import override

from mpstui.backends import Backend
from mpstui.trees import Tree, move

from .digits import Digits, as_float
from .feed import Batch, Feed, sender
from .source import SAMPLE_INPUTS, IndexedPipeline

Tensors = tuple[torch.Tensor, torch.Tensor]
"""Images (n, 28, 28) uint8 and labels (n,) int64."""


class StreamedPipeline(IndexedPipeline):
    """The same batches as ``resident``, bitwise, for data larger than the device's memory."""

    note = "streamed: the data stay on the host, batches are copied ahead"

    def __init__(
        self, digits: Digits, backend: Backend, normalise: tuple[float, float] | None
    ) -> None:
        self.train_samples, self.test_samples = digits.sizes
        self._training = digits.train_images, digits.train_labels
        self._test = digits.test_images, digits.test_labels
        self._normalise = normalise
        self._pins = backend.pins
        self._device = backend.device
        self._send = sender(backend)

    @override
    def training(self, order: torch.Tensor, batch_size: int) -> Feed:
        return self._feed(self._training, order, batch_size)

    @override
    def test(self, batch_size: int) -> Feed:
        return self._feed(self._test, torch.arange(self.test_samples), batch_size)

    @override
    def sample_inputs(self) -> Tree:
        images, labels = (tensor[:SAMPLE_INPUTS] for tensor in self._test)
        return move((as_float(images, self._normalise), labels), self._device)

    def _feed(self, part: Tensors, order: torch.Tensor, batch_size: int) -> Feed:
        batches = self._make(part, order, batch_size)
        return Feed(batches, self._send, self._send.ahead)

    def _make(self, part: Tensors, order: torch.Tensor, batch_size: int) -> Iterator[Batch]:
        images, labels = part
        for index in torch.split(order, batch_size):
            floats = as_float(images.index_select(0, index), self._normalise, pin=self._pins)
            targets = labels.index_select(0, index)
            yield Batch((floats, targets.pin_memory() if self._pins else targets), len(targets))

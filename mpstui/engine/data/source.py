"""The interface of a pipeline."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple, Protocol

import torch
from typing_extensions import override

from mpstui.trees import Tree

from .feed import Feed
from .order import EpochOrders

SAMPLE_INPUTS = 8
"""Test inputs for each epoch's pictures."""


class EpochPart(NamedTuple):
    """Consecutive steps of an epoch."""

    seed: int
    """The run's."""
    epoch: int
    """Counted from 1."""
    done: int
    """Steps of this epoch before them."""
    steps: int
    batch_size: int
    samples: int
    """Of a full epoch."""
    joined: int = 1
    """How many steps' batches are concatenated to one."""


class FeedForm(NamedTuple):
    """What a feed depends on beside its part of the epoch; plans differ in it."""

    pipeline: Pipeline
    joined: int
    """As :attr:`EpochPart.joined`."""


class Pipeline(Protocol):
    """A source of batches on a device."""

    train_samples: int
    """0 if unknown."""
    test_samples: int
    note: str
    """A note for the reader of the results; often empty."""

    def epoch(self, part: EpochPart) -> Feed:
        """Return the training batches of a part of an epoch."""

    def test(self, batch_size: int) -> Feed:
        """Return the batches of the test set, in order."""

    def sample_inputs(self) -> Tree:
        """Return a batch of the first test samples, for pictures."""

    def read_state(self) -> dict[str, Any]:
        """Copy what the data keep between two batches, for a resumed run; often nothing."""
        return {}

    def load_state(self, state: dict[str, Any]) -> None:
        """Load what :meth:`read_state` returned."""
        return None

    def unsaved_state(self) -> tuple[str, ...]:
        """Return what such state can't be saved; often nothing."""
        return ()

    @contextmanager
    def preserved(self) -> Iterator[None]:
        """Restore that state at the context's end, after a look at a batch."""
        state = self.read_state()
        try:
            yield
        finally:
            self.load_state(state)


class IndexedPipeline(Pipeline):
    """A pipeline of samples that have an index, in an order that follows from the run's seed."""

    _orders: tuple[tuple[int, int], EpochOrders] | None = None

    @override
    def epoch(self, part: EpochPart) -> Feed:
        key = (part.seed, part.samples)
        if self._orders is None or self._orders[0] != key:
            self._orders = key, EpochOrders(part.seed, self.train_samples, part.samples)
        order = self._orders[1].of(part.epoch)
        first = part.done * part.batch_size
        order = order[first : first + part.steps * part.batch_size]
        return self.training(order, part.batch_size * part.joined)

    @abstractmethod
    def training(self, order: torch.Tensor, batch_size: int) -> Feed:
        """Return the batches of samples in the order of these indices, shape (n,) on the CPU."""
        raise NotImplementedError

"""The interface of a pipeline."""

from __future__ import annotations

from typing import Protocol

import torch

from .feed import Feed

SAMPLE_INPUTS = 8
"""Test inputs for each epoch's pictures."""


class Pipeline(Protocol):
    """A source of batches on a device."""

    train_samples: int
    test_samples: int
    note: str
    """A note for the reader of the results; often empty."""

    def training(self, order: torch.Tensor, batch_size: int) -> Feed:
        """Return the batches of one epoch, in the order of these indices, shape (n,) on the CPU."""

    def test(self, batch_size: int) -> Feed:
        """Return the batches of the test set, in order."""

    def sample_inputs(self) -> torch.Tensor:
        """Return the first test inputs, for pictures."""

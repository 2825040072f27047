"""What the loop needs of a pipeline."""

from __future__ import annotations

from typing import Protocol

import torch

from .feed import Feed

SHOWN = 8
"""Test inputs that pictures are made of each epoch."""


class Pipeline(Protocol):
    """A source of batches on a device."""

    train_samples: int
    test_samples: int
    note: str
    """What a reader of the results should know of it; often nothing."""

    def training(self, order: torch.Tensor, batch_size: int) -> Feed:
        """The batches of one epoch, in the order of these indices, shape (n,) on the CPU."""

    def test(self, batch_size: int) -> Feed:
        """The test set in its own order."""

    def shown(self) -> torch.Tensor:
        """The first test inputs, for pictures."""

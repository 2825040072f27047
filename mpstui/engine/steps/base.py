"""One training step, and the interface of everything that takes them."""

from __future__ import annotations

from typing import Protocol

import torch

from mpstui.engine.data.feed import Batch
from mpstui.engine.setup import Setup


class Steps(Protocol):
    """Takes a run's training steps."""

    batches: int
    """How many concatenated batches each call of ``take`` gets."""

    def take(self, images: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        """Train on ``batches`` batches, or on fewer at an epoch's end.

        Args:
            images: The samples of one or more batches, along the first dimension.
            labels: Their labels.

        Returns:
            Each step's objective, shape (steps,), on the device; later steps don't change it.
        """


def train_step(setup: Setup, images: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """Take one step of the examples' loop.

    Returns:
        The objective, 0-d, on the device.
    """
    with setup.fault:
        setup.optimizer.zero_grad()
        objective = setup.objective(images, labels)
        setup.backward(objective)
        setup.step()
    return objective


def split(images: torch.Tensor, labels: torch.Tensor, size: int) -> list[Batch]:
    """Split concatenated batches."""
    return list(zip(torch.split(images, size), torch.split(labels, size), strict=True))

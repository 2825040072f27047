"""One training step, and the interface of everything that takes them."""

from __future__ import annotations

from typing import Protocol

import torch

from mpstui import trees
from mpstui.engine.data.feed import Batch
from mpstui.engine.setup import Setup


class Steps(Protocol):
    """Takes a run's training steps."""

    batches: int
    """How many concatenated batches each call of ``take`` gets."""
    settling: int
    """Calls before the first one that takes as long as later ones."""

    def take(self, batch: Batch) -> torch.Tensor:
        """Train on ``batches`` batches, or on fewer at an epoch's end.

        Args:
            batch: One or more batches, concatenated along the first dimension.

        Returns:
            Each step's objective, shape (steps,), on the device; later steps don't change it.
        """


def train_step(setup: Setup, batch: Batch) -> torch.Tensor:
    """Take one step of the examples' loop, or the workload's whole step.

    Returns:
        The objective, 0-d, on the device.
    """
    with setup.fault:
        if setup.whole_step is not None:
            objective = setup.take_whole_step(batch.content)
        else:
            setup.optimizer.zero_grad()
            objective = setup.objective(batch)
            setup.backward(objective)
            setup.step()
        setup.schedulers.after_step()
    return objective


def split(batch: Batch, size: int) -> list[Batch]:
    """Split concatenated batches."""
    if batch.samples <= size:
        return [batch]
    parts = trees.split(batch.content, size)
    return [Batch(part, min(size, batch.samples - at * size)) for at, part in enumerate(parts)]

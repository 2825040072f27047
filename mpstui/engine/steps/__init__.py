"""Training steps: one by one, op by op, or several in one CUDA graph."""

from __future__ import annotations

from typing import Protocol

import torch
from typing_extensions import override

from mpstui.engine.data.feed import Batch
from mpstui.engine.setup import Setup


class Steps(Protocol):
    """Takes a run's training steps."""

    batches: int
    """How many batches each call of ``take`` is meant to get, laid end to end."""

    def take(self, images: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        """Train on so many batches, or on fewer at an epoch's end.

        Args:
            images: Samples of one batch or several, the first dimension counting them.
            labels: As many.

        Returns:
            Each step's objective, shape (steps,), on the device, to stay as it is.
        """


def steps_of(setup: Setup) -> Steps:
    """What takes a run's steps, as its plan says."""
    if setup.plan.graph_steps:
        from .cuda_graph import CudaGraphSteps

        return CudaGraphSteps(setup)
    return ArticleSteps(setup) if setup.config.pipeline == "reference" else EagerSteps(setup)


class EagerSteps(Steps):
    """Op by op, as PyTorch's examples train."""

    batches = 1

    def __init__(self, setup: Setup) -> None:
        self._setup = setup

    @override
    def take(self, images: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        return train_step(self._setup, images, labels).detach().view(1)


class ArticleSteps(EagerSteps):
    """As the examples' scripts train: they read the loss, which waits for the device."""

    def __init__(self, setup: Setup) -> None:
        super().__init__(setup)
        self._every = setup.workload.item_every or setup.config.log_interval
        self._taken = 0

    @override
    def take(self, images: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        objective = super().take(images, labels)
        if self._taken % self._every == 0:
            objective.item()
        self._taken += 1
        return objective


def train_step(setup: Setup, images: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """One step of the examples' loop.

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
    """Batches that were laid end to end, one by one."""
    return list(zip(torch.split(images, size), torch.split(labels, size), strict=True))

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
    """How many concatenated batches each call of ``take`` gets."""

    def take(self, images: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        """Train on ``batches`` batches, or on fewer at an epoch's end.

        Args:
            images: The samples of one or more batches, along the first dimension.
            labels: Their labels.

        Returns:
            Each step's objective, shape (steps,), on the device; later steps don't change it.
        """


def steps_of(setup: Setup) -> Steps:
    """Return the implementation of training steps that a run's plan selects."""
    if setup.plan.graph_steps:
        from .cuda_graph import CudaGraphSteps

        return CudaGraphSteps(setup)
    return ArticleSteps(setup) if setup.config.pipeline == "reference" else EagerSteps(setup)


class EagerSteps(Steps):
    """Steps op by op, as in PyTorch's examples."""

    batches = 1

    def __init__(self, setup: Setup) -> None:
        self._setup = setup

    @override
    def take(self, images: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        return train_step(self._setup, images, labels).detach().view(1)


class ArticleSteps(EagerSteps):
    """Steps that read the loss, which waits for the device, as often as the examples' scripts."""

    def __init__(self, setup: Setup) -> None:
        super().__init__(setup)
        self._every = setup.workload.item_every or setup.config.log_interval
        self._count = 0

    @override
    def take(self, images: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        objective = super().take(images, labels)
        if self._count % self._every == 0:
            objective.item()
        self._count += 1
        return objective


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

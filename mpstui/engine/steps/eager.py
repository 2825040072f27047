"""Training steps op by op."""

from __future__ import annotations

import torch
from typing_extensions import override

from mpstui.engine.data.feed import Batch
from mpstui.engine.setup import Setup

from .base import Steps, train_step


class EagerSteps(Steps):
    """Steps op by op, as in PyTorch's examples."""

    batches = 1
    settling = 1

    def __init__(self, setup: Setup) -> None:
        self._setup = setup

    @override
    def take(self, batch: Batch) -> torch.Tensor:
        return train_step(self._setup, batch).detach().view(1)


class ArticleSteps(EagerSteps):
    """Steps that read the loss, which waits for the device, as often as the examples' scripts."""

    def __init__(self, setup: Setup) -> None:
        super().__init__(setup)
        self._every = setup.workload.item_every or setup.config.log_interval
        self._count = 0

    @override
    def take(self, batch: Batch) -> torch.Tensor:
        objective = super().take(batch)
        if self._count % self._every == 0:
            objective.item()
        self._count += 1
        return objective

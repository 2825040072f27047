"""What the loop needs of a workload."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple, Protocol

import torch
from torch import nn
from torch.optim import Optimizer

from mpstui.domain.config import RunConfig


class Score(NamedTuple):
    """A test batch's outcome, on the device."""

    loss_sum: torch.Tensor
    """0-d, summed over the batch's samples."""
    correct: torch.Tensor | None
    """0-d count of right answers; None where there is no right answer."""


class Workload(Protocol):
    """A model, its objective and its test."""

    normalise: tuple[float, float] | None
    """Mean and deviation for the images; None leaves them in 0 to 1."""
    per_sample: bool
    """Whether the objective is a sum over the batch, shown divided by the batch's size."""

    def model(self) -> nn.Module:
        """A new model on the CPU, its weights from torch's default generator."""

    def optimizer(self, model: nn.Module, config: RunConfig) -> Optimizer:
        """The optimizer that the example uses."""

    def objective(
        self, model: nn.Module, images: torch.Tensor, labels: torch.Tensor
    ) -> torch.Tensor:
        """What is minimised: a 0-d tensor. Images are (b, 1, 28, 28), labels (b,)."""

    def score(self, model: nn.Module, images: torch.Tensor, labels: torch.Tensor) -> Score:
        """The test of a batch; called without gradients."""

    def pictures(
        self, model: nn.Module, images: torch.Tensor
    ) -> Iterable[tuple[str, torch.Tensor]]:
        """Kinds and pictures (rows, columns, 28, 28) in 0 to 1, after an epoch's test."""

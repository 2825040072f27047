"""What the loop needs of a workload, with defaults for what most have in common."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable
from typing import Any, NamedTuple

import torch
from torch import nn
from torch.optim import Adam, Optimizer

from mpstui.domain.config import RunConfig


class Score(NamedTuple):
    """A test batch's outcome, on the device."""

    loss_sum: torch.Tensor
    """0-d, summed over the batch's samples."""
    correct: torch.Tensor | None
    """0-d count of right answers; None where there is no right answer."""


class Workload(ABC):
    """A model, its objective and its test.

    A custom workload needs ``model`` and ``objective``. With a method ``datasets() -> (training,
    test)`` it brings its data too: two map-style ``torch.utils.data.Dataset``, whose items are an
    input tensor and a target. Without it, it trains on MNIST's digits.
    """

    normalise: tuple[float, float] | None = None
    """Mean and deviation for MNIST's images; None leaves them in 0 to 1."""
    per_sample: bool = False
    """Whether the objective is a sum over the batch, shown divided by the batch's size."""

    item_every: int | None = None
    """Steps between two readings of the loss in the script of the example; None is at each line of
    its log. The reference pipeline does so."""

    @abstractmethod
    def model(self) -> nn.Module:
        """A new model on the CPU, its weights from torch's default generator."""

    @abstractmethod
    def objective(
        self, model: nn.Module, images: torch.Tensor, labels: torch.Tensor
    ) -> torch.Tensor:
        """What is minimised: a 0-d tensor.

        Args:
            model: The model, or a faster one on the same parameters: it is called, not looked into.
            images: The inputs of a batch; MNIST's are (b, 1, 28, 28).
            labels: Its targets; MNIST's are (b,), int64.
        """

    def optimizer(self, model: nn.Module, config: RunConfig) -> Optimizer:
        """Adam at the learning rate that is asked for, unless a workload says otherwise."""
        return Adam(model.parameters(), lr=config.lr)

    def score(self, model: nn.Module, images: torch.Tensor, labels: torch.Tensor) -> Score:
        """The test of a batch; called without gradients.

        By default the loss is the objective. Answers are counted where the model gives a number for
        each class, shape (b, classes), and the labels are whole numbers, shape (b,).
        """
        answers: list[Any] = []
        # Listened to, not called again: it would cost another forward pass.
        with model.register_forward_hook(lambda module, inputs, output: answers.append(output)):
            objective = self.objective(model, images, labels)
        loss_sum = objective if self.per_sample else objective * len(images)
        return Score(loss_sum, _correct(answers[-1], labels) if answers else None)

    def pictures(
        self, model: nn.Module, images: torch.Tensor
    ) -> Iterable[tuple[str, torch.Tensor]]:
        """Kinds and grey pictures (rows, columns, height, width) in 0 to 1, after an epoch's test.

        By default none.
        """
        return ()


def _correct(output: Any, labels: torch.Tensor) -> torch.Tensor | None:
    if not isinstance(output, torch.Tensor) or output.dim() != 2 or output.shape[1] < 2:
        return None
    whole = not (labels.is_floating_point() or labels.is_complex() or labels.dtype is torch.bool)
    if not whole or labels.shape != output.shape[:1]:
        return None
    return (output.argmax(dim=1) == labels).sum()

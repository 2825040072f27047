"""The interface of a workload, with defaults that suit most of them."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable
from typing import Any, NamedTuple

import torch
from torch import nn
from torch.optim import Adam, Optimizer

from mpstui.domain.config import RunConfig


class Score(NamedTuple):
    """A test batch's evaluation, on the device."""

    loss_sum: torch.Tensor
    """0-d, summed over the batch's samples."""
    correct: torch.Tensor | None
    """0-d count of correct answers; None if answers can't be correct or wrong."""


class Workload(ABC):
    """A model, its objective and its evaluation.

    A custom workload needs ``model`` and ``objective``. With a method ``datasets() -> (training,
    test)`` it also provides its data: two map-style ``torch.utils.data.Dataset``, whose items are
    an input tensor and a target. Without it, it trains on MNIST's digits.
    """

    normalise: tuple[float, float] | None = None
    """Mean and standard deviation for MNIST's images; None leaves them in 0 to 1."""
    per_sample: bool = False
    """Whether the objective is a sum over the batch; it is then shown divided by the batch size."""

    item_every: int | None = None
    """Steps between two readings of the loss in the example's script; None for one at each line of
    its log. The reference pipeline reads as often."""

    @abstractmethod
    def model(self) -> nn.Module:
        """Return a new model on the CPU, its weights from torch's default generator."""

    @abstractmethod
    def objective(
        self, model: nn.Module, images: torch.Tensor, labels: torch.Tensor
    ) -> torch.Tensor:
        """Return the value to minimise, a 0-d tensor.

        Args:
            model: The model, or a faster one on the same parameters: call it, don't use its
                attributes.
            images: The inputs of a batch; MNIST's are (b, 1, 28, 28).
            labels: Its targets; MNIST's are (b,), int64.
        """

    def optimizer(self, model: nn.Module, config: RunConfig) -> Optimizer:
        """Return the optimizer; by default Adam at the config's learning rate."""
        return Adam(model.parameters(), lr=config.lr)

    def score(self, model: nn.Module, images: torch.Tensor, labels: torch.Tensor) -> Score:
        """Evaluate a batch; called without gradients.

        By default the loss is the objective. Correct answers are counted if the model returns a
        number for each class, shape (b, classes), and the labels are integers, shape (b,).
        """
        answers: list[Any] = []
        # A hook, because calling the model again would cost another forward pass.
        with model.register_forward_hook(lambda module, inputs, output: answers.append(output)):
            objective = self.objective(model, images, labels)
        loss_sum = objective if self.per_sample else objective * len(images)
        return Score(loss_sum, _correct(answers[-1], labels) if answers else None)

    def pictures(
        self, model: nn.Module, images: torch.Tensor
    ) -> Iterable[tuple[str, torch.Tensor]]:
        """Return kinds and grey pictures, shape (rows, columns, height, width), values in 0 to 1.

        Called after each evaluation; by default none.
        """
        return ()


def _correct(output: Any, labels: torch.Tensor) -> torch.Tensor | None:
    if not isinstance(output, torch.Tensor) or output.dim() != 2 or output.shape[1] < 2:
        return None
    integers = not (labels.is_floating_point() or labels.is_complex() or labels.dtype is torch.bool)
    if not integers or labels.shape != output.shape[:1]:
        return None
    return (output.argmax(dim=1) == labels).sum()

"""The interface of a workload, with defaults that suit most of them.

A workload needs ``model``, and ``objective`` or ``step``. All other methods are optional; those
that have no default here are looked up by name (:meth:`Workload.hook`).
"""

from __future__ import annotations

import inspect
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping
from contextlib import nullcontext
from functools import lru_cache, partial
from typing import Any, NamedTuple

import torch
from torch import nn
from torch.optim import Adam, Optimizer

from mpstui.domain.config import RunConfig
from mpstui.domain.errors import FieldError
from mpstui.trees import Tree, count_samples

Ratio = tuple[Any, Any]
"""A numerator and a denominator, 0-d tensors or numbers: correct answers of all, or a sum of values
and their count."""


EXCLUSIVE = {
    "optimizer": "optimizers",
    "optimizers": "optimizer",
    "datasets": "loaders",
    "loaders": "datasets",
}
"""Methods of which a class has one; that of a subclass replaces the other one of its base."""


class Score(NamedTuple):
    """A test batch's evaluation, on the device."""

    loss_sum: torch.Tensor
    """0-d, summed over the batch's samples."""
    correct: torch.Tensor | None
    """0-d count of correct answers; None if answers can't be correct or wrong."""


class Workload(ABC):
    """A model, its training and its evaluation.

    Optional methods without a default:

    - ``datasets() -> (training, test)``: two data sets; a batch is made with ``collate`` or torch's
      default. Without data of its own, a workload trains on MNIST's digits.
    - ``loaders() -> (training, test)``: two ``DataLoader`` or iterables of batches instead.
    - ``collate(items) -> batch``.
    - ``optimizers(model)``: one or several optimizers, instead of ``optimizer``.
    - ``schedulers(*optimizers) -> {"step": [...], "epoch": [...]}``.
    - ``step(model, batch, optimizers)``: a whole training step with a tuple of optimizers, instead
      of ``objective``. It returns the loss, or the loss and ``{"name": value}``.
    - ``state_dict()`` and ``load_state_dict(state)``: what a resumed run needs besides the model
      and the optimizers.

    Wherever a batch is passed, a method that takes one argument for it gets it whole; one that
    takes several gets its parts: ``objective(model, images, labels)``.
    """

    normalise: tuple[float, float] | None = None
    """Mean and standard deviation for MNIST's images; None leaves them in 0 to 1."""
    per_sample: bool = False
    """Whether the objective is a sum over the batch; it is then shown divided by the batch size."""

    item_every: int | None = None
    """Steps between two readings of the loss in the example's script; None for one at each line of
    its log. The reference pipeline reads as often."""

    steps_per_epoch: int | None = None
    """Steps of an epoch of own data; None for those of the training set."""
    test_steps: int | None = None
    """Batches of a test with own loaders; None for all."""

    @abstractmethod
    def model(self) -> nn.Module:
        """Return a new model on the CPU, its weights from torch's default generator."""

    def objective(self, model: nn.Module, *batch: Any) -> torch.Tensor:
        """Return the value to minimise, a tensor with one element.

        Args:
            model: The model, or a faster one on the same parameters: call it, don't use its
                attributes.
            *batch: The batch, or its parts; MNIST's are images (b, 1, 28, 28) and labels (b,),
                int64.
        """
        raise NotImplementedError

    def optimizer(self, model: nn.Module, config: RunConfig) -> Optimizer:
        """Return the optimizer; by default Adam at the config's learning rate."""
        return Adam(model.parameters(), lr=config.lr)

    def score(self, model: nn.Module, *batch: Any) -> Score | Mapping[str, Any]:
        """Evaluate a batch; called without gradients.

        Returns:
            A dict with the mean ``loss``; other entries are means over the batch, or pairs of a
            count and the number that it is of: ``{"loss": l, "accuracy": (correct, answers)}``.

        By default the loss is the objective. Correct answers are counted if the model is called
        once and returns a number for each class, shape (b, classes), and the labels are integers,
        shape (b,). A model that is called for each of several views returns no classes.
        """
        content = batch[0] if len(batch) == 1 else batch
        objective = partial(with_batch, self.objective)
        return default_score(objective, model, content, count_samples(content), self.per_sample)

    def pictures(self, model: nn.Module, *batch: Any) -> Iterable[tuple[str, torch.Tensor]]:
        """Return kinds and grey pictures, shape (rows, columns, height, width), values in 0 to 1.

        Called after each evaluation with the first inputs of the test set; by default none.
        """
        return ()

    def hook(self, name: str) -> Callable[..., Any] | None:
        """Return an optional method; None if the workload does not have it."""
        method: Callable[..., Any] | None = getattr(self, name, None)
        is_default = getattr(type(self), name, None) is getattr(Workload, name, None)
        if method is None or is_default or self._is_replaced(name):
            return None
        return method

    def _is_replaced(self, name: str) -> bool:
        """Return whether a subclass has the other of two methods that exclude each other."""
        alternative = EXCLUSIVE.get(name, "")
        for owner in type(self).__mro__:
            if owner is Workload or name in vars(owner):
                return False
            if alternative in vars(owner):
                return True
        return False


def takes_parts(method: Callable[..., Any]) -> bool:
    """Return whether a method takes a batch's parts as separate arguments after the model."""
    return _takes_parts(getattr(method, "__func__", method), hasattr(method, "__func__"))


@lru_cache(maxsize=256)
def _takes_parts(function: Callable[..., Any], is_bound: bool) -> bool:
    parameters = list(inspect.signature(function).parameters.values())
    if any(parameter.kind is parameter.VAR_POSITIONAL for parameter in parameters):
        return True
    positional = [
        parameter
        for parameter in parameters[1 + is_bound :]
        if parameter.kind in (parameter.POSITIONAL_ONLY, parameter.POSITIONAL_OR_KEYWORD)
        and parameter.default is parameter.empty
    ]
    return len(positional) > 1


def with_batch(method: Callable[..., Any], model: nn.Module, content: Tree) -> Any:
    """Call a method with the model and a batch, whole or in parts as its signature wants.

    Only a tuple or list has parts: a dict's would be its keys, a tensor's its samples.

    Raises:
        FieldError: If the method needs parts, and the batch has none.
    """
    if not takes_parts(method):
        return method(model, content)
    if isinstance(content, (tuple, list)):
        return method(model, *content)
    _refuse_whole(method, model, content)
    return method(model, content)


def _refuse_whole(method: Callable[..., Any], model: nn.Module, content: Tree) -> None:
    try:
        inspect.signature(method).bind(model, content)
    except TypeError as error:
        keys = f" with {', '.join(map(repr, content))}" if isinstance(content, Mapping) else ""
        name = getattr(method, "__name__", "the method")
        problem = f"{name} takes a batch in parts, and this one is a {type(content).__name__}{keys}"
        raise FieldError("workload", problem, f"{name}(self, model, batch)") from error


def default_score(
    objective: Callable[[nn.Module, Tree], torch.Tensor],
    model: nn.Module,
    content: Tree,
    samples: int,
    per_sample: bool,
) -> dict[str, Ratio]:
    """Evaluate a batch by the objective, and count the answers of a classifier.

    Args:
        objective: Called with the model and the batch.
        model: The model.
        content: The batch.
        samples: The number of its samples.
        per_sample: Whether the objective is a sum.
    """
    answers: list[Any] = []
    # A hook, because calling the model again would cost another forward pass.
    is_script = isinstance(model, torch.jit.ScriptModule)  # takes no hooks
    with (
        nullcontext()
        if is_script
        else model.register_forward_hook(lambda module, inputs, output: answers.append(output))
    ):
        value = objective(model, content)
    ratios: dict[str, Ratio] = {"loss": (value if per_sample else value * samples, samples)}
    labels = content[1] if isinstance(content, (tuple, list)) and len(content) == 2 else None
    correct = _correct(answers[0], labels) if len(answers) == 1 else None
    if correct is not None:
        ratios["accuracy"] = (correct, samples)
    return ratios


def _correct(output: Any, labels: Any) -> torch.Tensor | None:
    if not isinstance(output, torch.Tensor) or output.dim() != 2 or output.shape[1] < 2:
        return None
    if not isinstance(labels, torch.Tensor) or labels.shape != output.shape[:1]:
        return None
    if labels.is_floating_point() or labels.is_complex() or labels.dtype is torch.bool:
        return None
    return (output.argmax(dim=1) == labels).sum()

"""Builds what trains a workload's model: optimizers, schedulers, and the whole step if it has one.

A whole step is the workload's ``step``. mpstui has one of its own for an objective with several
optimizers, or with one that calls a closure.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import torch
from torch import nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler, ReduceLROnPlateau, StepLR

from mpstui.domain.config import RunConfig
from mpstui.domain.errors import FieldError
from mpstui.modes.whole_step import calls_closure
from mpstui.trees import Tree

from .contract import Workload
from .custom import hook_name
from .scores import describe, is_scalar

SCHEDULERS = '{"step": [...]} or {"epoch": [...]}, lists of torch.optim.lr_scheduler\'s schedulers'
STEP = 'the loss, a tensor with one element or a number; or the loss and {"name": value}'


class StepValues(NamedTuple):
    """What a whole step returns."""

    loss: torch.Tensor
    """0-d, without a gradient."""
    values: Mapping[str, Any]
    """Further values by name, tensors with one element or numbers."""


WholeStep = Callable[[nn.Module, Tree], StepValues]
"""Takes a whole training step with the model on a batch."""


class Schedulers:
    """The schedulers of a run's learning rates."""

    def __init__(self, per_step: Sequence[Any] = (), per_epoch: Sequence[Any] = ()) -> None:
        self.per_step, self.per_epoch = tuple(per_step), tuple(per_epoch)

    def after_step(self) -> None:
        """Advance those of each step."""
        for scheduler in self.per_step:
            scheduler.step()

    def after_epoch(self, test_loss: float | None, has_test: bool = True) -> None:
        """Advance those of each epoch.

        Args:
            test_loss: The newest test's, for ``ReduceLROnPlateau``; None if it is not finite.
            has_test: Whether the epoch ended with a test. Without one, ``ReduceLROnPlateau`` stays:
                it would count an epoch without a better loss.
        """
        for scheduler in self.per_epoch:
            if isinstance(scheduler, ReduceLROnPlateau):
                if has_test:
                    scheduler.step(float("nan") if test_loss is None else test_loss)
            else:
                scheduler.step()

    def state(self) -> list[dict[str, Any]]:
        """Return the schedulers' state dicts."""
        return [scheduler.state_dict() for scheduler in (*self.per_step, *self.per_epoch)]

    def load(self, states: Sequence[Mapping[str, Any]]) -> None:
        """Load their state dicts.

        Raises:
            FieldError: When there are more or fewer schedulers than states.
        """
        schedulers = (*self.per_step, *self.per_epoch)
        if len(schedulers) != len(states):
            problem = f"schedulers: {len(schedulers)}, and the snapshot has {len(states)}"
            raise FieldError("workload", problem, "as many as the run had that it resumes")
        for scheduler, state in zip(schedulers, states, strict=True):
            scheduler.load_state_dict(dict(state))
            # The optimizer has stepped in another process; a scheduler would warn otherwise.
            scheduler.optimizer._opt_called = True


def build_optimizers(
    workload: Workload, model: nn.Module, config: RunConfig
) -> tuple[Optimizer, ...]:
    """Return a workload's optimizers, one or more.

    Raises:
        FieldError: When the workload's method returns something else.
    """
    several = workload.hook("optimizers")
    hook = "optimizers" if several is not None else "optimizer"
    if several is not None:
        value = several(model, config) if _takes(several, 2) else several(model)
    else:
        optimizer = workload.optimizer
        value = optimizer(model, config) if _takes(optimizer, 2) else optimizer(model)  # type: ignore[call-arg]
    optimizers = tuple(value) if isinstance(value, (tuple, list)) else (value,)
    is_one_wanted = several is None and isinstance(value, (tuple, list))
    if is_one_wanted or not optimizers or not all(isinstance(o, Optimizer) for o in optimizers):
        allowed = "a torch.optim.Optimizer"
        if several is not None:
            allowed += ", or several in a tuple or list"
        elif is_one_wanted:
            allowed += "; a workload with several has a method optimizers(self, model)"
        raise FieldError(
            "workload", f"{hook_name(workload, hook)} returns {describe(value)}", allowed
        )
    return optimizers


def build_schedulers(
    workload: Workload, optimizers: Sequence[Optimizer], config: RunConfig
) -> Schedulers:
    """Return a workload's schedulers; without any, the learning rate × gamma after each epoch.

    Raises:
        FieldError: When the workload's method returns something else, or the config has a gamma
            that its schedulers would overrule.
    """
    hook = workload.hook("schedulers")
    if hook is None:
        return Schedulers((), [StepLR(o, step_size=1, gamma=config.gamma) for o in optimizers])
    where = hook_name(workload, "schedulers")
    if config.gamma != 1.0:
        raise FieldError("gamma", f"{config.gamma:g}, and {where} sets the learning rates", "1")
    value = hook(*optimizers)
    if not isinstance(value, Mapping) or not set(value) <= {"step", "epoch"}:
        raise FieldError("workload", f"{where} returns {describe(value)}", SCHEDULERS)
    lists = {key: _as_list(entry) for key, entry in value.items()}
    for key, entries in lists.items():
        for entry in entries:
            is_scheduler = isinstance(entry, (LRScheduler, ReduceLROnPlateau))
            if not is_scheduler or (key == "step" and isinstance(entry, ReduceLROnPlateau)):
                problem = f"{where} returns {key}: {describe(entry)}"
                raise FieldError("workload", problem, SCHEDULERS)
    return Schedulers(lists.get("step", ()), lists.get("epoch", ()))


def build_step(
    workload: Workload,
    optimizers: Sequence[Optimizer],
    objective: Callable[[nn.Module, Tree], torch.Tensor],
) -> WholeStep | None:
    """Return a workload's whole step; None if a step is objective, backward and one optimizer.

    Args:
        workload: The workload.
        optimizers: Its optimizers.
        objective: Called with the model and a batch.
    """
    hook = workload.hook("step")
    if hook is not None:
        where = hook_name(workload, "step")

        def own_step(model: nn.Module, batch: Tree) -> StepValues:
            return step_values(hook(model, batch, tuple(optimizers)), where)

        return own_step
    closures = [optimizer for optimizer in optimizers if calls_closure(optimizer)]
    if len(optimizers) == 1 and not closures:
        return None

    def step(model: nn.Module, batch: Tree) -> StepValues:
        first: list[torch.Tensor] = []

        def closure() -> torch.Tensor:
            for optimizer in optimizers:
                optimizer.zero_grad()
            value = objective(model, batch)
            torch.autograd.backward(value)
            first.append(value.detach())
            return value

        if not closures:
            closure()
        for optimizer in optimizers:
            optimizer.step(closure if optimizer in closures else None)  # type: ignore[arg-type]
        return StepValues(first[0], {})

    return step


def step_values(value: object, where: str) -> StepValues:
    """Return what a workload's ``step`` returned.

    Args:
        value: The loss; the loss and a dict; or a dict with ``loss``.
        where: Class and method, for messages.

    Raises:
        FieldError: When it is something else.
    """
    loss, values = value, {}
    if isinstance(value, (tuple, list)) and len(value) == 2 and isinstance(value[1], Mapping):
        loss, values = value[0], dict(value[1])
    elif isinstance(value, Mapping) and "loss" in value:
        values = dict(value)
        loss = values.pop("loss")
    if not is_scalar(loss) or not all(map(is_scalar, values.values())):
        raise FieldError("workload", f"{where} returns {describe(value)}", STEP)
    tensor = loss if isinstance(loss, torch.Tensor) else torch.tensor(float(loss))  # type: ignore[arg-type]
    return StepValues(tensor.detach().reshape(()), values)


def _as_list(value: Any) -> list[Any]:
    return list(value) if isinstance(value, (tuple, list)) else [value]


def _takes(method: Callable[..., Any], count: int) -> bool:
    """Return whether a method can be called with a number of arguments."""
    try:
        inspect.signature(method).bind(*range(count))
    except TypeError:
        return False
    return True

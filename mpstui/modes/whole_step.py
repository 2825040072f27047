"""A training step that the user's code takes whole: several losses, optimizers and updates.

Two sides stay comparable because they share gradients at each update, as for a usual step (see
:mod:`mpstui.modes.lockstep`): a side's gradients are copied when its optimizer begins to step, and
the other side's replace them there. The user's code does not notice; what it computes after an
update starts from the same weights on both sides.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn
from torch.optim import LBFGS, Optimizer

Gradients = dict[str, "torch.Tensor | None"]
"""Gradients on the CPU, by the name of their parameter."""


class SharedUpdates:
    """The gradients at each update of one side's step, for the other side's."""

    def __init__(
        self,
        model: nn.Module,
        optimizers: Sequence[Optimizer],
        substitutes: Sequence[Mapping[str, torch.Tensor | None]] | None = None,
    ) -> None:
        """Prepare a step.

        Args:
            model: Names the parameters.
            optimizers: Those that the step may use.
            substitutes: The other side's gradients at each update; None for the side's own.
        """
        self._names = parameter_names(model, optimizers)
        self._optimizers = optimizers
        self._substitutes = substitutes
        self.updates: list[Gradients] = []
        """The side's own gradients at each update so far."""

    @property
    def gradients(self) -> Gradients:
        """All own gradients, with the number of the update from the second one on."""
        return {
            name if not number else f"{name}, update {number + 1}": gradient
            for number, update in enumerate(self.updates)
            for name, gradient in update.items()
        }

    @contextmanager
    def active(self) -> Iterator[None]:
        """Copy and replace gradients while the context is entered."""
        handles = [
            optimizer.register_step_pre_hook(self._exchange) for optimizer in self._optimizers
        ]
        try:
            yield
        finally:
            for handle in handles:
                handle.remove()

    def _exchange(self, optimizer: Optimizer, args: Any, kwargs: Any) -> None:
        trained = {
            self._names[id(parameter)]: parameter
            for group in optimizer.param_groups
            for parameter in group["params"]
        }
        number = len(self.updates)
        # Outside the modes that check and record a step: a copy to the CPU is none of its ops.
        with torch._C._DisableTorchDispatch():
            self.updates.append(
                {
                    name: None if p.grad is None else p.grad.detach().cpu().clone()
                    for name, p in trained.items()
                }
            )
            if self._substitutes is None or number >= len(self._substitutes):
                return
            substitute = self._substitutes[number]
            for name, parameter in trained.items():
                gradient = substitute.get(name)
                if gradient is not None:
                    parameter.grad = gradient.to(parameter, copy=True)


def parameter_names(model: nn.Module, optimizers: Sequence[Optimizer]) -> dict[int, str]:
    """Return the name of each trained parameter by its identity; those outside the model too."""
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    for number, optimizer in enumerate(optimizers):
        trained = [p for group in optimizer.param_groups for p in group["params"]]
        for index, parameter in enumerate(trained):
            names.setdefault(id(parameter), f"parameter {index} of optimizer {number + 1}")
    return names


def calls_closure(optimizer: Optimizer) -> bool:
    """Return whether an optimizer's step needs a closure that evaluates the loss again."""
    if isinstance(optimizer, LBFGS):
        return True
    closure = inspect.signature(type(optimizer).step).parameters.get("closure")
    return closure is not None and closure.default is closure.empty


@contextmanager
def reported_phases(
    optimizers: Sequence[Optimizer], on_phase: Callable[[str], None]
) -> Iterator[None]:
    """Report the phases of a whole step as it enters them: forward, backward, optimizer.

    Args:
        optimizers: Those that the step may use.
        on_phase: Called with the phase that begins. After a backward pass or an update, it is
            ``forward`` again.
    """
    autograd: Any = torch.autograd
    originals = {name: getattr(autograd, name) for name in ("backward", "grad")}

    def wrapped(original: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any, **kwargs: Any) -> Any:
            on_phase("backward")
            try:
                return original(*args, **kwargs)
            finally:
                on_phase("forward")

        return call

    handles = []
    for optimizer in optimizers:
        handles.append(optimizer.register_step_pre_hook(lambda *_: on_phase("optimizer")))
        handles.append(optimizer.register_step_post_hook(lambda *_: on_phase("forward")))
    for name, original in originals.items():
        setattr(autograd, name, wrapped(original))
    on_phase("forward")
    try:
        yield
    finally:
        for name, original in originals.items():
            setattr(autograd, name, original)
        for handle in handles:
            handle.remove()

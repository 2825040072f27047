"""A training step in three phases, on a device or on the CPU, and its initial state."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import torch
from torch import nn
from torch.optim import Optimizer

from mpstui.backends import Backend
from mpstui.trees import Tree, move

from .whole_step import SharedUpdates, calls_closure, reported_phases

PHASES = ("forward", "backward", "optimizer")


@dataclass(frozen=True)
class Side:
    """A model in training on one device: the device to check, or the CPU."""

    backend: Backend
    model: nn.Module
    optimizers: tuple[Optimizer, ...]
    objective: Callable[[nn.Module, Tree], torch.Tensor]
    """Returns the 0-d value to minimise for a batch on the device."""
    whole_step: Callable[[nn.Module, Tree], torch.Tensor] | None = None
    """Takes a whole training step and returns its loss; None for the three phases."""
    autocast: Callable[[], AbstractContextManager[Any]] = nullcontext
    fault: AbstractContextManager[Any] = field(default_factory=nullcontext)
    """A simulated fault that is active during its steps."""
    scaler: Callable[[], torch.amp.GradScaler] | None = None
    """Creates the gradient scaler of fp16, a new one for every step."""
    read_own: Callable[[], dict[str, Any]] = dict
    """Copies the state that the user's code keeps outside of model and optimizers."""
    load_own: Callable[[dict[str, Any]], object] = lambda _: None
    """Loads such state."""

    @property
    def optimizer(self) -> Optimizer:
        """The first optimizer; the only one of a step in three phases."""
        return self.optimizers[0]

    @property
    def shares_updates(self) -> bool:
        """Whether gradients can be shared at an update.

        An optimizer that evaluates the loss again computes its own in between.
        """
        return not any(map(calls_closure, self.optimizers))

    def place(self, batch: Tree) -> Tree:
        """Copy a batch to this side's device; the step may change it."""
        return move(batch, self.backend.device, copy=True)

    def take_whole_step(
        self,
        batch: Tree,
        on_phase: Callable[[str], None],
        substitutes: Sequence[Mapping[str, torch.Tensor | None]] | None = None,
    ) -> tuple[torch.Tensor, SharedUpdates]:
        """Take the whole step on a batch that is on the device.

        Args:
            batch: The batch.
            on_phase: Called with each phase as it begins.
            substitutes: Another side's gradients at each update; None for this side's own.

        Returns:
            The loss, and the gradients at each update.
        """
        assert self.whole_step is not None
        updates = SharedUpdates(self.model, self.optimizers, substitutes)
        with reported_phases(self.optimizers, on_phase), updates.active(), self.autocast():
            return self.whole_step(self.model, batch).detach(), updates

    def forward(self, batch: Tree) -> torch.Tensor:
        """Run the first phase; gradients are cleared before it, as in the training loop."""
        self.optimizer.zero_grad()
        with self.autocast():
            return self.objective(self.model, batch)

    def backward(self, objective: torch.Tensor) -> Callable[[], object]:
        """Run the second phase; scaled gradients are unscaled at its end.

        Returns:
            The third phase: the optimizer's step, which fp16's scaler skips if a gradient is not
            finite.
        """
        if self.scaler is None:
            torch.autograd.backward(objective)
            return self.optimizer.step
        scaler = self.scaler()
        torch.autograd.backward(scaler.scale(objective))
        scaler.unscale_(self.optimizer)
        return lambda: scaler.step(self.optimizer)

    def state_tensors(self) -> dict[str, torch.Tensor]:
        """Return everything that a step may change: parameters, buffers, the optimizer's state."""
        tensors: dict[str, torch.Tensor] = dict(self.model.named_parameters())
        tensors |= dict(self.model.named_buffers())
        for name, parameter in self.model.named_parameters():
            for optimizer in self.optimizers:
                for kind, value in optimizer.state.get(parameter, {}).items():
                    if isinstance(value, torch.Tensor) and value.dim():
                        tensors[f"{kind} of {name}"] = value
        return tensors


class StepState(NamedTuple):
    """The state before a step, on the CPU."""

    model: dict[str, Any]
    optimizers: tuple[dict[str, Any], ...]
    own: dict[str, Any]


def save(side: Side) -> StepState:
    """Copy a side's state."""
    model = {name: value.detach().cpu().clone() for name, value in side.model.state_dict().items()}
    optimizers = tuple(_to_cpu(copy.deepcopy(o.state_dict())) for o in side.optimizers)
    return StepState(model, optimizers, side.read_own())


def load(side: Side, state: StepState) -> None:
    """Put a side into a state."""
    side.model.load_state_dict(state.model)
    for optimizer, optimizer_state in zip(side.optimizers, state.optimizers, strict=True):
        optimizer.load_state_dict(copy.deepcopy(optimizer_state))
        optimizer.zero_grad()
    side.load_own(state.own)
    side.model.train()


def take_step(side: Side, batch: Tree, on_phase: Callable[[str], None] | None = None) -> float:
    """Train on a batch that is on the side's device; returns the loss.

    Args:
        side: The side to train. The caller activates its fault.
        batch: The batch.
        on_phase: Called with each of :data:`PHASES` as it starts.
    """
    notify = on_phase or (lambda _: None)
    if side.whole_step is not None:
        loss, _ = side.take_whole_step(batch, notify)
        side.backend.synchronize()
        return float(loss)
    notify("forward")
    objective = side.forward(batch)
    notify("backward")
    update = side.backward(objective)
    notify("optimizer")
    update()
    side.backend.synchronize()
    return float(objective.detach())


def _to_cpu(value: Any) -> Any:
    if isinstance(value, torch.Tensor):
        return value.detach().cpu().clone()
    if isinstance(value, dict):
        return {name: _to_cpu(item) for name, item in value.items()}
    return [_to_cpu(item) for item in value] if isinstance(value, list) else value

"""A training step in three phases, on a device or on the CPU, and its initial state."""

from __future__ import annotations

import copy
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import torch
from torch import nn
from torch.optim import Optimizer

from mpstui.backends import Backend

Batch = tuple[torch.Tensor, ...]
PHASES = ("forward", "backward", "optimizer")


@dataclass(frozen=True)
class Side:
    """A model in training on one device: the device to check, or the CPU."""

    backend: Backend
    model: nn.Module
    optimizer: Optimizer
    objective: Callable[[nn.Module, Batch], torch.Tensor]
    """Returns the 0-d value to minimise for a batch on the device."""
    autocast: Callable[[], AbstractContextManager[Any]] = nullcontext
    fault: AbstractContextManager[Any] = field(default_factory=nullcontext)
    """A simulated fault that is active during its steps."""
    scaler: Callable[[], torch.amp.GradScaler] | None = None
    """Creates the gradient scaler of fp16, a new one for every step."""

    def place(self, batch: Batch) -> Batch:
        """Move a batch to this side's device."""
        return tuple(tensor.to(self.backend.device) for tensor in batch)

    def forward(self, batch: Batch) -> torch.Tensor:
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
            for kind, value in self.optimizer.state.get(parameter, {}).items():
                if isinstance(value, torch.Tensor) and value.dim():
                    tensors[f"{kind} of {name}"] = value
        return tensors


class StepState(NamedTuple):
    """The state before a step, on the CPU."""

    model: dict[str, Any]
    optimizer: dict[str, Any]


def save(side: Side) -> StepState:
    """Copy a side's state."""
    model = {name: value.detach().cpu().clone() for name, value in side.model.state_dict().items()}
    return StepState(model, _to_cpu(copy.deepcopy(side.optimizer.state_dict())))


def load(side: Side, state: StepState) -> None:
    """Put a side into a state."""
    side.model.load_state_dict(state.model)
    side.optimizer.load_state_dict(copy.deepcopy(state.optimizer))
    side.optimizer.zero_grad()
    side.model.train()


def take_step(side: Side, batch: Batch, on_phase: Callable[[str], None] | None = None) -> float:
    """Train on a batch that is on the side's device; returns the loss.

    Args:
        side: The side to train. The caller activates its fault.
        batch: The batch.
        on_phase: Called with each of :data:`PHASES` as it starts.
    """
    notify = on_phase or (lambda _: None)
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

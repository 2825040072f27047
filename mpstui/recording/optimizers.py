"""An optimizer of a recorded script: which losses its gradients come from."""

from __future__ import annotations

import math
import weakref
from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch.optim.optimizer import Optimizer

MAX_PROBES = 16
"""Parameters per optimizer by which its model and a clipping are recognised."""

REFRESH_STEPS = 64
"""Steps after which the probes are chosen again: a group may be added, a parameter replaced."""

MAX_PENDING = 512
"""Losses before a step that are kept on the device; more are summed."""


class Gradient(NamedTuple):
    """The state of a parameter's gradient, which an accumulation changes."""

    parameter: torch.Tensor
    tensor: weakref.ref[torch.Tensor] | None
    """The gradient, which a backward pass that keeps its graph replaces; None if there is none."""
    version: int


Loss = torch.Tensor | float
"""A number from the CPU; on any other device a tensor of one element, which waits for a flush."""


class OptimizerTrack:
    """What is known of an optimizer between two of its steps."""

    def __init__(self, optimizer: Optimizer) -> None:
        self.optimizer = weakref.ref(optimizer, lambda ref: self._forget())
        self.name = ""
        """What it trains; empty until that is looked up."""
        self.pending: list[Loss] = []
        """Losses whose gradients the next step uses."""
        self.first_call: list[Loss] | None = None
        """The losses of a closure's first call, which the step reports."""
        self.is_unknown = False
        """Whether a gradient came from something else than a scalar."""
        self.steps = 0
        self.created_after = 0
        """The run's step at its creation."""
        self.probes: list[torch.Tensor]
        self.usual_probe: torch.Tensor | None = None
        """The parameter by which the last backward pass was recognised."""
        self._reached = 0  # its position
        self.version = -1
        """The version of its gradient then."""
        self.usual_passes = 0
        """Backward passes in a row that were recognised by the same parameter."""
        self.refresh_probes()

    def _forget(self) -> None:
        """Let go of the parameters, since the optimizer is gone: they may fill a GPU."""
        self.probes = []
        self.pending = []
        self.usual_probe = None

    def refresh_probes(self) -> None:
        """Choose parameters to know it by: all, or some from each part of a large model."""
        parameters = self.parameters()
        stride = -(-len(parameters) // MAX_PROBES) or 1
        self.probes = parameters[::stride]

    def parameters(self) -> list[torch.Tensor]:
        """Return the parameters that need gradients, in the order of the groups."""
        optimizer = self.optimizer()
        groups = optimizer.param_groups if optimizer is not None else ()
        return [p for group in groups for p in group["params"] if p.requires_grad]

    def gradients(self) -> list[Gradient]:
        """Return the state of all gradients: a step may use a part of the parameters only."""
        optimizer = self.optimizer()
        groups = optimizer.param_groups if optimizer is not None else ()
        return [
            Gradient(p, None, -1)
            if (gradient := p.grad) is None
            else Gradient(p, weakref.ref(gradient), gradient._version)
            for group in groups
            for p in group["params"]
        ]

    def was_cleared(self, gradients: Sequence[Gradient]) -> bool:
        """Return whether the script cleared the gradients, so that earlier losses do not count.

        Args:
            gradients: The newest, as :meth:`gradients` returns them.
        """
        if all(gradient.tensor is None for gradient in gradients):
            return True
        current = self.usual_probe.grad if self.usual_probe is not None else None
        if self.version < 0 or (current is not None and current._version == self.version):
            return False
        # Something changed them since the last backward: clipping, or ``zero_()``.
        return not any(bool(p.grad.any()) for p in self.parameters() if p.grad is not None)

    def was_reached(self, before: Sequence[Gradient]) -> bool:
        """Return whether a backward pass added to the gradients since ``before``."""
        usual = self._reached if self._reached < len(before) else 0
        for index in (usual, *range(len(before))) if before else ():  # most often the same one
            parameter, tensor, version = before[index]
            gradient = parameter.grad
            if gradient is None:
                continue
            if tensor is None or tensor() is not gradient or gradient._version != version:
                is_usual = parameter is self.usual_probe
                self.usual_passes = self.usual_passes + 1 if is_usual else 1
                self.usual_probe, self._reached = parameter, index
                self.version = gradient._version
                return True
        return False

    def add(self, losses: Sequence[Loss], are_all: bool = True) -> None:
        """Add losses whose gradients the next step uses.

        Args:
            losses: Of one backward pass.
            are_all: Whether nothing else added to the gradients.
        """
        self.pending += losses
        self.is_unknown |= not are_all
        if len(self.pending) > MAX_PENDING:  # an optimizer that never steps
            with torch.no_grad():
                self.pending = [
                    sum(
                        loss if isinstance(loss, float) else loss.float().sum()
                        for loss in self.pending
                    )
                ]

    def take(self) -> list[Loss]:
        """Return the losses of the step that is over, and forget them; empty if unknown."""
        losses = self.pending if self.first_call is None else self.first_call
        if self.is_unknown:
            losses = []
        self.forget_losses()
        self.first_call = None
        self.steps += 1
        if self.steps % REFRESH_STEPS == 0:
            self.refresh_probes()
        return losses

    def forget_losses(self) -> None:
        """Forget the losses before the next step."""
        self.pending, self.is_unknown = [], False

    def rates(self) -> tuple[Any, ...]:
        """Return the learning rate of each group: numbers, or copies of the user's tensors.

        A group of the user's own optimizer may have none: then it is NaN, and the tuple is empty
        if no group has one.
        """
        optimizer = self.optimizer()
        if optimizer is None or not any("lr" in group for group in optimizer.param_groups):
            return ()
        rates = [group.get("lr", math.nan) for group in optimizer.param_groups]
        for index, rate in enumerate(rates):
            if isinstance(rate, torch.Tensor):  # schedulers change it in place
                rates[index] = rate.detach().clone()
        return tuple(rates)

"""An optimizer of a recorded script: which losses its gradients come from."""

from __future__ import annotations

import weakref
from collections.abc import Sequence
from typing import Any

import torch
from torch.optim.optimizer import Optimizer

MAX_PROBES = 16
"""Parameters per optimizer by which a backward pass is recognised as its own."""

REFRESH_STEPS = 64
"""Steps after which the probes are chosen again: a group may be added, a parameter replaced."""

MAX_PENDING = 512
"""Losses before a step that are kept on the device; more are summed."""

Gradient = tuple[Any, int] | None


class OptimizerTrack:
    """What is known of an optimizer between two of its steps."""

    def __init__(self, optimizer: Optimizer) -> None:
        self.optimizer = weakref.ref(optimizer, lambda ref: self._forget())
        self.name = ""
        """What it trains; empty until that is looked up."""
        self.pending: list[torch.Tensor] = []
        """Losses whose gradients the next step uses: 0-d, on their device."""
        self.first_call: list[torch.Tensor] | None = None
        """The losses of a closure's first call, which the step reports."""
        self.is_unknown = False
        """Whether a gradient came from something else than a scalar."""
        self.steps = 0
        self.created_after = 0
        """The run's step at its creation."""
        self.probes: list[torch.Tensor]
        self._reached = 0  # the probe by which the last backward was recognised
        self._version = -1  # of its gradient then
        self.refresh_probes()

    def _forget(self) -> None:
        """Let go of the parameters, since the optimizer is gone: they may fill a GPU."""
        self.probes = []
        self.pending = []

    def refresh_probes(self) -> None:
        """Choose parameters to watch: all of them, or some from each part of a large model."""
        parameters = self.parameters()
        stride = -(-len(parameters) // MAX_PROBES) or 1
        self.probes = parameters[::stride]
        self._reached, self._version = 0, -1

    def parameters(self) -> list[torch.Tensor]:
        """Return the parameters that need gradients, in the order of the groups."""
        optimizer = self.optimizer()
        groups = optimizer.param_groups if optimizer is not None else ()
        return [p for group in groups for p in group["params"] if p.requires_grad]

    def gradients(self) -> list[Gradient]:
        """Return the probes' gradients with their versions, which an accumulation changes."""
        return [
            None if (gradient := probe.grad) is None else (gradient, gradient._version)
            for probe in self.probes
        ]

    def was_cleared(self, gradients: Sequence[Gradient]) -> bool:
        """Return whether the script cleared the gradients, so that earlier losses do not count.

        Args:
            gradients: The probes' newest, as :meth:`gradients` returns them.
        """
        if all(gradient is None for gradient in gradients):
            return True
        gradient = gradients[self._reached] if gradients else None
        if self._version < 0 or (gradient is not None and gradient[1] == self._version):
            return False
        # Something changed them since the last backward: clipping, or ``zero_()``.
        return not any(bool(p.grad.any()) for p in self.parameters() if p.grad is not None)

    def was_reached(self, before: Sequence[Gradient]) -> bool:
        """Return whether a backward pass added to the gradients since ``before``."""
        probes = self.probes
        if not probes or len(before) != len(probes):
            return False
        for index in (self._reached, *range(len(probes))):  # most often the same one
            gradient = probes[index].grad
            if gradient is None:
                continue
            previous, version = before[index], gradient._version
            if previous is None or previous[0] is not gradient or previous[1] != version:
                self._reached, self._version = index, version
                return True
        return False

    def add(self, losses: Sequence[torch.Tensor], are_all: bool = True) -> None:
        """Add losses whose gradients the next step uses.

        Args:
            losses: 0-d, on their device.
            are_all: Whether nothing else added to the gradients.
        """
        self.pending += losses
        self.is_unknown |= not are_all
        if len(self.pending) > MAX_PENDING:  # an optimizer that never steps
            with torch.no_grad():
                self.pending = [torch.stack([loss.float().sum() for loss in self.pending]).sum()]

    def take(self) -> list[torch.Tensor]:
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
        """Return the learning rate of each group: numbers, or copies of the user's tensors."""
        optimizer = self.optimizer()
        if optimizer is None:
            return ()
        rates = [group.get("lr", 0.0) for group in optimizer.param_groups]
        for index, rate in enumerate(rates):
            if isinstance(rate, torch.Tensor):  # schedulers change it in place
                rates[index] = rate.detach().clone()
        return tuple(rates)

"""An optimizer of a recorded script: which losses its gradients come from."""

from __future__ import annotations

import weakref
from collections.abc import Sequence
from typing import Any

import torch
from torch.optim.optimizer import Optimizer

PROBES = 3
"""Parameters per optimizer by which a backward pass is recognised as its own."""

MAX_PENDING = 512
"""Losses before a step that are kept on the device; more are summed."""

Gradient = tuple[Any, int] | None


class OptimizerTrack:
    """What is known of an optimizer between two of its steps."""

    def __init__(self, optimizer: Optimizer) -> None:
        self.optimizer = weakref.ref(optimizer)
        self.name = ""
        """What it trains; empty until that is looked up."""
        self.pending: list[torch.Tensor] = []
        """Losses whose gradients the next step uses: 0-d, on their device."""
        self.first_call: list[torch.Tensor] | None = None
        """The losses of a closure's first call, which the step reports."""
        self.steps = 0
        self.refresh_probes()

    def refresh_probes(self) -> None:
        """Choose parameters to watch; a group may be added, and a parameter replaced."""
        parameters = self.parameters()
        picks = range(0, len(parameters), max(len(parameters) // PROBES, 1))
        self.probes = [parameters[index] for index in picks]

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

    def was_cleared(self) -> bool:
        """Return whether no probe has a gradient, so that earlier losses no longer count."""
        return all(probe.grad is None for probe in self.probes)

    def was_reached(self, before: Sequence[Gradient]) -> bool:
        """Return whether a backward pass added to the gradients since ``before``."""
        return any(
            new is not None and (old is None or old[0] is not new[0] or old[1] != new[1])
            for old, new in zip(before, self.gradients(), strict=True)
        )

    def add(self, losses: Sequence[torch.Tensor]) -> None:
        """Add losses whose gradients the next step uses."""
        self.pending += losses
        if len(self.pending) > MAX_PENDING:  # an optimizer that never steps
            with torch.no_grad():
                self.pending = [torch.stack([loss.float() for loss in self.pending]).sum()]

    def take(self) -> list[torch.Tensor]:
        """Return the losses of the step that is over, and forget them."""
        losses = self.pending if self.first_call is None else self.first_call
        self.pending, self.first_call = [], None
        return losses

    def rates(self) -> tuple[Any, ...]:
        """Return the learning rate of each group: numbers, or tensors as the user made them."""
        optimizer = self.optimizer()
        return tuple(group["lr"] for group in optimizer.param_groups) if optimizer else ()

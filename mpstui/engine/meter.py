"""The clock and the losses: windows of steps whose losses are read from the device together.

Rules of the clock: the first steps and evaluations are excluded, the device is synchronised at both
edges, and time comes from ``perf_counter``. Reading the losses waits for the device, so a window's
end needs no other synchronisation. Energy is read at the same edges.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch

from mpstui.backends import Backend

WARMUP_STEPS = 10
"""First steps of a run that train but are not timed: kernels load, caches fill."""

SETTLE_STEPS = 3
"""First steps of each later turn that are not timed: the other run used the caches."""

PROFILE_AFTER = 50
"""Timed steps before the profile: the run's speed is steady then, and the clock has measured it."""

PROFILE_STEPS = 5
"""Steps that are profiled; their medians are reported."""

FLUSH_SECONDS = 0.15
FLUSH_STEPS = 250


class StepBatch(NamedTuple):
    """A window of steps whose losses were read together."""

    losses: npt.NDArray[np.float32]
    """Shape (steps,), as the workload reports them."""
    samples: int
    loss_sum: float
    """Over the samples; each step's loss is the mean of its samples."""
    seconds: float
    timed: bool
    joules: float | None = None
    """Energy consumed; None where unknown, and for untimed steps."""


class Meter:
    """Collects losses on the device and time on the host."""

    def __init__(
        self,
        backend: Backend,
        per_sample: bool,
        clock: Callable[[], float] = time.perf_counter,
        energy: Callable[[], float | None] | None = None,
    ) -> None:
        """Create a stopped meter; call ``start`` before the first step.

        Args:
            backend: The device that holds the losses.
            per_sample: Whether objectives are sums over a batch, to be divided by its size.
            clock: Seconds, monotonic.
            energy: Joules since a fixed moment; None where unknown.
        """
        self._backend = backend
        self._per_sample = per_sample
        self._clock = clock
        self._energy = energy
        self._joules: float | None = None  # at the mark
        self._losses: list[torch.Tensor] = []  # each (steps,), on the device
        self._sizes: list[int] = []
        self._mark = 0.0
        self._warmup_steps = 0

    def start(self, warmup_steps: int) -> None:
        """Start measuring; the first ``warmup_steps`` are untimed."""
        self._backend.synchronize()
        self._joules = self._energy() if self._energy else None
        self._mark = self._clock()
        self._warmup_steps = warmup_steps

    def add(self, objectives: torch.Tensor, samples: Sequence[int]) -> None:
        """Add steps.

        Args:
            objectives: The minimised values, shape (steps,); they stay on the device.
            samples: Of each step.
        """
        self._losses.append(objectives)
        self._sizes += samples

    @property
    def due(self) -> bool:
        """Whether to flush now: the untimed steps are over, or the window is long enough."""
        steps = len(self._sizes)
        if self._warmup_steps:
            return steps >= self._warmup_steps
        return steps >= FLUSH_STEPS or self._clock() - self._mark >= FLUSH_SECONDS

    def exclude_elapsed(self, joules: bool = False) -> None:
        """Exclude the time since the last flush, which was not spent on training.

        Args:
            joules: Exclude its energy too, where it took long enough to matter.
        """
        if self._losses:
            return
        if joules and self._energy is not None:
            self._joules = self._energy()
        self._mark = self._clock()

    def flush(self) -> StepBatch | None:
        """Return the steps since the last flush; None when there are none."""
        if not self._losses:
            return None
        losses = torch.cat(self._losses).float().cpu().numpy()
        mark = end = self._clock()
        joules = None
        if self._energy is not None:
            joules, self._joules = self._joules, self._energy()
            joules = consumed(joules, self._joules)
            mark = self._clock()  # excludes reading the counter
        sizes = np.asarray(self._sizes)
        if self._per_sample:
            losses = losses / sizes.astype(np.float32)
        window = StepBatch(
            losses=losses,
            samples=int(sizes.sum()),
            loss_sum=float(np.dot(losses.astype(np.float64), sizes)),
            seconds=end - self._mark,
            timed=self._warmup_steps == 0,
            joules=joules if self._warmup_steps == 0 else None,
        )
        self._warmup_steps = max(self._warmup_steps - len(losses), 0)
        self._losses, self._sizes, self._mark = [], [], mark
        return window


def consumed(before: float | None, after: float | None) -> float | None:
    """Return the joules between two readings of a counter; None if they are unknown."""
    # Training consumes energy: a counter that did not increase has not measured.
    if before is None or after is None or after <= before:
        return None
    return after - before

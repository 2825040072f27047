"""Detects when a run's loss diverges from the loss of the run that it is compared with.

Two runs of a comparison see the same batches from the same weights, so their losses are paired step
by step. They still differ: rounding differs between devices, and each device draws its own dropout
masks and VAE noise. The gaps that this explains were measured over 600 steps. A gap is the
difference of means over 20 steps, as a share of the reference's mean plus a tenth of its first one:

==========  ====================  =====================  ==========================
workload    cpu, other threads    cpu, bf16 autocast     one NVIDIA H200, own draws
==========  ====================  =====================  ==========================
VAE         at most 0.001         at most 0.025          at most 0.024
MNIST       at most 0.095         at most 0.127          at most 0.194
==========  ====================  =====================  ==========================

(20 seeds each, 2026-11-23.) The simulated faults that change a loss at all exceed 60 within 40
steps. The alarm's thresholds are between the two.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterable
from typing import NamedTuple

BLOCK = 20
"""Steps whose losses are averaged."""

OFF_COURSE = 0.5
"""Gap in a single block that raises the alarm."""

STRAYING = 0.3
"""Gap that raises the alarm when two consecutive blocks exceed it."""

FIRST_SHARE = 0.1
"""Share of the first mean added to the scale, so that a loss near zero gives no large gap."""


class GapBlock(NamedTuple):
    """The gap over ``BLOCK`` steps."""

    step: int
    """The last of these steps."""
    value: float
    reference: float
    gap: float
    """Difference as a share of the reference's mean loss plus a tenth of its first mean."""


class LossGapMonitor:
    """Pairs the losses of a run with those of its reference run and compares their means."""

    def __init__(self) -> None:
        self.diverged: GapBlock | None = None
        """The block that raised the alarm; None before one did."""
        self._losses: deque[float] = deque()
        self._reference_losses: deque[float] = deque()
        self._step = 0
        self._first: float | None = None
        self._straying = False

    def add(
        self, losses: Iterable[float] = (), reference_losses: Iterable[float] = ()
    ) -> list[GapBlock]:
        """Add new losses, each in the order of its steps.

        Args:
            losses: Of the run that is checked.
            reference_losses: Of the run that it is compared with.

        Returns:
            The newly completed blocks. A block with a loss that is not finite is left out: that has
            its own event.
        """
        self._losses.extend(losses)
        self._reference_losses.extend(reference_losses)
        blocks = []
        while min(len(self._losses), len(self._reference_losses)) >= BLOCK:
            value = _mean(self._losses)
            reference = _mean(self._reference_losses)
            self._step += BLOCK
            if not (math.isfinite(value) and math.isfinite(reference)):
                continue
            if self._first is None:
                self._first = abs(reference)
            scale = abs(reference) + FIRST_SHARE * self._first
            gap = abs(value - reference) / scale if scale else 0.0
            block = GapBlock(self._step, value, reference, gap)
            blocks.append(block)
            self._check(block)
        return blocks

    def _check(self, block: GapBlock) -> None:
        strays = block.gap > STRAYING
        if self.diverged is None and (block.gap > OFF_COURSE or (strays and self._straying)):
            self.diverged = block
        self._straying = strays


def _mean(losses: deque[float]) -> float:
    return sum(losses.popleft() for _ in range(BLOCK)) / BLOCK

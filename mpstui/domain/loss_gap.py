"""Whether a run keeps to the course of the run that it is compared with.

Two runs of a comparison see the same batches from the same weights, so their losses are paired step
by step. They differ all the same: rounding differs from device to device, and dropout masks and the
VAE's noise are drawn on each device. What that explains was measured over 600 steps, as the gap
between means over 20 steps, as a share of the other run's mean plus a tenth of its first one:

==========  ====================  =====================  ==========================
workload    cpu, other threads    cpu, bf16 autocast     one NVIDIA H200, own draws
==========  ====================  =====================  ==========================
VAE         at most 0.001         at most 0.025          at most 0.024
MNIST       at most 0.095         at most 0.127          at most 0.194
==========  ====================  =====================  ==========================

(20 seeds each, 2026-11-23.) Of the simulated faults, those that change a loss at all were
over 60 within 40 steps. The alarm stands between the two.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterable
from typing import NamedTuple

BLOCK = 20
"""Steps whose losses are averaged."""

OFF_COURSE = 0.5
"""The gap in one block that raises the alarm."""

STRAYING = 0.3
"""The gap that raises it in two blocks in a row."""

FIRST_SHARE = 0.1
"""How much of the first mean counts into the scale, so that a loss near zero has no large gap."""


class GapBlock(NamedTuple):
    """The gap over some steps."""

    step: int
    """The last of them."""
    value: float
    other: float
    gap: float
    """Share of the other run's mean loss plus a tenth of its first."""


class LossGapMonitor:
    """Pairs the losses of a run and of the run that it is measured against."""

    def __init__(self) -> None:
        self.parted: GapBlock | None = None
        """The block that raised the alarm."""
        self._mine: deque[float] = deque()
        self._others: deque[float] = deque()
        self._step = 0
        self._first: float | None = None
        self._straying = False

    def take(self, mine: Iterable[float] = (), others: Iterable[float] = ()) -> list[GapBlock]:
        """Take in new losses, each list in the order of its steps.

        Args:
            mine: Of the run that is watched.
            others: Of the run that it is measured against.

        Returns:
            The blocks that are complete now. One with a loss that is not finite is left out: that
            is an event of its own.
        """
        self._mine.extend(mine)
        self._others.extend(others)
        found = []
        while min(len(self._mine), len(self._others)) >= BLOCK:
            value = _mean(self._mine)
            other = _mean(self._others)
            self._step += BLOCK
            if not (math.isfinite(value) and math.isfinite(other)):
                continue
            if self._first is None:
                self._first = abs(other)
            scale = abs(other) + FIRST_SHARE * self._first
            gap = abs(value - other) / scale if scale else 0.0
            block = GapBlock(self._step, value, other, gap)
            found.append(block)
            self._judge(block)
        return found

    def _judge(self, block: GapBlock) -> None:
        strays = block.gap > STRAYING
        if self.parted is None and (block.gap > OFF_COURSE or (strays and self._straying)):
            self.parted = block
        self._straying = strays


def _mean(losses: deque[float]) -> float:
    return sum(losses.popleft() for _ in range(BLOCK)) / BLOCK

"""Detects memory that grows with every step: how fast, since when, and the usual cause.

Normally memory rises in jumps (kernels load, caches fill, an evaluation begins) and then stays
level. A leak of each step's graph makes it rise evenly. So growth counts as steady when the medians
of the four quarters of a stretch rise at similar rates.
"""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from itertools import pairwise
from typing import NamedTuple

from .units import memory

LEAST_POINTS = 8
"""Readings in a stretch: two in each quarter."""

LEAST_BYTES = 200 * 2**20
"""Least growth of a stretch: allocators vary by some tens of megabytes."""

LEAST_SHARE = 0.1
"""Least growth as a share of the memory at the stretch's beginning."""

EVEN = 0.7
"""Share of the mean rate that a steady rise has at least between any two quarters."""

USUAL_CAUSE = (
    "usually a loss or an output that is stored with its graph: store loss.item() or "
    "loss.detach(). Growth from a cache or memory-mapped data stops by itself"
)


class MemoryReading(NamedTuple):
    """Memory in use after a step."""

    step: int
    bytes: int


class MemoryGrowth(NamedTuple):
    """A stretch of steps in which memory grew steadily, up to the newest reading."""

    where: str
    """``worker`` or ``device``."""
    since: MemoryReading
    newest: MemoryReading
    bytes_per_step: float

    @property
    def text(self) -> str:
        """Rate, first step, and memory before and after."""
        return (
            f"{self.where} memory grows {memory(round(self.bytes_per_step))} a step "
            f"since step {self.since.step:,} "
            f"({memory(self.since.bytes)} to {memory(self.newest.bytes)})"
        )


def growth_of(readings: Sequence[MemoryReading], where: str) -> MemoryGrowth | None:
    """Return steady growth over the longest stretch that ends with the newest reading, if any.

    Args:
        readings: After the warm-up, in the order of steps.
        where: ``worker`` or ``device``, whose memory it is.
    """
    for begin in range(0, len(readings) - LEAST_POINTS + 1, max(len(readings) // LEAST_POINTS, 1)):
        stretch = readings[begin:]
        quarters = _quarters(stretch)
        rate = _rate(quarters[0], quarters[-1])
        rise = quarters[-1].bytes - quarters[0].bytes
        enough = rise >= max(LEAST_BYTES, LEAST_SHARE * quarters[0].bytes)
        if enough and all(_rate(*pair) >= EVEN * rate for pair in pairwise(quarters)):
            return MemoryGrowth(where, stretch[0], stretch[-1], rate)
    return None


def _rate(before: MemoryReading, after: MemoryReading) -> float:
    """Return bytes per step."""
    return (after.bytes - before.bytes) / (after.step - before.step)


def _quarters(readings: Sequence[MemoryReading]) -> list[MemoryReading]:
    """Return the median of each quarter of a stretch."""
    bounds = [len(readings) * part // 4 for part in range(5)]
    return [
        MemoryReading(
            round(statistics.median(reading.step for reading in readings[low:high])),
            round(statistics.median(reading.bytes for reading in readings[low:high])),
        )
        for low, high in pairwise(bounds)
    ]

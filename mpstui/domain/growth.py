"""Memory that grows with every step: how fast, since when, and what usually holds it.

A process takes memory in jumps (kernels load, caches fill, an evaluation begins), and stays there.
What keeps each step's graph rises evenly instead. So growth is steady when the medians of the four
quarters of a stretch rise at similar rates.
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
"""What a stretch has to grow by: allocators keep some tens of megabytes here and there."""

LEAST_SHARE = 0.1
"""The same as a share of what there was at its beginning."""

EVEN = 0.7
"""A steady rise has at least this part of the mean rate between any two quarters."""

USUAL_CAUSE = (
    "usually a loss or an output that is stored with its graph: store loss.item() or "
    "loss.detach(). A cache or memory-mapped data that fills up ends by itself"
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
        """Rate, since when, from what to what."""
        return (
            f"{self.where} memory grows {memory(round(self.bytes_per_step))} a step "
            f"since step {self.since.step:,} "
            f"({memory(self.since.bytes)} to {memory(self.newest.bytes)})"
        )


def growth_of(readings: Sequence[MemoryReading], where: str) -> MemoryGrowth | None:
    """How memory grows steadily, over the longest stretch that ends with the newest reading.

    Args:
        readings: Ascending steps, after the warm-up.
        where: Whose memory it is.
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
    """Bytes a step."""
    return (after.bytes - before.bytes) / (after.step - before.step)


def _quarters(readings: Sequence[MemoryReading]) -> list[MemoryReading]:
    """The median of each quarter of a stretch."""
    bounds = [len(readings) * part // 4 for part in range(5)]
    return [
        MemoryReading(
            round(statistics.median(reading.step for reading in readings[low:high])),
            round(statistics.median(reading.bytes for reading in readings[low:high])),
        )
        for low, high in pairwise(bounds)
    ]

"""Sums of many draws, and how far they may be from zero.

A sum of draws that are independent, of mean zero and within a reach is judged by Bernstein's
inequality (for products of neighbours Freedman's, its form for martingales). Of many draws the
bound is :data:`SIGMAS` standard errors; of few it is wider, and holds without any being normal.
One look is wrong with a chance below ``2 exp(-SIGMAS² / 2)``, 3e-8; of many draws, which are as
good as normal, with 2e-9. Looking again as a pool grows adds little: over each doubling of a pool
the chance stays of that size however often one looks. An investigation of 20 steps doubles a
pool about five times.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import sqrt

SIGMAS = 6.0
"""How far a mean may be from what it must be, in its own standard deviations."""

_LOGARITHM = SIGMAS**2 / 2


@dataclass
class Pool:
    """Values of mean zero, added up."""

    reach: float
    """None of them is farther from zero."""
    count: int = 0
    total: float = 0.0
    variance: float = 0.0
    """Of the total."""
    room: float = 0.0
    """What rounding may add to the total."""
    shown: float = 0.0
    """The sum of what is put into words."""

    def add(self, other: Pool) -> None:
        """Take in the values of another pool."""
        self.count += other.count
        self.total += other.total
        self.variance += other.variance
        self.room += other.room
        self.shown += other.shown

    @property
    def is_off(self) -> bool:
        """Whether right values do not come that far."""
        return abs(self.total) > self.bound(1)

    def bound(self, times: float) -> float:
        """How far the total of so many times the values may be from zero."""
        few = self.reach * _LOGARITHM / 3
        wide = few + sqrt(few**2 + 2 * _LOGARITHM * self.variance * times)
        return wide + (self.room * times) + 1e-9

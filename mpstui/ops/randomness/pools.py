"""Sums of many random numbers, and how far they may be from zero.

A sum of independent numbers with mean zero and limited magnitude is judged by Bernstein's
inequality (products of neighbours by Freedman's, its form for martingales). For many numbers the
bound is :data:`SIGMAS` standard errors; for few it is wider, and does not assume a normal
distribution. A single check is wrong with a probability below ``2 exp(-SIGMAS² / 2)``, 3e-8; for
many numbers, whose sum is nearly normal, 2e-9. Repeated checks of a growing pool add little: during
each doubling of a pool the probability keeps this order of magnitude, however many checks there
are. An investigation of 20 steps doubles a pool about five times.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import sqrt

SIGMAS = 6.0
"""Largest deviation of a mean from its correct value, in its own standard deviations."""

_LOGARITHM = SIGMAS**2 / 2


@dataclass
class Pool:
    """The sum of values with mean zero."""

    reach: float
    """Largest magnitude of a value."""
    count: int = 0
    total: float = 0.0
    variance: float = 0.0
    """The variance of the total."""
    room: float = 0.0
    """Largest effect of rounding on the total."""
    scaled_total: float = 0.0
    """The sum of the scaled values, for the text."""

    def add(self, pool: Pool) -> None:
        """Add the values of another pool."""
        self.count += pool.count
        self.total += pool.total
        self.variance += pool.variance
        self.room += pool.room
        self.scaled_total += pool.scaled_total

    @property
    def is_off(self) -> bool:
        """Whether the total is too far from zero for correct values."""
        return abs(self.total) > self.bound(1)

    def bound(self, times: float) -> float:
        """Return how far the total of ``times`` as many values may be from zero."""
        range_term = self.reach * _LOGARITHM / 3
        bound = range_term + sqrt(range_term**2 + 2 * _LOGARITHM * self.variance * times)
        return bound + (self.room * times) + 1e-9

"""A series of bounded size: redrawing costs the same after ten points and after ten million.

Points go into buckets that store the least, the greatest and the last finite value. When all
buckets are full, neighbours are merged, so that each holds twice as many points. Non-finite values
are stored separately with their exact x, so that merging never hides them.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]

CAPACITY = 2048
"""Buckets: more than twice the columns of any terminal."""

MARKS = 1000
"""Stretches of non-finite values that are stored; further ones are only counted."""


LARGEST = 1e300
"""Size of the largest values that count as finite: a chart's arithmetic overflows with larger."""

_WIDE = 64
"""Points in a bucket from which buckets are filled one at a time."""


NON_FINITE_KINDS = ("", "nan", "inf", "-inf")
"""Kinds of values; finite values have the empty one."""


class NonFinite(NamedTuple):
    """A stretch of consecutive points with the same non-finite value."""

    first: float
    """x of the first point."""
    until: float
    """x of the first point after the stretch; infinite while there is none."""
    kind: str
    """``nan``, ``inf`` or ``-inf``."""


class Value(NamedTuple):
    """A value, or bounds for it.

    A bucket of several points stores its least and greatest value, but not most single values.
    """

    low: float
    high: float
    """The same as ``low`` for an exact value."""


class Series:
    """Values over a growing x, bounded in memory by min/max/last buckets."""

    def __init__(self, capacity: int = CAPACITY) -> None:
        """Start empty.

        Args:
            capacity: Number of buckets; even.
        """
        self.count = 0
        """Points appended so far."""
        self._newest = -math.inf  # x of the last point
        self.stride = 1
        """Points in a full bucket."""
        self.non_finite: list[NonFinite] = []
        self.marks_dropped = 0
        """Stretches that were counted but not stored."""
        self._x = np.full((2, capacity), np.nan)  # first and last x
        self._low = np.full(capacity, np.inf)
        self._high = np.full(capacity, -np.inf)
        self._last = np.full(capacity, np.nan)
        self._sum = np.zeros(capacity)  # sum of the finite values; _finite is their count
        self._finite = np.zeros(capacity)
        self._ended_with = ""  # kind of the last point, to join stretches across appends

    @property
    def buckets(self) -> int:
        """Buckets that hold a point."""
        return -(-self.count // self.stride)

    def append(self, x: npt.ArrayLike, y: npt.ArrayLike) -> None:
        """Add points. Those that go back in x, as a damaged log's may, are left out.

        Args:
            x: Shape (n,), increasing, and not less than the x of earlier calls.
            y: Shape (n,).
        """
        xs, ys = np.atleast_1d(np.asarray(x, float)), np.atleast_1d(np.asarray(y, float))
        if not len(xs):
            return
        if xs[0] < self._newest or (np.diff(xs) < 0).any():
            furthest = np.maximum.accumulate(np.append(self._newest, xs))
            xs, ys = xs[xs >= furthest[1:]], ys[xs >= furthest[1:]]
            if not len(xs):
                return
        self._newest = float(xs[-1])
        while self.count + len(xs) > self.stride * len(self._low):
            self._merge()
        if self.stride < _WIDE:
            self._scatter(xs, ys)
        else:
            self._fill(xs, ys)
        self.count += len(xs)

    def add(self, x: float, y: float) -> None:
        """Add one point; cheaper than ``append`` for single points."""
        if not abs(y) <= LARGEST or self._ended_with or x < self._newest:
            self.append([x], [y])
            return
        self._newest = x
        if self.count == self.stride * len(self._low):
            self._merge()
        bucket = self.count // self.stride
        if self.count % self.stride == 0:
            self._x[0, bucket] = x
        self._x[1, bucket] = x
        self._low[bucket] = min(self._low[bucket], y)
        self._high[bucket] = max(self._high[bucket], y)
        self._last[bucket] = y
        self._sum[bucket] += y
        self._finite[bucket] += 1.0
        self.count += 1

    def _scatter(self, xs: Floats, ys: Floats) -> None:
        """Distribute points over many buckets in one pass."""
        bucket = (self.count + np.arange(len(xs))) // self.stride
        finite = np.abs(ys) <= LARGEST
        np.fmin.at(self._x[0], bucket, xs)
        self._x[1][bucket] = xs  # with repeated indices, the last one wins
        np.minimum.at(self._low, bucket[finite], ys[finite])
        np.maximum.at(self._high, bucket[finite], ys[finite])
        self._last[bucket[finite]] = ys[finite]
        np.add.at(self._sum, bucket[finite], ys[finite])
        np.add.at(self._finite, bucket[finite], 1.0)
        self._store_non_finite(xs, ys, finite)

    def _fill(self, xs: Floats, ys: Floats) -> None:
        """Distribute points over a few wide buckets, one bucket at a time."""
        finite = np.abs(ys) <= LARGEST
        all_finite = bool(finite.all())
        start = 0
        while start < len(xs):
            bucket, filled = divmod(self.count + start, self.stride)
            end = min(start + self.stride - filled, len(xs))
            if filled == 0:
                self._x[0, bucket] = xs[start]
            self._x[1, bucket] = xs[end - 1]
            values = ys[start:end] if all_finite else ys[start:end][finite[start:end]]
            if len(values):
                self._low[bucket] = min(self._low[bucket], values.min())
                self._high[bucket] = max(self._high[bucket], values.max())
                self._last[bucket] = values[-1]
                self._sum[bucket] += values.sum()
                self._finite[bucket] += len(values)
            start = end
        self._store_non_finite(xs, ys, finite)

    def points(
        self, columns: int, start: float = -np.inf, end: float = np.inf
    ) -> tuple[Floats, Floats]:
        """Return at most two points per column, least and greatest, to be joined by a line.

        Args:
            columns: Width of the chart, in cells or in dots.
            start: Least x.
            end: Greatest x.

        Returns:
            x and y, each of shape (m,) with m ≤ 2·columns.
        """
        x = self._x[1][: self.buckets]
        in_range = np.flatnonzero((x >= start) & (x <= end) & (self._low[: self.buckets] < np.inf))
        if not len(in_range):
            return np.empty(0), np.empty(0)
        x, low, high = x[in_range], self._low[in_range], self._high[in_range]
        if len(x) > columns:
            span = max(x[-1] - x[0], 1e-300)
            column = np.minimum(((x - x[0]) / span * columns).astype(int), columns - 1)
            first = np.flatnonzero(np.diff(column, prepend=-1))
            x = x[np.append(first[1:], len(x)) - 1]
            low, high = np.minimum.reduceat(low, first), np.maximum.reduceat(high, first)
        both = low != high
        repeat = 1 + both.astype(int)
        y = np.repeat(low, repeat)
        y[np.cumsum(repeat)[both] - 1] = high[both]
        return np.repeat(x, repeat), y

    def smoothed(
        self, weight: float, start: float = -np.inf, end: float = np.inf
    ) -> tuple[Floats, Floats]:
        """Return an exponential moving average over the points, one value per bucket.

        A bucket of n points counts as n steps of the average, so that the curve does not depend on
        how often buckets were merged. It starts at the first value.

        Args:
            weight: Weight of the previous average at each point, 0 to below 1.
            start: Least x to return; earlier points still count.
            end: Greatest x to return.

        Returns:
            x and y, each of shape (m,).
        """
        non_empty = np.flatnonzero(self._finite[: self.buckets])
        x, counts = self._x[1][non_empty], self._finite[non_empty]
        means = self._sum[non_empty] / counts
        weights = weight**counts
        smooth, average = np.empty(len(non_empty)), means[0] if len(non_empty) else 0.0
        for position, (mean, previous_weight) in enumerate(zip(means, weights, strict=True)):
            average = previous_weight * average + (1.0 - previous_weight) * mean
            smooth[position] = average
        in_range = (x >= start) & (x <= end)
        return x[in_range], smooth[in_range]

    def at(self, x: float) -> Value | None:
        """Return the value of the newest point at or before x.

        Args:
            x: A position on the axis.

        Returns:
            The value, which may be NaN or ±inf; bounds for it if its bucket has several points;
            None before the first point, or if the value may belong to a non-finite stretch that
            was counted but not stored.
        """
        bucket = int(np.searchsorted(self._x[0][: self.buckets], x, side="right")) - 1
        if bucket < 0:
            return None
        for stretch in self.non_finite:
            if stretch.first <= x < stretch.until:
                return Value(float(stretch.kind), float(stretch.kind))
        points = min(self.count - bucket * self.stride, self.stride)
        if self._finite[bucket] < points and self.marks_dropped:
            return None
        if self._x[1][bucket] <= x:  # the bucket's last point, which is finite
            return Value(float(self._last[bucket]), float(self._last[bucket]))
        return Value(float(self._low[bucket]), float(self._high[bucket]))

    def ends(self) -> tuple[Floats, Floats]:
        """Return the last point of each bucket, as logged; for a series of finite values.

        Returns:
            x and y, each of shape (buckets,).
        """
        return self._x[1][: self.buckets], self._last[: self.buckets]

    def last_x(self) -> float | None:
        """Return the newest x."""
        return float(self._x[1][self.buckets - 1]) if self.count else None

    def span(self) -> tuple[float, float] | None:
        """Return the least and greatest finite value; None while there is none."""
        low = float(self._low[: self.buckets].min(initial=np.inf))
        high = float(self._high[: self.buckets].max(initial=-np.inf))
        return (low, high) if low <= high else None

    def last(self) -> float | None:
        """Return the newest finite value."""
        values = self._last[: self.buckets]
        finite = np.flatnonzero(np.isfinite(values))
        return float(values[finite[-1]]) if len(finite) else None

    def _merge(self) -> None:
        half = len(self._low) // 2
        pairs = (half, 2)
        self._x[0, :half] = np.fmin.reduce(self._x[0].reshape(pairs), axis=1)
        self._x[1, :half] = np.fmax.reduce(self._x[1].reshape(pairs), axis=1)
        self._low[:half] = self._low.reshape(pairs).min(axis=1)
        self._high[:half] = self._high.reshape(pairs).max(axis=1)
        last = self._last.reshape(pairs)
        self._last[:half] = np.where(np.isfinite(last[:, 1]), last[:, 1], last[:, 0])
        for totals in (self._sum, self._finite):
            totals[:half] = totals.reshape(pairs).sum(axis=1)
            totals[half:] = 0.0
        self._x[:, half:], self._last[half:] = np.nan, np.nan
        self._low[half:], self._high[half:] = np.inf, -np.inf
        self.stride *= 2

    def _store_non_finite(self, xs: Floats, ys: Floats, finite: npt.NDArray[np.bool_]) -> None:
        """Store the stretches of non-finite values."""
        if not self._ended_with and finite.all():
            return
        code = np.where(finite, 0, np.where(np.isnan(ys), 1, np.where(ys > 0, 2, 3)))
        starts = np.flatnonzero(np.diff(code, prepend=-1))
        for start, until in zip(starts, [*xs[starts[1:]], math.inf], strict=True):
            kind = NON_FINITE_KINDS[code[start]]
            if start == 0 and self._ended_with:  # the stretch began in an earlier append
                last = self.non_finite[-1]
                if math.isinf(last.until):
                    ends = until if kind == self._ended_with else float(xs[0])
                    self.non_finite[-1] = last._replace(until=float(ends))
                if kind == self._ended_with:
                    continue
            if not kind:
                continue
            if len(self.non_finite) < MARKS:
                self.non_finite.append(NonFinite(float(xs[start]), float(until), kind))
            else:
                self.marks_dropped += 1
        self._ended_with = NON_FINITE_KINDS[code[-1]]

"""Charts as inline SVG: one curve per run over its steps, distinguished by hue and dashes."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

from mpstui.domain.series import Series
from mpstui.domain.ticks import log_ticks, ticks


class Box(NamedTuple):
    """The chart's size and the plot area's edges, in units of the view box."""

    width: int
    height: int
    left: int
    top: int
    right: int
    bottom: int


BOX = Box(width=480, height=240, left=52, top=12, right=468, bottom=206)

CURVE_COLUMNS = 240
"""Columns of a curve: one per two units of width, each with its least and greatest value."""

LOG_RATIO = 1000.0
"""Ratio of greatest to least value above which the y axis is logarithmic."""

LINE_STYLES = 6
"""Number of line styles in the style sheet."""


class PageCurve(NamedTuple):
    """A run's values over its steps."""

    name: str
    series: Series
    alarm_at: int | None = None
    """Step of its first alarm."""


class PageChart(NamedTuple):
    """The content of an ``svg`` element. Positions are in units of the view box."""

    title: str
    log: bool
    lines: list[tuple[int, str]]
    """Style, 1 to ``LINE_STYLES``, and the points of a polyline."""
    alarms: list[tuple[str, str]]
    """Position and text."""
    x_labels: list[tuple[str, str]]
    """Position and text."""
    y_labels: list[tuple[str, str]]


def chart(title: str, curves: Sequence[PageCurve], from_zero: bool = False) -> PageChart | None:
    """Lay out a chart; None unless a curve has two values and some value is finite.

    Args:
        title: The quantity and its unit.
        curves: One per run.
        from_zero: Whether the y axis starts at zero, for quantities whose ratios are compared.
    """
    spans = [span for curve in curves if (span := curve.series.span())]
    if not spans or all(curve.series.count < 2 for curve in curves):
        return None
    low, high = min(span[0] for span in spans), max(span[1] for span in spans)
    if from_zero:
        low = min(low, 0.0)
    log = low > 0 and high / low > LOG_RATIO
    height: Callable[[float], float] = math.log10 if log else float
    bottom, top = height(low), height(high)
    if top - bottom <= 1e-9 * abs(top):  # a single value goes in the middle
        margin = max(abs(top) / 1000, 1.0)
        bottom, top = bottom - margin, top + margin
    last = max(curve.series.last_x() or 1.0 for curve in curves)
    right = max(last, 2.0)

    def x_of(step: float) -> float:
        return BOX.left + (step - 1) / (right - 1) * (BOX.right - BOX.left)

    def y_at(index: float) -> float:
        return BOX.top + (top - index) / (top - bottom) * (BOX.bottom - BOX.top)

    lines: list[tuple[int, str]] = []
    alarms: list[tuple[str, str]] = []
    for index, curve in enumerate(curves):
        style = index % LINE_STYLES + 1
        xs, ys = curve.series.points(CURVE_COLUMNS)
        points = zip(xs.tolist(), ys.tolist(), strict=True)
        lines.append((style, " ".join(f"{x_of(x):.1f},{y_at(height(y)):.1f}" for x, y in points)))
        if curve.alarm_at is not None:
            label = f"{curve.name}: alarm at step {curve.alarm_at:,}"
            alarms.append((f"{x_of(min(curve.alarm_at, right)):.1f}", label))
    return PageChart(
        title=title,
        log=log,
        lines=lines,
        alarms=alarms,
        x_labels=[(f"{x_of(step):.1f}", text) for step, text in ticks(1.0, right, 5, whole=True)],
        y_labels=[
            (f"{y_at(index):.1f}", text)
            for index, text in (log_ticks if log else ticks)(bottom, top, 4)
        ],
    )

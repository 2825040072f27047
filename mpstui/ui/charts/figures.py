"""Figures of histories: their curves, x axis, smoothing, marks and readouts."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from mpstui.domain.history import RunHistory
from mpstui.domain.metrics import metric_of
from mpstui.domain.series import Floats, Value
from mpstui.domain.units import DASH, duration, number

from .plotting import Figure, Line, Mark, StyledText
from .view_state import Limits, ViewState

LOG_ABOVE = 1000.0
"""A loss above this, and above this multiple of its minimum, gets a log axis."""

MOST_MARKS = 40
"""Stretches of non-finite losses that a chart marks individually."""

_ROUNDING = 1e-6
"""The share of a step that floats may lose when converted to the axis's unit and back."""


class RunSeries(NamedTuple):
    """A run as charts draw it."""

    history: RunHistory
    batch_size: int
    style: str
    """The name of its colour."""
    name: str = ""
    """Its name next to other runs."""


class Axis:
    """One run's x axis, which converts steps to the axis's unit and back."""

    def __init__(self, subject: RunSeries, axis: str) -> None:
        self._axis = axis
        self._batch = subject.batch_size
        self._last = subject.history.step
        if axis == "time":
            self._steps, self._seconds = subject.history.elapsed_by_step.ends()

    def of(self, steps: Floats) -> Floats:
        """Convert steps to the axis's unit: samples, or seconds since the first step."""
        if self._axis == "samples":
            return steps * self._batch
        if self._axis == "time":
            return _interpolate(steps, self._steps, self._seconds)
        return steps

    def steps(self, values: Floats) -> Floats:
        """Convert values of the axis to steps."""
        if self._axis == "samples":
            return values / self._batch
        if self._axis == "time":
            return _interpolate(values, self._seconds, self._steps)
        return values

    def step_at(self, x: float) -> int | None:
        """Return the run's newest step at x; None before its first and after its last.

        On the time axis, steps between two logged times are interpolated.
        """
        if self._axis == "step":
            x = round(x)  # as the readout shows it
        elif self._axis == "samples":
            x /= self._batch
        elif len(self._seconds) and self._seconds[0] <= x <= self._seconds[-1]:
            x = float(self.steps(np.array([x]))[0])
        else:
            return None
        return int(x + _ROUNDING) if 1 - _ROUNDING <= x <= self._last + _ROUNDING else None


def _interpolate(x: Floats, xs: Floats, values: Floats) -> Floats:
    return np.interp(x, xs, values) if len(xs) else np.zeros_like(x)


def whole_x(subjects: Sequence[RunSeries], state: ViewState) -> Limits:
    """Return the full x range over all runs, so that panels share their axes."""
    ends = [
        float(Axis(subject, state.axis).of(np.array([float(subject.history.step)]))[0])
        for subject in subjects
    ]
    least = {"step": 10.0, "samples": 640.0, "time": 1.0}[state.axis]
    return 0.0, max([least, *ends])


def y_limits(subjects: Sequence[RunSeries], chart: str, state: ViewState) -> Limits | None:
    """Return a chart's minimum and maximum over all runs, in the chart's unit.

    With a window, only values inside it count, so that zooming in shows more detail.
    """
    spans = [span for subject in subjects if (span := _span(subject, chart, state))]
    if not spans:
        return None
    metric = metric_of(chart)
    scale = metric.scale
    low, high = min(low for low, _ in spans) * scale, max(high for _, high in spans) * scale
    return (0.0, high * 1.05 or 1.0) if metric.from_zero else (low, high)


def _span(subject: RunSeries, chart: str, state: ViewState) -> Limits | None:
    series = subject.history.series_of(chart)
    if state.window is None:
        return series.span()
    start, end = Axis(subject, state.axis).steps(
        np.array(state.visible_range(whole_x([subject], state)))
    )
    _, y = series.points(10**6, start, end)
    return (float(y.min()), float(y.max())) if len(y) else None


def is_steep(limits: Limits) -> bool:
    """Return whether values need a log axis to be distinguishable."""
    low, high = limits
    return high > LOG_ABOVE and low > 0 and high / low > LOG_ABOVE


def figure(
    subjects: Sequence[RunSeries],
    chart: str,
    state: ViewState,
    limits: tuple[Limits, Limits | None],
    columns: int,
) -> Figure | None:
    """Return a chart of some runs; None while there is nothing to draw.

    Args:
        subjects: The runs: one in a panel, several in an overlay.
        chart: The chart's name.
        state: The view's settings.
        limits: The full range of x, and the limits of y, shared by all panels.
        columns: The chart's width in cells.
    """
    if not any(subject.history.series_of(chart).count for subject in subjects):
        return None
    x_limits, y = limits
    start, end = state.visible_range(x_limits)
    lines: list[Line] = []
    # The crosshair first: an alarm's sign at the same step is drawn over it.
    marks = [] if state.cursor is None else [Mark(state.cursor, "label", "┃")]
    for subject in subjects:
        lines += _lines(subject, chart, state, (start, end), columns)
        if chart == "loss":
            marks += _marks(subject, state)
    log = state.log_y == "on" or (
        state.log_y == "auto" and chart == "loss" and y is not None and is_steep(y)
    )
    return Figure(
        # Faint curves first, so that smoothed ones are drawn over them.
        lines=tuple(sorted(lines, key=lambda line: line.style != "faint")),
        marks=tuple(marks),
        x_limits=(start, end),
        y_limits=y,
        log_y=log,
        whole_x=state.axis != "time",
    )


def _lines(
    subject: RunSeries, chart: str, state: ViewState, x_range: Limits, columns: int
) -> list[Line]:
    series, axis = subject.history.series_of(chart), Axis(subject, state.axis)
    metric = metric_of(chart)
    scale = metric.scale
    start, end = axis.steps(np.array(x_range))
    x, y = series.points(columns, start - 1, end + 1)
    style = subject.style
    raw = Line(tuple(axis.of(x).tolist()), tuple((y * scale).tolist()), style)
    if not state.smoothing or not metric.smoothed:
        return [raw]
    x, y = _thin(*series.smoothed(state.smoothing, start - 1, end + 1), columns)
    smooth = Line(tuple(axis.of(x).tolist()), tuple((y * scale).tolist()), style)
    return [Line(raw.x, raw.y, "faint"), smooth]


def _thin(x: Floats, y: Floats, columns: int) -> tuple[Floats, Floats]:
    """Return the last point of each half column, which is braille's resolution."""
    if len(x) <= 2 * columns:
        return x, y
    half = (x - x[0]) * (2 * columns / (x[-1] - x[0]))
    half = np.minimum(half.astype(int), 2 * columns - 1)
    last = np.flatnonzero(np.diff(half, append=-1))
    return x[last], y[last]


def _marks(subject: RunSeries, state: ViewState) -> list[Mark]:
    """Return marks at the exact steps where losses stop being finite, and at the alarm."""
    axis, history = Axis(subject, state.axis), subject.history
    checks = [check.step for check in (history.failed_step, history.failed_test) if check]
    first = [*checks, *(stretch.first for stretch in history.losses.non_finite[:MOST_MARKS])]
    marks = [Mark(float(x), "mark") for x in axis.of(np.array(first))] if first else []
    if (alarm := history.alarm) is not None:
        marks.append(Mark(float(axis.of(np.array([float(alarm.step)]))[0]), "mark", "▲"))
    return marks


def readout(subjects: Sequence[RunSeries], chart: str, state: ViewState) -> tuple[StyledText, ...]:
    """Return each run's value at the crosshair, in its colour; empty without a crosshair.

    Runs that have not reached that x, or have no value yet, show a dash.
    """
    if state.cursor is None:
        return ()
    runs: list[StyledText] = []
    for subject in subjects:
        step = Axis(subject, state.axis).step_at(state.cursor)
        value = None if step is None else subject.history.series_of(chart).at(step)
        name = f"{subject.name} " if len(subjects) > 1 else ""
        runs += [(" · ", "label"), (name + format_value(chart, value), subject.style)]
    return (*runs[1:], (f" at {format_position(state, state.cursor)}", "label"))


def format_position(state: ViewState, x: float) -> str:
    """Return a position on the axis as text."""
    if state.axis == "time":
        return duration(x)
    return f"step {x:,.0f}" if state.axis == "step" else f"{x:,.0f} samples"


def format_value(chart: str, value: Value | None) -> str:
    """Return a chart's value with its unit, or its bounds."""
    if value is None:
        return DASH
    low, high = _format_bound(chart, value.low), _format_bound(chart, value.high)
    return low if low == high else f"{low} to {high}"


def _format_bound(chart: str, value: float) -> str:
    return metric_of(chart).format(value) if math.isfinite(value) else number(value)

"""Charts as rows of styled text: the only file that imports plotext.

plotext draws only the curves, in braille. This module draws axes and ticks and sets the limits, so
that labels are short, integers where steps are counted, and stable while a run grows. plotext gets
points as dots of its canvas, which are small integers: huge, tiny and non-finite values never
reach it, and dots that a straight line covers are dropped. Each curve gets a palette number, which
is mapped back to the name of its style: the theme sets the colours.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import groupby

import plotext

from mpstui.domain.ticks import log_ticks, ticks

from .view_state import Limits

LABEL_WIDTH = 5
"""Least cells of a y label: ``1.8e8``, ``0.125``. It keeps stacked charts aligned."""

FIRST_CODE = 20
"""The first palette number of a curve; lower ones have other escapes."""

HUGE, TINY = 1e300, 1e-300
"""Bounds of an axis's values, so that differences and quotients stay finite."""

_ESCAPE = re.compile(r"\x1b\[(?:0|38;5;(\d+))m")

StyledText = tuple[str, str]
"""A text and the name of its style; the empty name is blank space."""

Dot = tuple[int, int]


@dataclass(frozen=True)
class Line:
    """A curve. Points that are not finite are gaps; pass at most two points per column."""

    x: Sequence[float]
    y: Sequence[float]
    """As long as ``x``. Both are tuples, so that figures can be compared."""
    style: str


@dataclass(frozen=True)
class Mark:
    """A vertical mark at x, with a glyph of one cell at the top edge, above the curves."""

    x: float
    style: str
    glyph: str = "✗"


@dataclass(frozen=True)
class Figure:
    """The content of a chart. Limits that are None come from the curves."""

    lines: tuple[Line, ...]
    marks: tuple[Mark, ...] = ()
    x_limits: Limits | None = None
    y_limits: Limits | None = None
    log_y: bool = False
    """If True, values that are not positive are gaps."""
    whole_x: bool = True
    """x is a count, such as steps: no ticks between integers."""
    caption: tuple[StyledText, ...] = ()
    """A text at the right end of the x axis, where it takes no extra row."""


@dataclass(frozen=True)
class _Axis:
    """A map of values to dots: ``low`` is dot 0, ``high`` is the last of ``dots``."""

    low: float
    high: float
    dots: int

    def dot(self, value: float) -> int:
        # Values outside are clamped, so that drawing towards them stays cheap.
        part = (value - self.low) / (self.high - self.low)
        return round(min(max(part, -1.0), 2.0) * (self.dots - 1))


def draw(figure: Figure, width: int, height: int) -> list[list[StyledText]]:
    """Draw a figure.

    Returns:
        ``height`` rows of runs, each row ``width`` cells wide. Style names are those of the lines
        and marks, ``axis`` and ``label``.
    """
    curves = [_curve(line, figure.log_y) for line in figure.lines]
    y_limits = figure.y_limits
    if y_limits is not None and figure.log_y:
        y_limits = (_log(y_limits[0]), _log(y_limits[1]))
    xs = [x for curve in curves for x, _ in curve] + [mark.x for mark in figure.marks]
    x_range = _range(figure.x_limits, xs, 0.0)
    y_range = _range(y_limits, [y for curve in curves for _, y in curve], 0.5)

    axis_rows = min(max(height - 2, 0), 2)  # the x axis, then its labels
    rows = height - axis_rows
    y_ticks: list[tuple[float, str]] = []
    if y_range:
        max_ticks = max(
            min((rows + 2) // 3, 7), 2
        )  # closer ticks look uneven, since rows are coarse
        y_ticks = log_ticks(*y_range, max_ticks) if figure.log_y else ticks(*y_range, max_ticks)
    gutter = max([LABEL_WIDTH, *(len(label) for _, label in y_ticks)])
    if 3 * gutter >= width:
        gutter, y_ticks = 0, []
    margin = gutter + 1 if width > 3 else 0
    columns = width - margin
    if columns < 1 or rows < 1:
        return [[(" " * width, "")] if width > 0 else [] for _ in range(height)]

    x_axis = _Axis(*(x_range or (0.0, 1.0)), 2 * columns)
    y_axis = _Axis(*(y_range or (0.0, 1.0)), 4 * rows)
    strokes = [
        (line.style, [(x_axis.dot(x), y_axis.dot(y)) for x, y in stretch])
        for line, curve in zip(figure.lines, curves, strict=True)
        for stretch in _stretches(curve)
    ]
    cells = _canvas(strokes, columns, rows)
    for mark in figure.marks:
        if math.isfinite(mark.x) and 0 <= x_axis.dot(mark.x) < x_axis.dots:
            _stamp(cells, mark, x_axis.dot(mark.x) // 2)

    if margin:
        labels = {rows - 1 - y_axis.dot(value) // 4: label for value, label in y_ticks}
        for row, line_cells in enumerate(cells):
            label = labels.get(row, "")
            edge = [*_text(label.rjust(gutter), "label"), ("┤" if label else "│", "axis")]
            line_cells[:0] = edge
    x_ticks = ticks(*x_range, max(columns // 9, 2), whole=figure.whole_x) if x_range else []
    x_labels = [(margin + x_axis.dot(value) // 2, label) for value, label in x_ticks]
    cells += _x_rows(x_labels, figure.caption, margin, width)[:axis_rows]
    return [_runs(row) for row in cells]


def _curve(line: Line, log_y: bool) -> list[tuple[float, float]]:
    """Return points with y on the axis's scale; NaN where there is nothing to draw."""
    if log_y:
        return [(x, _log(y)) for x, y in zip(line.x, line.y, strict=True)]
    return list(zip(line.x, line.y, strict=True))


def _log(value: float) -> float:
    return math.log10(value) if 0 < value < math.inf else math.nan


def _range(limits: Limits | None, values: Iterable[float], centre: float) -> Limits | None:
    """Return limits that are not equal: the requested ones, else those of the values, else None.

    ``centre`` is the position of a single value in the range made for it: 0 is its low end.
    """
    finite = [value for value in limits or () if math.isfinite(value)]
    if len(finite) < 2:
        finite = [value for value in values if math.isfinite(value)]
    if not finite:
        return None
    low, high = (min(max(end, -HUGE), HUGE) for end in (min(finite), max(finite)))
    if high - low > max(abs(low), abs(high)) * 1e-9 + TINY:
        return low, high
    room = abs(low) if abs(low) > TINY else 2.0
    return low - centre * room, low + (1 - centre) * room


def _stretches(curve: list[tuple[float, float]]) -> list[list[tuple[float, float]]]:
    runs = groupby(curve, lambda point: math.isfinite(point[0]) and math.isfinite(point[1]))
    return [list(points) for finite, points in runs if finite]


def _thin(dots: list[Dot]) -> list[Dot]:
    """Drop dots that the line between their neighbours covers."""
    result = dots[:1]
    for x, y in dots[1:]:
        dx, dy = x - result[-1][0], y - result[-1][1]
        if not dx and not dy:
            continue
        if len(result) > 1:
            before_x, before_y = result[-1][0] - result[-2][0], result[-1][1] - result[-2][1]
            if before_x * dy == before_y * dx and before_x * dx + before_y * dy > 0:
                result.pop()
        result.append((x, y))
    return result


def _prepare() -> None:
    """Set up once what all drawings share; plotext has one figure per process."""
    plotext.terminal.limit(False, False)  # the size is the widget's, not the terminal's
    plotext.figure.clear()
    plotext.figure.canvas("default")
    plotext.figure.axes(False)
    plotext.figure.ruler("both", "both").ticks([], []).alignment(lim="edge")


_prepare()


def _canvas(
    strokes: list[tuple[str, list[Dot]]], columns: int, rows: int
) -> list[list[StyledText]]:
    """Return cells with the strokes in braille, two by four dots per cell."""
    if not strokes:
        return [[(" ", "")] * columns for _ in range(rows)]
    figure = plotext.figure
    figure.clear.data()
    figure.plot_size(columns, rows)
    figure.ruler("x", "lower").lim(0, 2 * columns)
    figure.ruler("y", "left").lim(0, 4 * rows)
    styles = list(dict.fromkeys(style for style, _ in strokes))
    for style, dots in strokes:
        marker = plotext.marker("braille", plotext.pixel(FIRST_CODE + styles.index(style)))
        thin = _thin(dots)
        xs, ys = [x + 0.5 for x, _ in thin], [y + 0.5 for _, y in thin]
        signal = figure.signal(xs, ys, marker=marker).lines()
        # plotext would search every point for colours that are in use, which costs
        # more than everything else. Every curve already has its colour.
        signal._get_unique_pixels = list
        figure.draw(signal)
    return [_cells(row, styles) for row in figure.build().string().split("\n")[:rows]]


def _cells(row: str, styles: list[str]) -> list[StyledText]:
    """Split a row of plotext's text into single cells with style names."""
    parts = _ESCAPE.split(row)  # text, code or None, text, code or None, …, text
    codes = [None, *parts[1::2]]
    return [
        (char, styles[int(code) - FIRST_CODE] if code else "")
        for text, code in zip(parts[::2], codes, strict=True)
        for char in text
    ]


def _stamp(cells: list[list[StyledText]], mark: Mark, column: int) -> None:
    cells[0][column] = (mark.glyph, mark.style)
    for row in cells[1:]:
        if row[column][0] in " \u2800":
            row[column] = ("┊", mark.style)


def _x_rows(
    x_labels: list[tuple[int, str]], caption: Sequence[StyledText], margin: int, width: int
) -> tuple[list[StyledText], list[StyledText]]:
    """Return the x axis and its label row; labels are centred under their ticks if they fit."""
    edge = [*_text(" " * (margin - 1), ""), ("└", "axis")] if margin else []
    axis = edge + _text("─" * (width - margin), "axis")
    labels: list[StyledText] = [(" ", "")] * width
    free = 0
    for column, label in x_labels:
        start = min(max(column - len(label) // 2, 0), width - len(label))
        if start < free:
            continue
        axis[column] = ("┬", "axis")
        labels[start : start + len(label)] = _text(label, "label")
        free = start + len(label) + 2
    caption_cells = [cell for text, style in caption for cell in _text(text, style)]
    if caption_cells and len(caption_cells) + 2 < width - margin:
        axis[width - len(caption_cells) - 2 :] = [(" ", ""), *caption_cells, (" ", "")]
    return axis, labels


def _text(text: str, style: str) -> list[StyledText]:
    return [(char, style) for char in text]


def _runs(row: list[StyledText]) -> list[StyledText]:
    grouped = groupby(row, lambda cell: cell[1] if cell[0] != " " else "")
    return [("".join([char for char, _ in cells]), style) for style, cells in grouped]

"""Charts as rows of styled text: the only file that imports plotext.

plotext draws the curves, in braille, and nothing else. Axes, ticks and limits are ours, so that
labels are short, whole where steps are counted, and stand still while a run grows. Points reach
plotext as dots of its canvas, small whole numbers: huge, tiny and broken values never get there,
and dots that a straight line covers anyway need not be paid for. Each curve gets a palette number,
turned back into the name of its style on reading: colours belong to the theme.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import groupby

import plotext

from mpstui.domain.ticks import log_ticks, ticks

LABEL_WIDTH = 5
"""Least cells of a y label: ``1.8e8``, ``0.125``. Charts above each other stay in line."""

FIRST_CODE = 20
"""Palette numbers from here on stand for curves; lower ones have other escapes."""

HUGE, TINY = 1e300, 1e-300
"""Bounds of what an axis shows, so that no difference or quotient leaves the floats."""

_ESCAPE = re.compile(r"\x1b\[(?:0|38;5;(\d+))m")

Run = tuple[str, str]
"""Text and the name of its style; the empty name is blank space."""

Limits = tuple[float, float]
Dot = tuple[int, int]


@dataclass(frozen=True)
class Line:
    """A curve. Points that are not finite are gaps; hand over at most two points a column."""

    x: Sequence[float]
    y: Sequence[float]
    """As many as ``x``. Tuples for both, so that figures compare."""
    style: str


@dataclass(frozen=True)
class Mark:
    """A vertical mark at x, with a glyph of one cell at the top edge, above the curves."""

    x: float
    style: str
    glyph: str = "✗"


@dataclass(frozen=True)
class Figure:
    """What a chart shows. Limits that are None come from the curves."""

    lines: tuple[Line, ...]
    marks: tuple[Mark, ...] = ()
    x_limits: Limits | None = None
    y_limits: Limits | None = None
    log_y: bool = False
    """Values that are not positive are gaps then."""
    whole_x: bool = True
    """x counts something, such as steps: no ticks between whole numbers."""
    caption: tuple[Run, ...] = ()
    """Written into the x axis, at its right end, where it costs no row."""


@dataclass(frozen=True)
class _Axis:
    """Values to dots: ``low`` is dot 0, ``high`` is the last of ``dots``."""

    low: float
    high: float
    dots: int

    def dot(self, value: float) -> int:
        # What is outside leaves the picture, but not so far that drawing towards it costs.
        part = (value - self.low) / (self.high - self.low)
        return round(min(max(part, -1.0), 2.0) * (self.dots - 1))


def draw(figure: Figure, width: int, height: int) -> list[list[Run]]:
    """Draw a figure.

    Returns:
        ``height`` rows of runs, each row ``width`` cells wide. Style names are those of the lines
        and marks, ``axis`` and ``label``.
    """
    curves = [_curve(line, figure.log_y) for line in figure.lines]
    asked = figure.y_limits
    if asked is not None and figure.log_y:
        asked = (_log(asked[0]), _log(asked[1]))
    reach = [x for curve in curves for x, _ in curve] + [mark.x for mark in figure.marks]
    x_range = _range(figure.x_limits, reach, 0.0)
    y_range = _range(asked, [y for curve in curves for _, y in curve], 0.5)

    below = min(max(height - 2, 0), 2)  # the x axis, then its labels
    rows = height - below
    y_ticks: list[tuple[float, str]] = []
    if y_range:
        most = max(min((rows + 2) // 3, 7), 2)  # closer ones look ragged: rows are coarse
        y_ticks = log_ticks(*y_range, most) if figure.log_y else ticks(*y_range, most)
    gutter = max([LABEL_WIDTH, *(len(label) for _, label in y_ticks)])
    if 3 * gutter >= width:
        gutter, y_ticks = 0, []
    left = gutter + 1 if width > 3 else 0
    columns = width - left
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

    if left:
        labels = {rows - 1 - y_axis.dot(value) // 4: label for value, label in y_ticks}
        for row, line_cells in enumerate(cells):
            label = labels.get(row, "")
            edge = [*_text(label.rjust(gutter), "label"), ("┤" if label else "│", "axis")]
            line_cells[:0] = edge
    x_ticks = ticks(*x_range, max(columns // 9, 2), whole=figure.whole_x) if x_range else []
    placed = [(left + x_axis.dot(value) // 2, label) for value, label in x_ticks]
    cells += _x_rows(placed, figure.caption, left, width)[:below]
    return [_runs(row) for row in cells]


def _curve(line: Line, log_y: bool) -> list[tuple[float, float]]:
    """Points with y on the drawn scale; NaN where there is nothing to draw."""
    if log_y:
        return [(x, _log(y)) for x, y in zip(line.x, line.y, strict=True)]
    return list(zip(line.x, line.y, strict=True))


def _log(value: float) -> float:
    return math.log10(value) if 0 < value < math.inf else math.nan


def _range(asked: Limits | None, values: Iterable[float], centre: float) -> Limits | None:
    """Limits with room between them: those asked for, else those of the values, else None.

    ``centre`` is where a lone value stands in the range made for it: 0 is at its low end.
    """
    finite = [value for value in asked or () if math.isfinite(value)]
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
    """The dots without those that the line between their neighbours passes anyway."""
    kept = dots[:1]
    for x, y in dots[1:]:
        dx, dy = x - kept[-1][0], y - kept[-1][1]
        if not dx and not dy:
            continue
        if len(kept) > 1:
            before_x, before_y = kept[-1][0] - kept[-2][0], kept[-1][1] - kept[-2][1]
            if before_x * dy == before_y * dx and before_x * dx + before_y * dy > 0:
                kept.pop()
        kept.append((x, y))
    return kept


def _prepare() -> None:
    """Settle once what all drawings share; plotext has one figure for the whole process."""
    plotext.terminal.limit(False, False)  # the size is the widget's, not the terminal's
    plotext.figure.clear()
    plotext.figure.canvas("default")
    plotext.figure.axes(False)
    plotext.figure.ruler("both", "both").ticks([], []).alignment(lim="edge")


_prepare()


def _canvas(strokes: list[tuple[str, list[Dot]]], columns: int, rows: int) -> list[list[Run]]:
    """Cells with the strokes in braille, two by four dots a cell."""
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
        # plotext would look through every point for colours that are no longer free, which costs
        # more than all the rest. Every curve has its colour already.
        signal._get_unique_pixels = list
        figure.draw(signal)
    return [_cells(row, styles) for row in figure.build().string().split("\n")[:rows]]


def _cells(row: str, styles: list[str]) -> list[Run]:
    """A row of plotext's text as single cells with style names."""
    parts = _ESCAPE.split(row)  # text, code or None, text, code or None, …, text
    codes = [None, *parts[1::2]]
    return [
        (char, styles[int(code) - FIRST_CODE] if code else "")
        for text, code in zip(parts[::2], codes, strict=True)
        for char in text
    ]


def _stamp(cells: list[list[Run]], mark: Mark, column: int) -> None:
    cells[0][column] = (mark.glyph, mark.style)
    for row in cells[1:]:
        if row[column][0] in " \u2800":
            row[column] = ("┊", mark.style)


def _x_rows(
    placed: list[tuple[int, str]], caption: Sequence[Run], left: int, width: int
) -> tuple[list[Run], list[Run]]:
    """The x axis and the row of its labels, each centred under its tick where that fits."""
    edge = [*_text(" " * (left - 1), ""), ("└", "axis")] if left else []
    axis = edge + _text("─" * (width - left), "axis")
    labels: list[Run] = [(" ", "")] * width
    free = 0
    for column, label in placed:
        start = min(max(column - len(label) // 2, 0), width - len(label))
        if start < free:
            continue
        axis[column] = ("┬", "axis")
        labels[start : start + len(label)] = _text(label, "label")
        free = start + len(label) + 2
    words = [cell for text, style in caption for cell in _text(text, style)]
    if words and len(words) + 2 < width - left:
        axis[width - len(words) - 2 :] = [(" ", ""), *words, (" ", "")]
    return axis, labels


def _text(text: str, style: str) -> list[Run]:
    return [(char, style) for char in text]


def _runs(row: list[Run]) -> list[Run]:
    grouped = groupby(row, lambda cell: cell[1] if cell[0] != " " else "")
    return [("".join([char for char, _ in cells]), style) for style, cells in grouped]

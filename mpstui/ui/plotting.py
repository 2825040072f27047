"""Charts as rows of styled text: the only file that imports plotext.

plotext draws lines of braille dots on its one master figure; ticks, limits and the log axis are
ours, so that labels are short and do not jump while a run grows. Each style gets a palette number
of its own, which is turned back into the style's name when the drawing is read: colours belong to
the theme and never pass through plotext.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby

import plotext

LABEL_WIDTH = 5
"""Cells of a y label: ``1.8e8``, ``0.125``. Fixed, so that charts stand in line."""

FIRST_CODE = 20
"""Palette numbers from here on stand for styles."""

_ESCAPE = re.compile(r"\x1b\[([0-9;]*)m")

plotext.terminal.limit(False, False)  # the size is the widget's, not the terminal's

Run = tuple[str, str]
"""Text and the name of its style; the empty name is blank space."""


@dataclass(frozen=True)
class Line:
    """A curve. Points that are not finite are gaps; hand over at most two points a column."""

    x: Sequence[float]
    y: Sequence[float]
    style: str


@dataclass(frozen=True)
class Mark:
    """A vertical mark at x, with a glyph at its top."""

    x: float
    style: str
    glyph: str = "✗"


@dataclass(frozen=True)
class Figure:
    """What a chart shows. Limits that are None come from the lines."""

    lines: tuple[Line, ...]
    marks: tuple[Mark, ...] = ()
    x_limits: tuple[float, float] | None = None
    y_limits: tuple[float, float] | None = None
    log_y: bool = False
    caption: str = ""
    """Written into the x axis, at its right end, where it costs no row."""


def draw(figure: Figure, width: int, height: int) -> list[list[Run]]:
    """Draw a figure.

    Returns:
        ``height`` rows of runs, each row ``width`` cells wide. Style names are those of the lines
        and marks, ``axis`` and ``label``.
    """
    left, canvas, tall = LABEL_WIDTH + 1, width - LABEL_WIDTH - 1, height - 2
    if canvas < 4 or tall < 1:
        return [[(" " * width, "")] for _ in range(height)]
    curves = [_curve(line, figure.log_y) for line in figure.lines]
    finite_x = [x for curve in curves for x, _ in curve]
    finite_y = [y for curve in curves for _, y in curve]
    x_low, x_high = _range(figure.x_limits or _extent(finite_x))
    limits = figure.y_limits
    if limits is not None and figure.log_y:
        limits = (_log(limits[0]), _log(limits[1]))
    y_low, y_high = _range(limits or _extent(finite_y))
    styles = ["axis", "label", *dict.fromkeys(line.style for line in figure.lines)]

    master = plotext.figure
    master.clear()
    master.plot_size(width, height)
    master.canvas("default")
    master.axes(True, pixel=_pixel(styles, "axis"))
    master.axes(False, axis="x", side="upper")
    master.axes(False, axis="y", side="right")
    master.ruler("both", "both").pixel(_pixel(styles, "label"))
    at, labels = _x_ticks(x_low, x_high, canvas)
    master.ruler("x").lim(x_low, x_high).ticks(at, labels)
    at, labels = _y_ticks(y_low, y_high, tall, figure.log_y)
    master.ruler("y").lim(y_low, y_high).ticks(at, labels)
    for line, curve in zip(figure.lines, curves, strict=True):
        marker = plotext.marker("braille", _pixel(styles, line.style))
        for stretch in _stretches(curve):
            xs, ys = [x for x, _ in stretch], [min(max(y, y_low), y_high) for _, y in stretch]
            master.draw(master.signal(xs, ys, marker=marker).lines())
    cells = _cells(master.build().string(), styles, width, height)
    for mark in figure.marks:
        _stamp(cells, mark, left + round((mark.x - x_low) / (x_high - x_low) * (canvas - 1)), left)
    caption = f" {figure.caption} " if figure.caption else ""
    if len(caption) < canvas:
        for place, char in enumerate(caption, width - len(caption)):
            cells[height - 2][place] = (char, "label")
    return [_runs(row) for row in cells]


def compact(value: float) -> str:
    """A number in at most five cells: ``0.125``, ``120``, ``1.2k``, ``1.8e8``."""
    size = abs(value)
    if size and (size >= 1e6 or size < 1e-3):
        mantissa, _, exponent = f"{value:.1e}".partition("e")
        return f"{mantissa.removesuffix('.0')}e{int(exponent)}"
    if size >= 1e4:
        return f"{value / 1e3:.0f}k"
    if size >= 1e3:
        return f"{value / 1e3:.1f}k".replace(".0k", "k")
    return f"{value:.3g}"


def nice_ticks(low: float, high: float, at_most: int) -> list[float]:
    """Round numbers between two bounds: steps of 1, 2 or 5 times a power of ten."""
    span = high - low
    if at_most < 1 or span <= 0:
        return []
    rough = span / at_most
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(m * power for m in (1, 2, 5, 10) if m * power >= rough * (1 - 1e-9))
    first = math.ceil(low / step - 1e-9)
    last = math.floor(high / step + 1e-9)
    digits = 12 - math.floor(math.log10(step))
    return [round(index * step, digits) for index in range(first, last + 1)]


def _curve(line: Line, log_y: bool) -> list[tuple[float, float]]:
    """Points with y on the drawn scale; NaN where there is nothing to draw."""
    scale = _log if log_y else float
    points = zip(line.x, line.y, strict=True)
    return [(x, scale(y) if math.isfinite(y) else math.nan) for x, y in points]


def _log(value: float) -> float:
    return math.log10(value) if value > 0 else math.nan


def _stretches(curve: list[tuple[float, float]]) -> list[list[tuple[float, float]]]:
    runs = groupby(curve, lambda point: math.isfinite(point[1]) and math.isfinite(point[0]))
    return [list(points) for finite, points in runs if finite]


def _extent(values: Sequence[float]) -> tuple[float, float]:
    finite = [value for value in values if math.isfinite(value)]
    return (min(finite), max(finite)) if finite else (0.0, 1.0)


def _range(limits: tuple[float, float]) -> tuple[float, float]:
    """The limits, widened until there is room between them that floats can tell apart."""
    low, high = limits
    if not (math.isfinite(low) and math.isfinite(high)):
        return 0.0, 1.0
    least = max(abs(low), abs(high), 1e-12) * 1e-6
    if high - low > least:
        return low, high
    room = max(least, 0.5 * abs(low))
    return low - room, high + room


def _x_ticks(low: float, high: float, canvas: int) -> tuple[list[float], list[str]]:
    at = nice_ticks(low, high, max(canvas // 9, 2))
    return at, [compact(value) for value in at]


def _y_ticks(low: float, high: float, tall: int, log_y: bool) -> tuple[list[float], list[str]]:
    most = max(min(tall // 2, 6), 2)
    if log_y:
        decades = range(math.ceil(low), math.floor(high) + 1)
        at = [float(decade) for decade in decades[:: max(-(-len(decades) // most), 1)]]
        return at, [compact(10.0**value).rjust(LABEL_WIDTH) for value in at]
    at = nice_ticks(low, high, most)
    return at, [compact(value).rjust(LABEL_WIDTH) for value in at]


def _pixel(styles: list[str], style: str) -> plotext.pixel:
    return plotext.pixel(foreground=FIRST_CODE + styles.index(style))


def _cells(text: str, styles: list[str], width: int, height: int) -> list[list[Run]]:
    """The drawing as single cells with style names, cut and filled to the size."""
    grid: list[list[Run]] = []
    for row in text.split("\n")[:height]:
        cells: list[Run] = []
        style = ""
        for place, part in enumerate(_ESCAPE.split(row)):
            if place % 2 == 0:
                cells += [(char, style if char != " " else "") for char in part]
            elif part.startswith("38;5;"):
                style = styles[int(part[5:]) - FIRST_CODE]
            elif part == "0":
                style = ""
        grid.append((cells + [(" ", "")] * (width - len(cells)))[:width])
    return grid + [[(" ", "")] * width for _ in range(height - len(grid))]


def _stamp(cells: list[list[Run]], mark: Mark, column: int, left: int) -> None:
    if not left <= column < len(cells[0]):
        return
    cells[0][column] = (mark.glyph, mark.style)
    for row in cells[1:-2]:
        if row[column][0] == " ":
            row[column] = ("┊", mark.style)


def _runs(row: list[Run]) -> list[Run]:
    grouped = groupby(row, lambda cell: cell[1])
    return [("".join(char for char, _ in cells), style) for style, cells in grouped]

"""A sweep's lines as plain text, without colours: letters tell the devices apart."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

WIDTH, HEIGHT = 72, 18
"""Cells of the chart."""

LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"


def chart(lines: Mapping[str, Mapping[int, float]]) -> list[str]:
    """Both axes logarithmic; a letter stands at each point, ``*`` where two meet.

    Args:
        lines: Samples/s by batch size, ascending, by device.

    Returns:
        Rows of plain text, the legend first.
    """
    from mpstui.ui.charts.plotting import Figure, Line, draw  # plotext, for this format alone

    rates = [rate for found in lines.values() for rate in found.values()]
    if not rates:
        return ["nothing to draw: no point could be measured"]
    sizes = sorted({size for found in lines.values() for size in found})
    x_limits = (math.log2(sizes[0]) - 0.5, math.log2(sizes[-1]) + 0.5)
    y_limits = (min(rates) / 1.25, max(rates) * 1.25)
    curves = [
        Line(tuple(math.log2(size) for size in found), tuple(found.values()), device)
        for device, found in lines.items()
    ]
    figure = Figure(tuple(curves), x_limits=x_limits, y_limits=y_limits, log_y=True)
    cells = [[*"".join(text for text, _ in row)] for row in draw(figure, WIDTH, HEIGHT)]
    left = next(place for place, cell in enumerate(cells[0]) if cell in "│┤") + 1
    columns, rows = WIDTH - left, HEIGHT - 2  # under them the axis and its labels
    placed: dict[tuple[int, int], str] = {}
    for letter, curve in zip(LETTERS, curves, strict=False):
        for x, y in zip(curve.x, curve.y, strict=True):
            column = left + _cell(x, x_limits, columns, 2)
            log_limits = (math.log10(y_limits[0]), math.log10(y_limits[1]))
            row = rows - 1 - _cell(math.log10(y), log_limits, rows, 4)
            placed[row, column] = "*" if (row, column) in placed else letter
    for (row, column), letter in placed.items():
        cells[row][column] = letter
    _label_sizes(cells, left, columns, sizes, x_limits)
    legend = "   ".join(
        f"{letter} {device}" for letter, device in zip(LETTERS, lines, strict=False)
    )
    return [f"samples/s by batch size   {legend}", *("".join(row).rstrip() for row in cells)]


def _label_sizes(
    cells: list[list[str]],
    left: int,
    columns: int,
    sizes: Sequence[int],
    limits: tuple[float, float],
) -> None:
    """Batch sizes under the axis, in place of their logarithms; those that have room."""
    axis, labels = cells[-2], [" "] * WIDTH
    axis[left:] = ["─" if cell == "┬" else cell for cell in axis[left:]]
    free = 0
    for size in sizes:
        column, label = left + _cell(math.log2(size), limits, columns, 2), str(size)
        start = min(column - len(label) // 2, WIDTH - len(label))
        if start >= free:
            axis[column] = "┬"
            labels[start : start + len(label)] = label
            free = start + len(label) + 1
    cells[-1] = labels


def _cell(value: float, limits: tuple[float, float], cells: int, dots: int) -> int:
    """The cell that ``draw`` puts a value into: it counts dots, several a cell."""
    low, high = limits
    return round((value - low) / (high - low) * (dots * cells - 1)) // dots

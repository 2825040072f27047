"""A sweep's chart as plain text, without colours: a letter marks each device's points."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

WIDTH, HEIGHT = 72, 18
"""Cells of the chart."""

LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"


def chart(lines: Mapping[str, Mapping[int, float]]) -> list[str]:
    """Draw a chart with logarithmic axes and a letter at each point, ``*`` where two coincide.

    Args:
        lines: Samples/s by batch size, ascending, by device.

    Returns:
        Rows of plain text, the legend first.
    """
    from mpstui.ui.charts.plotting import Figure, Line, draw  # plotext, only for this format

    rates = [rate for by_size in lines.values() for rate in by_size.values()]
    if not rates:
        return ["nothing to draw: no point could be measured"]
    sizes = sorted({size for by_size in lines.values() for size in by_size})
    x_limits = (math.log2(sizes[0]) - 0.5, math.log2(sizes[-1]) + 0.5)
    y_limits = (min(rates) / 1.25, max(rates) * 1.25)
    curves = [
        Line(tuple(math.log2(size) for size in by_size), tuple(by_size.values()), device)
        for device, by_size in lines.items()
    ]
    figure = Figure(tuple(curves), x_limits=x_limits, y_limits=y_limits, log_y=True)
    cells = [[*"".join(text for text, _ in row)] for row in draw(figure, WIDTH, HEIGHT)]
    plot_left = next(index for index, cell in enumerate(cells[0]) if cell in "│┤") + 1
    columns, rows = WIDTH - plot_left, HEIGHT - 2  # the last two are the axis and its labels
    markers: dict[tuple[int, int], str] = {}
    for letter, curve in zip(LETTERS, curves, strict=False):
        for x, y in zip(curve.x, curve.y, strict=True):
            column = plot_left + _cell(x, x_limits, columns, 2)
            log_limits = (math.log10(y_limits[0]), math.log10(y_limits[1]))
            row = rows - 1 - _cell(math.log10(y), log_limits, rows, 4)
            markers[row, column] = "*" if (row, column) in markers else letter
    for (row, column), letter in markers.items():
        cells[row][column] = letter
    _label_sizes(cells, plot_left, columns, sizes, x_limits)
    legend = "   ".join(
        f"{letter} {device}" for letter, device in zip(LETTERS, lines, strict=False)
    )
    return [f"samples/s by batch size   {legend}", *("".join(row).rstrip() for row in cells)]


def _label_sizes(
    cells: list[list[str]],
    plot_left: int,
    columns: int,
    sizes: Sequence[int],
    limits: tuple[float, float],
) -> None:
    """Label the axis with batch sizes instead of their logarithms, where there is room."""
    axis, labels = cells[-2], [" "] * WIDTH
    axis[plot_left:] = ["─" if cell == "┬" else cell for cell in axis[plot_left:]]
    free = 0
    for size in sizes:
        column, label = plot_left + _cell(math.log2(size), limits, columns, 2), str(size)
        start = min(column - len(label) // 2, WIDTH - len(label))
        if start >= free:
            axis[column] = "┬"
            labels[start : start + len(label)] = label
            free = start + len(label) + 1
    cells[-1] = labels


def _cell(value: float, limits: tuple[float, float], cells: int, dots: int) -> int:
    """Return the cell that ``draw`` uses for a value: it counts dots, several a cell."""
    low, high = limits
    return round((value - low) / (high - low) * (dots * cells - 1)) // dots

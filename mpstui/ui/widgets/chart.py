"""A chart: a figure drawn when it changes, kept as strips until then."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import ClassVar

from rich.segment import Segment
from rich.style import Style
from textual.geometry import Size
from textual.strip import Strip
from textual.widget import Widget

from mpstui.ui.plotting import Figure, Run, draw

TITLE_FROM = 9
"""From so many rows on, the title has a row of its own; below, it stands in the x axis."""


class Chart(Widget):
    """Shows a figure in the theme's colours.

    Series are told apart by hue and lightness, and by their panel or the legend: never by red
    against green alone.
    """

    STYLES: ClassVar[tuple[str, ...]] = (
        *(f"series-{number}" for number in range(1, 7)),
        "faint",
        "axis",
        "label",
        "mark",
    )
    COMPONENT_CLASSES: ClassVar[set[str]] = {f"chart--{style}" for style in STYLES}
    DEFAULT_CSS = """
    Chart {
        .chart--series-1 { color: $text-primary; }
        .chart--series-2 { color: $text-warning; }
        .chart--series-3 { color: $text-success; }
        .chart--series-4 { color: $text-accent; }
        .chart--series-5 { color: $text-secondary; }
        .chart--series-6 { color: $text-error; }
        .chart--faint { color: $text-disabled; }
        .chart--axis { color: $text-disabled; }
        .chart--label { color: $foreground-muted; }
        .chart--mark { color: $text-error; text-style: bold; }
    }
    """

    def __init__(self, title: str, unit: str = "", empty: str = "", id: str | None = None) -> None:
        """Make a chart.

        Args:
            title: What is drawn.
            unit: Of the y axis.
            empty: Shown while there is no figure.
            id: The widget's id.
        """
        super().__init__(id=id)
        self._title = title
        self._unit = unit
        self._empty = empty
        self._figure: Figure | None = None
        self._drawn: tuple[Figure | None, Size, str] | None = None
        self._strips: list[Strip] = []
        self.draw_seconds = 0.0
        """Time spent drawing so far: what watching costs."""

    def show(self, figure: Figure | None) -> None:
        """Show a figure, or that there is none yet."""
        if figure != self._figure:
            self._figure = figure
            self.refresh()

    def render_line(self, y: int) -> Strip:
        """One row; draws first if anything changed since the last time."""
        key = (self._figure, self.size, self.app.theme)
        if key != self._drawn:
            began = time.perf_counter()
            self._strips = self._draw()
            self._drawn = key
            self.draw_seconds += time.perf_counter() - began
        return self._strips[y] if y < len(self._strips) else Strip.blank(self.size.width)

    def notify_style_update(self) -> None:
        """Colours may be others now."""
        self._drawn = None
        super().notify_style_update()

    def _draw(self) -> list[Strip]:
        width, height = self.size
        styles = {style: self.get_component_rich_style(f"chart--{style}") for style in self.STYLES}
        base = self.rich_style
        title = f"{self._title}, {self._unit}" if self._unit else self._title
        if self._figure is None:
            text = f"{self._title}: {self._empty}"[:width].center(width)
            blank = [Strip.blank(width, base)] * height
            blank[height // 2] = Strip([Segment(text, styles["label"])], width)
            return blank
        if height < TITLE_FROM:
            caption = title if len(title) < width * 2 // 3 else self._title
            rows = draw(replace(self._figure, caption=caption), width, height)
            return [_strip(row, styles, base) for row in rows]
        head = Strip([Segment(title[:width].ljust(width), styles["label"])], width)
        rows = draw(self._figure, width, height - 1)
        return [head, *(_strip(row, styles, base) for row in rows)]


def _strip(row: list[Run], styles: dict[str, Style], base: Style) -> Strip:
    return Strip([Segment(text, styles.get(style, base)) for text, style in row])

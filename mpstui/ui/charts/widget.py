"""A chart: a figure that is drawn when it changes, and cached as strips."""

from __future__ import annotations

from dataclasses import replace
from typing import ClassVar

from rich.segment import Segment
from rich.style import Style
from textual.content import Content
from textual.events import Click, MouseScrollDown, MouseScrollUp, Resize
from textual.geometry import Region
from textual.message import Message
from textual.strip import Strip
from textual.style import Style as VisualStyle
from textual.widget import Widget

from .plotting import LABEL_WIDTH, Figure, StyledText, draw

GUTTER = LABEL_WIDTH + 1
"""Cells to the left of the plot: labels and axis."""

TITLE_FROM = 9
"""Least rows for a separate title row; with fewer, the title is in the x axis."""


class Chart(Widget):
    """A widget that shows a figure in the theme's colours.

    The first series differ in hue and lightness, blue against orange; red and green are
    never alone. The accent is not used: in Textual's own themes it is the warning's orange.
    """

    STYLES: ClassVar[tuple[str, ...]] = (
        *(f"series-{number}" for number in range(1, 7)),
        "faint",
        "axis",
        "label",
        "mark",
    )
    """Style names that a figure's lines and marks may use."""
    COMPONENT_CLASSES: ClassVar[set[str]] = {f"chart--{style}" for style in STYLES}
    DEFAULT_CSS = """
    Chart {
        border-top: blank;
        border-title-color: $foreground-muted;
        &.-low { border-top: none; }
        .chart--series-1 { color: $text-primary; }
        .chart--series-2 { color: $text-warning; }
        .chart--series-3 { color: $text-success; }
        .chart--series-4 { color: $text-error; }
        .chart--series-5 { color: $foreground; }
        .chart--series-6 { color: $text-secondary; }
        .chart--faint { color: $foreground-muted; }
        .chart--axis { color: $foreground 35%; }
        .chart--label { color: $foreground-muted; }
        .chart--mark { color: $text-error; text-style: bold; }
        &:ansi {
            /* Blue is hardly seen on black, two series may be red, and nothing blends. */
            .chart--series-1 { color: ansi_bright_blue; }
            .chart--series-4 { color: ansi_magenta; }
            .chart--faint, .chart--axis, .chart--label { text-style: dim; }
        }
    }
    """

    def __init__(
        self,
        title: str = "",
        unit: str = "",
        empty: str = "",
        id: str | None = None,
        classes: str | None = None,
    ) -> None:
        """Create a chart.

        Args:
            title: The plotted quantity, in the top border, or without one in the x axis.
            unit: The y axis's unit, beside the title.
            empty: The text shown while there is no figure.
            id: The widget's id.
            classes: The widget's classes.
        """
        super().__init__(id=id, classes=classes)
        self._title = title
        self._caption = f"{title}, {unit}" if unit else title
        self._empty = empty
        self._figure: Figure | None = None
        self._render_key: tuple[object, ...] | None = None
        self._strips: list[Strip] = []
        self._styles: dict[str, Style] = {}
        """The theme's styles by name; empty when they have to be read again."""
        self._readout: tuple[StyledText, ...] = ()
        self.border_title = Content(self._caption)

    class Pointed(Message):
        """The user clicked in a chart."""

        def __init__(self, share: float) -> None:
            super().__init__()
            self.share = share
            """The position as a share of the x axis, 0 to 1."""

    class Zoomed(Message):
        """The user turned the wheel over a chart."""

        def __init__(self, inwards: bool, share: float) -> None:
            super().__init__()
            self.inwards = inwards
            self.share = share
            """The position as a share of the x axis, 0 to 1."""

    class Enlarged(Message):
        """The user double-clicked in a chart."""

        def __init__(self, chart: str) -> None:
            super().__init__()
            self.chart = chart
            """Its title."""

    def show(self, figure: Figure | None, readout: tuple[StyledText, ...] = ()) -> None:
        """Show a figure, or the empty text for None.

        A visible chart is drawn immediately, to find the rows that changed; others are drawn when
        they become visible.

        Args:
            figure: The figure; None while there is no data.
            readout: The values under the crosshair, beside the title; styles as in a figure.
        """
        if readout != self._readout:
            self._readout = readout
            self._entitle()
        elif figure == self._figure:
            return
        self._figure = figure
        old_strips = self._strips
        if old_strips:
            self._renew()
        if not old_strips or len(old_strips) != len(self._strips):
            self.refresh()
            return
        rows = enumerate(zip(old_strips, self._strips, strict=True))
        # Regions count from the content's first row: Textual adds the title row itself.
        changed_rows = [
            Region(0, y, self.size.width, 1)
            for y, (old_strip, new_strip) in rows
            if old_strip != new_strip
        ]
        if changed_rows:
            self.refresh(*changed_rows)

    @property
    def readout(self) -> str:
        """The values beside the title, as plain text."""
        return "".join(text for text, _ in self._readout)

    def colour(self, style: str) -> VisualStyle:
        """Return the theme's style for a figure's style name; the empty name is normal text."""
        return self.get_visual_style(*([f"chart--{style}"] if style else []))

    def _entitle(self) -> None:
        values = [(text, self.colour(style)) for text, style in self._readout]
        self.border_title = Content.assemble(self._caption, "  " if values else "", *values)

    def on_click(self, event: Click) -> None:
        """Post the position; a double click enlarges the chart."""
        if event.chain == 2:
            self.post_message(self.Enlarged(self._title))
            return
        self.post_message(self.Pointed(self._share(event.x)))

    def on_mouse_scroll_up(self, event: MouseScrollUp) -> None:
        """Zoom in."""
        event.stop()
        self.post_message(self.Zoomed(True, self._share(event.x)))

    def on_mouse_scroll_down(self, event: MouseScrollDown) -> None:
        """Zoom out."""
        event.stop()
        self.post_message(self.Zoomed(False, self._share(event.x)))

    def _share(self, x: int) -> float:
        columns = max(self.size.width - GUTTER, 1)
        return min(max((x - GUTTER) / columns, 0.0), 1.0)

    def on_resize(self, event: Resize) -> None:
        """Drop the title row where rows are few."""
        self.set_class(self.outer_size.height < TITLE_FROM, "-low")

    def render_line(self, y: int) -> Strip:
        """Return one row; draw first if anything changed since the last time."""
        self._renew()
        return self._strips[y] if y < len(self._strips) else Strip.blank(self.size.width)

    def _renew(self) -> None:
        key = (self._figure, self._readout, self.size, self.app.theme, self._has_title_row)
        if key != self._render_key:
            self._strips = self._draw()
            self._render_key = key

    def notify_style_update(self) -> None:
        """Redraw with the new colours."""
        self._render_key = None
        self._styles = {}
        super().notify_style_update()
        if self._readout:
            self.call_later(self._entitle)  # the styles are only updated after this

    @property
    def _has_title_row(self) -> bool:
        return self.styles.border_top[0] not in ("", "none", "hidden")

    def _draw(self) -> list[Strip]:
        width, height = self.size
        styles = self._styles = self._styles or {
            **{style: self.get_component_rich_style(f"chart--{style}") for style in self.STYLES},
            "": self.rich_style,
        }
        base = styles[""]
        if self._figure is None:
            needs_title = self._title and not self._has_title_row
            text = f"{self._title}: {self._empty}" if needs_title else self._empty
            strips = [Strip.blank(width, base)] * height
            if height:
                segment = Segment(text[:width].center(width), styles["label"])
                strips[height // 2] = Strip([segment], width)
            return strips
        figure = self._figure
        if not self._has_title_row:
            figure = replace(figure, caption=self._caption_within(width - GUTTER - 3))
        return [
            Strip([Segment(text, styles[style]) for text, style in row], width)
            for row in draw(figure, width, height)
        ]

    def _caption_within(self, width: int) -> tuple[StyledText, ...]:
        """Return title and readout, or what fits into the width; the readout has priority."""
        title = (self._title, "label")
        choices: list[tuple[StyledText, ...]] = [((self._caption, "label"),), (title,)]
        if self._readout:
            values = self._readout[:-1]  # without the position, which other charts show too
            space = (" ", "")
            choices = [(title, space, *self._readout), (title, space, *values), values, (title,)]
        fitting = (runs for runs in choices if sum(len(text) for text, _ in runs) <= width)
        return next(fitting, ())

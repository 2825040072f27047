"""A run's progress as a thin bar."""

from __future__ import annotations

from typing import ClassVar

from textual.content import Content
from textual.widgets import Static
from typing_extensions import override

BAR, HALF_LEFT, HALF_RIGHT = "━", "╸", "╺"


class FractionBar(Static):
    """Draws a fraction as wide as it is, each time that it is drawn.

    Textual's own bar rounds its fraction to the width that it has when the fraction is set. What it
    shows then depends on whether layout came before or after. It also moves while a fraction is not
    known, which has no budget beside a timing.
    """

    COMPONENT_CLASSES: ClassVar[set[str]] = {
        "progress--bar",
        "progress--complete",
        "progress--background",
    }
    DEFAULT_CSS = """
    Progress {
        width: 1fr;
        height: 1;
        .progress--bar { color: $primary; }
        .progress--complete { color: $success; }
        .progress--background { color: $surface; }
        &:ansi .progress--background { color: ansi_default; text-style: dim; }
    }
    """

    def __init__(self) -> None:
        super().__init__()
        self._fraction = 0.0

    def show(self, fraction: float) -> None:
        """Show a fraction from 0 to 1; a value outside is cut off."""
        fraction = min(max(fraction, 0.0), 1.0)
        if fraction != self._fraction:
            self._fraction = fraction
            self.refresh()

    @override
    def render(self) -> Content:
        """The bar at today's width."""
        part = "complete" if self._fraction >= 1 else "bar"
        done, rest = halves(self._fraction, self.size.width)
        return Content.assemble(
            (done, self.get_visual_style(f"progress--{part}")),
            (rest, self.get_visual_style("progress--background")),
        )


def halves(fraction: float, width: int) -> tuple[str, str]:
    """The done and the remaining part of a bar, to half a cell, rounded down.

    Args:
        fraction: From 0 to 1.
        width: Cells of both parts together.
    """
    steps = int(fraction * width * 2)
    done = BAR * (steps // 2) + HALF_LEFT * (steps % 2)
    rest = width - len(done)
    if steps % 2 == 0 and steps > 0 and rest:
        return done, HALF_RIGHT + BAR * (rest - 1)
    return done, BAR * rest

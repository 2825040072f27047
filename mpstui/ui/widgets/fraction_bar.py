"""A run's progress as a thin bar."""

from __future__ import annotations

from typing import ClassVar

from textual.content import Content
from typing_extensions import override

from mpstui.ui.plain import Static

BAR, HALF_LEFT, HALF_RIGHT = "━", "╸", "╺"


class FractionBar(Static):
    """A progress bar that computes its length on each render.

    Textual's own bar rounds its fraction to the width that it has when the fraction is set, so the
    result depends on whether layout came before or after. It also animates while a fraction is not
    known, which costs too much CPU time during a timing.
    """

    COMPONENT_CLASSES: ClassVar[set[str]] = {
        "progress--bar",
        "progress--complete",
        "progress--background",
    }
    DEFAULT_CSS = """
    FractionBar {
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
        """Show a fraction, clamped to 0 to 1."""
        fraction = min(max(fraction, 0.0), 1.0)
        if fraction != self._fraction:
            self._fraction = fraction
            self.refresh()

    @override
    def render(self) -> Content:
        """Return the bar at the current width."""
        part = "complete" if self._fraction >= 1 else "bar"
        done_part, remaining_part = split_bar(self._fraction, self.size.width)
        return Content.assemble(
            (done_part, self.get_visual_style(f"progress--{part}")),
            (remaining_part, self.get_visual_style("progress--background")),
        )


def split_bar(fraction: float, width: int) -> tuple[str, str]:
    """Return the done and the remaining part of a bar, rounded down to half a cell.

    Args:
        fraction: From 0 to 1.
        width: Cells of both parts together.
    """
    steps = int(fraction * width * 2)
    done_part = BAR * (steps // 2) + HALF_LEFT * (steps % 2)
    rest = width - len(done_part)
    if steps % 2 == 0 and steps > 0 and rest:
        return done_part, HALF_RIGHT + BAR * (rest - 1)
    return done_part, BAR * rest

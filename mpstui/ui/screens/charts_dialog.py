"""The dialog that selects which charts are shown."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import Vertical
from textual.content import Content
from textual.widgets import SelectionList

from mpstui.ui.charts.view_state import CHARTS
from mpstui.ui.dialog import Dialog
from mpstui.ui.plain import Static


class ChartsDialog(Dialog["tuple[str, ...] | None"]):
    """A dialog that returns the selected charts, in their order; None if cancelled."""

    BINDINGS: ClassVar[list[BindingType]] = [
        ("escape", "dismiss(None)", "leave it"),
        ("enter", "take", "take"),
    ]
    DEFAULT_CSS = """
    ChartsDialog { align: center middle; }
    ChartsDialog Vertical {
        width: 46; height: auto; border: round $border; border-title-style: bold;
        background: $surface; padding: 0 1;
    }
    ChartsDialog SelectionList, ChartsDialog SelectionList:focus {
        height: auto; max-height: 14; border: none; background: $surface;
    }
    ChartsDialog Static { color: $foreground-muted; }
    """

    def __init__(self, charts: tuple[str, ...], recorded_names: Sequence[str] = ()) -> None:
        """Create the dialog.

        Args:
            charts: The charts that are shown now.
            recorded_names: Series of the recorded scripts on screen, after the usual charts.
        """
        super().__init__()
        self._charts = charts
        self._names = tuple(dict.fromkeys((*CHARTS, *recorded_names)))

    def compose(self) -> ComposeResult:
        """Yield the list."""
        with Vertical() as box:
            box.border_title = "Charts"
            yield SelectionList[str](
                *((Content(name), name, name in self._charts) for name in self._names)
            )
            yield Static("space ticks   enter accepts   esc cancels")

    def on_key(self, event: object) -> None:
        """Accept with enter, which the list would otherwise use to tick."""
        if getattr(event, "key", "") == "enter":
            event.stop()  # type: ignore[attr-defined]
            event.prevent_default()  # type: ignore[attr-defined]
            self.action_take()

    def action_take(self) -> None:
        """Return the ticked charts; at least one is required."""
        ticked = set(self.query_one(SelectionList).selected)
        if not ticked:
            self.notify("At least one chart is required.", severity="warning")
            return
        self.dismiss(tuple(name for name in self._names if name in ticked))

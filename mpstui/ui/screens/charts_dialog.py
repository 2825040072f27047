"""Which charts are shown: a list to tick."""

from __future__ import annotations

from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import Vertical
from textual.screen import ModalScreen
from textual.widgets import SelectionList, Static

from mpstui.ui.charts.view_state import CHARTS


class ChartsDialog(ModalScreen["tuple[str, ...] | None"]):
    """Ends with the chosen charts, in their order; None when nothing was changed."""

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

    def __init__(self, chosen: tuple[str, ...]) -> None:
        super().__init__()
        self._chosen = chosen

    def compose(self) -> ComposeResult:
        """The list."""
        with Vertical() as box:
            box.border_title = "Charts"
            yield SelectionList[str](*((name, name, name in self._chosen) for name in CHARTS))
            yield Static("space ticks   enter takes   esc leaves it")

    def on_key(self, event: object) -> None:
        """Enter takes what is ticked, though the list would tick with it too."""
        if getattr(event, "key", "") == "enter":
            event.stop()  # type: ignore[attr-defined]
            event.prevent_default()  # type: ignore[attr-defined]
            self.action_take()

    def action_take(self) -> None:
        """End with what is ticked; one chart has to stay."""
        ticked = set(self.query_one(SelectionList).selected)
        if not ticked:
            self.notify("One chart has to stay.", severity="warning")
            return
        self.dismiss(tuple(name for name in CHARTS if name in ticked))

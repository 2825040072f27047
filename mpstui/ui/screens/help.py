"""Every key, from the one table, and how to read the screens."""

from __future__ import annotations

from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import VerticalScroll
from textual.content import Content
from textual.screen import ModalScreen
from textual.widgets import Static

from mpstui.ui.actions import ACTIONS, key_name

READING = """\
Clocks leave out warm-up, evaluation and other runs' turns; the device is synchronised at both \
edges. An epoch is 60,000 samples, whatever the data. A median stands with its spread. \
— is not known, or not reached yet.
In turns, the runs of a comparison train one at a time, two seconds each; together, they disturb \
each other, and the times are not for comparing."""


class HelpScreen(ModalScreen[None]):
    """The help."""

    BINDINGS: ClassVar[list[BindingType]] = [("escape,q,question_mark", "dismiss", "close")]
    DEFAULT_CSS = """
    HelpScreen {
        align: center middle;
    }
    HelpScreen VerticalScroll {
        width: 76;
        max-width: 96%;
        height: auto;
        max-height: 92%;
        border: round $border;
        border-title-style: bold;
        background: $surface;
        padding: 0 2;
    }
    """

    def compose(self) -> ComposeResult:
        """Groups of keys, then the words on reading."""
        with VerticalScroll() as box:
            box.border_title = "Help"
            box.border_subtitle = "esc closes"
            for where in dict.fromkeys(action.where for action in ACTIONS):
                yield Static(_group(where))
            yield Static(READING, classes="muted")


def _group(where: str) -> Content:
    title = "Everywhere" if where == "app" else where.capitalize()
    text = Content.styled(title, "bold")
    for action in ACTIONS:
        if action.where == where:
            text += Content.assemble(
                "\n  ", (f"{key_name(action):<8}", "bold $primary"), action.help
            )
    return text + "\n"

"""Every key, from the one table, and how to read the screens."""

from __future__ import annotations

from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import VerticalScroll
from textual.content import Content
from textual.screen import ModalScreen
from textual.widgets import Static

from mpstui.ui.keymap import ACTIONS, key_name

READING = """\
Clocks leave out warm-up, evaluation and other runs' turns; the device is synchronised at both \
edges. An epoch is 60,000 samples, whatever the data. A median stands with its spread. \
— is not known, or not reached yet.
In turns, the runs of a comparison train one at a time, two seconds each; together, they disturb \
each other, and the times are not for comparing."""

SIGNS = (
    ("✓", "ok; done; yes"),
    ("!", "a warning"),
    ("✗", "failed; no; not finite; differs from the CPU"),
    ("·", "does not apply here; a stage that waits for its turn"),
    ("?", "not known, with the reason"),
    ("—", "no value: not known, or not reached yet"),
    ("…", "under way; more than fits"),
    ("↻", "an answer of before, while it is asked again"),
    ("▲", "an alarm: the run diverged from the first run"),
    ("┃", "the crosshair"),
    ("⚑", "the run that the others are measured against"),
    ("●", "a selected run"),
    ("○", "nothing was found, which proves nothing"),
    ("▸ ▾", "under way; something folded, and unfolded"),
    ("–", "a stage that was not needed, or not reached"),
    ("[x] [ ]", "chosen, and not"),
)
"""Every sign that the screens use, and what it means."""


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

    def __init__(self, where: str) -> None:
        """Make the help.

        Args:
            where: The screen that asks for it: its keys stand first.
        """
        super().__init__()
        self._where = where

    def compose(self) -> ComposeResult:
        """The screen's keys, those of everywhere, the signs, then the other screens' keys."""
        others = dict.fromkeys(action.where for action in ACTIONS)
        with VerticalScroll() as box:
            box.border_title = "Help"
            box.border_subtitle = "esc closes"
            for where in (self._where, "app"):
                yield Static(_group(where))
            yield Static(_signs())
            yield Static(READING + "\n", classes="muted")
            for where in others:
                if where not in (self._where, "app"):
                    yield Static(_group(where))


def _signs() -> Content:
    text = Content.styled("Signs", "bold")
    for sign, meaning in SIGNS:
        text += Content.assemble("\n  ", (f"{sign:<8}", "bold $text-accent"), meaning)
    return text + "\n"


def _group(where: str) -> Content:
    title = "Everywhere" if where == "app" else where.capitalize()
    text = Content.styled(title, "bold")
    for action in ACTIONS:
        if action.where == where:
            text += Content.assemble(
                "\n  ", (f"{key_name(action):<8}", "bold $primary"), action.help
            )
    return text + "\n"

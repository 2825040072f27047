"""The help screen: every key, and how to read the screens."""

from __future__ import annotations

from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import VerticalScroll
from textual.content import Content

from mpstui.ui.dialog import Dialog
from mpstui.ui.keymap import ACTIONS, first_key_name
from mpstui.ui.plain import Static

READING = """\
Clocks leave out warm-up, evaluation and other runs' turns; the device is synchronised at both \
edges. An epoch is 60,000 samples for any data set. A median is shown with its spread. \
— means not known, or not reached yet.
In turns, the runs of a comparison train one at a time, two seconds each; together, they disturb \
each other, and the times are not comparable."""

SIGNS = (
    ("✓", "ok; done; yes"),
    ("!", "a warning"),
    ("✗", "failed; no; not finite; differs from the CPU"),
    ("·", "does not apply here; a stage that has not started"),
    ("?", "not known, with the reason"),
    ("—", "no value: not known, or not reached yet"),
    ("…", "under way; cut off"),
    ("↻", "an earlier answer, while it is checked again"),
    ("▲", "an alarm: the run diverged from the first run"),
    ("┃", "the crosshair"),
    ("⚑", "the baseline of the comparison"),
    ("●", "a selected run"),
    ("○", "nothing was found, which proves nothing"),
    ("▸ ▾", "under way; folded, unfolded"),
    ("–", "a stage that was not needed, or not reached"),
    ("[x] [ ]", "selected, not selected"),
)
"""Every sign that the screens use, with its meaning."""


class HelpScreen(Dialog[None]):
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
        """Create the help screen.

        Args:
            where: The current screen, whose keys come first.
        """
        super().__init__()
        self._where = where

    def compose(self) -> ComposeResult:
        """Yield the screen's keys, the global keys, the signs, then the other screens' keys."""
        screens = dict.fromkeys(action.where for action in ACTIONS)
        with VerticalScroll() as box:
            box.border_title = "Help"
            box.border_subtitle = "esc closes"
            for where in (self._where, "app"):
                yield Static(_group(where))
            yield Static(_signs())
            yield Static(READING + "\n", classes="muted")
            for where in screens:
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
                "\n  ", (f"{first_key_name(action):<8}", "bold $primary"), action.help
            )
    return text + "\n"

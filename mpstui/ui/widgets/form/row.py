"""A row of the form: a label, a control, and what is to be said of its value."""

from __future__ import annotations

from textual.app import ComposeResult
from textual.containers import Horizontal, Vertical
from textual.content import Content
from textual.widget import Widget
from textual.widgets import Label, Static

NOTES = 21
"""Columns from a control's start to the notes, which stand under each other."""


class FieldRow(Vertical):
    """A field; its note stands beside it, or below a long one."""

    DEFAULT_CSS = """
    Row {
        height: auto;
        .line { height: auto; }
        Input, SelectCurrent { background: $foreground 10%; }
        Input > .input--placeholder { color: $foreground 75%; }
        Label { width: 17; padding: 0 1; }
        &:focus-within Label { text-style: bold; }
        .note {
            width: 1fr; height: 1; color: $foreground 75%;
            text-wrap: nowrap; text-overflow: ellipsis;
        }
        &.-long > .note { margin-left: 17; }
        &.-wrong .note { color: $text-error; }
    }
    """

    def __init__(self, name: str, label: str, control: Widget, help: str, long: bool) -> None:
        super().__init__(id=f"row-{name}", classes="-long" if long else "")
        self.entry = name
        """The entry that is shown here."""
        self._label = label
        self._control = control
        self._help = help
        self._long = long
        self._shown: tuple[str, bool] = (help, False)

    def compose(self) -> ComposeResult:
        """One line; of a long field two."""
        note = Static(Content(self._help), classes="note")
        with Horizontal(classes="line"):
            yield Label(self._label)
            yield self._control
            if not self._long:
                width = self._control.styles.width
                taken = int(width.value) if width is not None and width.is_cells else 0
                note.styles.margin = (0, 0, 0, max(NOTES - taken, 1))
                yield note
        if self._long:
            yield note

    def on_click(self) -> None:
        """A click beside the control is meant for it."""
        if not self.has_focus_within:
            self._control.focus()

    def say(self, problem: str | None, hint: str = "") -> None:
        """Show what is wrong, or else the hint, or else the help."""
        text = f"✗ {problem}" if problem is not None else hint or self._help
        if (text, problem is not None) == self._shown:
            return  # a key press looks at all rows; only what changed is drawn
        self._shown = (text, problem is not None)
        self.set_class(problem is not None, "-wrong")
        self.query_one(".note", Static).update(Content(text), layout=False)

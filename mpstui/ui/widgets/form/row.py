"""A row of the form: a label, a control, and a note on its value."""

from __future__ import annotations

from textual.app import ComposeResult
from textual.containers import Horizontal, Vertical
from textual.content import Content
from textual.widget import Widget
from textual.widgets import Label

from mpstui.ui.plain import Static

NOTES = 21
"""Columns from a control's start to the notes, which are aligned."""


class FieldRow(Vertical):
    """A field with its note beside it, or below if the field is long."""

    DEFAULT_CSS = """
    FieldRow {
        height: auto;
        .line { height: auto; }
        Input, SelectCurrent { background: $foreground 10%; }
        Input > .input--placeholder { color: $foreground 75%; }
        Label { width: 17; padding: 0 1; }
        &.-focus-within Label { text-style: bold; }
        .note {
            width: 1fr; height: 1; color: $foreground 75%;
            text-wrap: nowrap; text-overflow: ellipsis;
        }
        &.-long > .note { margin-left: 17; }
        &.-wrong .note { color: $text-error; }
    }
    """

    def __init__(
        self, name: str, label: str, control: Widget, help: str, long: bool, has_id: bool = True
    ) -> None:
        """Create a row.

        Args:
            name: The entry's name.
            label: Its label.
            control: Its control.
            help: The note while nothing is wrong.
            long: Whether the control takes the whole line.
            has_id: False for a row that another one of the same name may replace.
        """
        super().__init__(id=f"row-{name}" if has_id else None, classes="field-row")
        self.set_class(long, "-long")
        self.entry = name
        """The name of the row's entry."""
        self._label = label
        self._control = control
        self._help = help
        self._long = long
        self._note = Static(Content(help), classes="note")
        self._note_state: tuple[str, bool] = (help, False)

    def compose(self) -> ComposeResult:
        """Yield one line, or two for a long field."""
        note = self._note
        with Horizontal(classes="line"):
            yield Label(self._label)
            yield self._control
            if not self._long:
                width = self._control.styles.width
                control_width = int(width.value) if width is not None and width.is_cells else 0
                note.styles.margin = (0, 0, 0, max(NOTES - control_width, 1))
                yield note
        if self._long:
            yield note

    def on_click(self) -> None:
        """Focus the control on a click beside it."""
        if not self.has_focus_within:
            self._control.focus()

    def focus_control(self) -> None:
        """Focus the control."""
        self._control.focus()

    def show_note(self, problem: str | None, hint: str = "") -> None:
        """Show the problem, else the hint, else the help."""
        text = f"✗ {problem}" if problem is not None else hint or self._help
        if (text, problem is not None) == self._note_state:
            return  # each key press checks all rows; only changed ones are drawn
        self._note_state = (text, problem is not None)
        self.set_class(problem is not None, "-wrong")
        self._note.update(Content(text), layout=False)

"""The line that folds the fields that a first run does not need."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from textual.binding import Binding, BindingType
from textual.content import Content
from textual.message import Message
from textual.reactive import reactive

from mpstui.ui.plain import Static


class Fold(Static, can_focus=True):
    """A line with the number of fields below, and those that differ from their defaults."""

    BINDINGS: ClassVar[list[BindingType]] = [Binding("enter,space", "fold", show=False)]
    DEFAULT_CSS = """
    Fold {
        height: 1; padding: 0 1; pointer: pointer;
        text-wrap: nowrap; text-overflow: ellipsis;
        &:hover { background: $boost; }
        &:focus { text-style: bold reverse; }
    }
    """

    open: reactive[bool] = reactive(False)
    changed: reactive[tuple[str, ...]] = reactive(())
    """The labels of the fields that differ from their defaults."""

    @dataclass
    class Toggled(Message):
        """The user opened or folded it."""

        open: bool

    def __init__(self, count: int) -> None:
        super().__init__(id="fold")
        self._count = count

    def render(self) -> Content:
        """Return the line."""
        sign = "▼" if self.open else "▶"
        return Content(f"{sign} {self._count} more{fold_words(self.changed)}")

    def watch_open(self, open: bool) -> None:
        """Post the new state."""
        self.post_message(self.Toggled(open))

    def action_fold(self) -> None:
        """Open or fold."""
        self.open = not self.open

    def on_click(self) -> None:
        """Open or fold by mouse."""
        self.action_fold()


def fold_words(changed: Sequence[str]) -> str:
    """Return the text after the count of folded fields."""
    if not changed:
        return ": all at their defaults"
    return f" · {len(changed)} changed: {', '.join(label.lower() for label in changed)}"

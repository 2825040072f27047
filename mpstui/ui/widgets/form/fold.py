"""The line that folds the fields which a first run does not need."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from textual.binding import Binding, BindingType
from textual.content import Content
from textual.message import Message
from textual.reactive import reactive
from textual.widgets import Static


class Fold(Static, can_focus=True):
    """Says how many fields are below and which of them are not at their defaults."""

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
    """The labels of the fields that are not at their defaults."""

    @dataclass
    class Toggled(Message):
        """It was opened or folded."""

        open: bool

    def __init__(self, count: int) -> None:
        super().__init__(id="fold")
        self._count = count

    def render(self) -> Content:
        """The line."""
        sign = "▼" if self.open else "▶"
        return Content(f"{sign} {self._count} more{fold_words(self.changed)}")

    def watch_open(self, open: bool) -> None:
        """Tell it."""
        self.post_message(self.Toggled(open))

    def action_fold(self) -> None:
        """Open or fold."""
        self.open = not self.open

    def on_click(self) -> None:
        """The same by mouse."""
        self.action_fold()


def fold_words(changed: Sequence[str]) -> str:
    """What stands after the count of folded fields."""
    if not changed:
        return ": all at their defaults"
    return f" · {len(changed)} changed: {', '.join(label.lower() for label in changed)}"

"""The controls of a form: as wide as their values; ``enter`` moves to the next field."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, ClassVar

from textual.binding import Binding, BindingType
from textual.content import Content
from textual.geometry import Size
from textual.widget import Widget
from textual.widgets import Checkbox, Input, Select

from mpstui.domain.config import RunConfig
from mpstui.domain.fields import Choice, Field, Flag, Integer, WorkloadChoice
from mpstui.ui.form.check import OWN, text_of

NUMBER = 10
"""Columns of a number field."""
LONGEST = 20
"""Columns of the longest number field: a seed has 19 digits."""
TICK = 8
"""Columns of a tick with its label."""
ARROW = 4
"""Extra columns of a list besides its longest choice."""
EMPTY = {"steps": "all", "data_dir": "none"}
"""The meaning of an empty field."""


class Tick(Checkbox, inherit_bindings=False):
    """A checkbox, ``[x]`` or ``[ ]``, which differ in shape, not in colour."""

    BINDINGS: ClassVar[list[BindingType]] = [Binding("space", "toggle_button", show=False)]
    DEFAULT_CSS = """
    Tick {
        width: auto; height: 1; padding: 0; border: none; background: transparent;
        color: $foreground;
        &.-textual-compact:focus {
            border: none; text-style: bold reverse; background-tint: transparent;
        }
    }
    """

    def render(self) -> Content:
        """Return the mark and the label."""
        return Content.assemble("[x] " if self.value else "[ ] ", self.label)

    def get_content_width(self, container: Size, viewport: Size) -> int:
        """Return the width of both."""
        return 4 + self.label.cell_length


class Choices(Select[str], inherit_bindings=False):
    """A list that opens below its value."""

    BINDINGS: ClassVar[list[BindingType]] = [Binding("space,down,up", "show_overlay", show=False)]
    DEFAULT_CSS = """
    Choices > SelectCurrent .arrow { color: $foreground; }
    Choices:focus > SelectCurrent Static#label { text-style: bold reverse; }
    """

    def __init__(self, options: Iterable[tuple[str, str]], **settings: Any) -> None:
        """Create a list of labels, which are shown as they are, and their values."""
        super().__init__([(Content(label), value) for label, value in options], **settings)


def control_of(field: Field, config: RunConfig) -> Widget:
    """Create a control for a field, with a config's value."""
    value = getattr(config, field.name)
    if isinstance(field, Choice):
        options = [(choice, choice) for choice in field.choices]
        if isinstance(field, WorkloadChoice):
            options.append(("custom class", OWN))
        choices = Choices(options, value=value, allow_blank=False, id=field.name, compact=True)
        choices.styles.width = max(len(label) for label, _ in options) + ARROW
        return choices
    if isinstance(field, Flag):
        tick = Tick(yes_no(value), value, id=field.name, compact=True)
        tick.styles.width = TICK
        return tick
    empty = EMPTY.get(field.name, "")
    typed = Input(text_of(value), placeholder=empty, id=field.name, compact=True)
    if not is_long(field):
        digits = len(str(field.high)) + 1 if isinstance(field, Integer) else NUMBER
        typed.styles.width = min(max(digits, NUMBER), LONGEST)
    return typed


def is_long(field: Field) -> bool:
    """Return whether a field holds a path, which needs a line of its own."""
    return field.name == "data_dir"


def yes_no(value: Any) -> str:
    """Return a bool as ``yes`` or ``no``."""
    return "yes" if value else "no"

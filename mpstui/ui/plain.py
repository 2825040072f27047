"""Texts as they are: Textual reads no markup in them, and the terminal no escape sequences.

Paths, notes, faults and errors are others' texts. A bracket in one would end the app as markup that
cannot be parsed, and an escape sequence would reach the terminal. Titles, tooltips and cells of
tables, for which Textual has no such switch, are given as :class:`~textual.content.Content`.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from rich.segment import Segment
from textual import widgets
from textual.app import App
from textual.color import Color
from textual.filter import LineFilter
from textual.notifications import SeverityLevel
from textual.visual import VisualType
from typing_extensions import override

_CONTROL = re.compile("[\x00-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")
"""Control characters, and those that turn the direction of text; none of them takes a cell."""

_HALF_PAIR = re.compile("[\ud800-\udfff]")
"""A half of a surrogate pair, for a byte that is not UTF-8 in a file's name; it takes a cell."""


class Static(widgets.Static):
    """A Static that reads no markup in a string."""

    def __init__(
        self, content: VisualType = "", id: str | None = None, classes: str | None = None
    ) -> None:
        super().__init__(content, id=id, classes=classes, markup=False)


class NoControls(LineFilter):
    """A filter of lines on their way to the terminal, which drops control characters."""

    @override
    def apply(self, segments: list[Segment], background: Color) -> list[Segment]:
        """Return the segments without control characters."""
        return [
            segment
            if segment.control or segment.text.isprintable()
            else segment._replace(text=visible(segment.text))
            for segment in segments
        ]


def visible(text: str) -> str:
    """Return a text without control characters, as wide as before in a terminal."""
    return _HALF_PAIR.sub("\N{REPLACEMENT CHARACTER}", _CONTROL.sub("", text))


class PlainApp(App[None]):
    """An app that shows all texts as they are."""

    _no_controls = NoControls()

    @override
    def get_line_filters(self) -> Sequence[LineFilter]:
        """Return the enabled filters; control characters go last."""
        return [*super().get_line_filters(), self._no_controls]

    @override
    def notify(
        self,
        message: str,
        *,
        title: str = "",
        severity: SeverityLevel = "information",
        timeout: float | None = None,
        markup: bool = False,
    ) -> None:
        """Show a notification; without markup, whatever the caller asks for."""
        super().notify(message, title=title, severity=severity, timeout=timeout, markup=False)

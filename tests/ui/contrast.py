"""Contrast of the text on a screen, as WCAG 2 counts it: 21 for black on white, 1 for none."""

from __future__ import annotations

from typing import NamedTuple

from rich.color import Color as RichColor
from rich.style import Style
from rich.terminal_theme import DIMMED_MONOKAI
from textual.app import App
from textual.color import Color

from mpstui.ui.contrast import LEAST, contrast

LINES = frozenset("─│┌┐└┘├┤┬┴┼╭╮╰╯━╸╺┊▕▏▁▔ \u2800")
"""Borders, axes and bars: they carry no meaning that is not written beside them."""

PICTURE = "▀"
"""Half blocks of a picture: their colours are its own."""


class Faint(NamedTuple):
    """Text that is hard to read."""

    row: int
    text: str
    ratio: float
    colours: str


def faint_text(app: App[None], least: float = LEAST) -> list[Faint]:
    """Every piece of text on the screen whose contrast is less than asked.

    Blank space, lines, scrollbars and pictures are left out.
    """
    faint = []
    for row, strip in enumerate(app.screen._compositor.render_strips()):
        for text, style, _ in strip:
            if style is None or not set(text) - LINES - {PICTURE} or _on_scrollbar(style):
                continue
            ground, ink = style.bgcolor, style.color
            if style.reverse:
                ground, ink = ink, ground
            below = _colour(ground, foreground=False)
            above = _colour(ink, foreground=True)
            if style.dim:
                above = below.blend(above, 0.5)
            ratio = contrast(above, below)
            if ratio < least:
                faint.append(Faint(row, text.strip(), ratio, f"{above.hex} on {below.hex}"))
    return faint


def _on_scrollbar(style: Style) -> bool:
    return any(key.startswith("@mouse") for key in style.meta)


def _colour(colour: RichColor | None, foreground: bool) -> Color:
    assert colour is not None, "a widget paints without a colour: the terminal's own shows through"
    return Color(*colour.get_truecolor(DIMMED_MONOKAI, foreground))

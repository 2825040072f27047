"""Readable colours: a theme's text colours, adjusted for contrast with its backgrounds."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

from textual.color import Color

LEAST = 4.5
"""The least contrast of normal-sized text (WCAG 2.2, success criterion 1.4.3)."""

TEXT = (
    "foreground-muted",
    *(f"text-{name}" for name in ("primary", "secondary", "accent", "success", "warning", "error")),
    "footer-key-foreground",
)
GROUNDS = ("background", "surface", "panel")
SHADES = 20


def contrast(first: Color, second: Color) -> float:
    """Return the ratio of two opaque colours' relative luminances, lighter to darker; 1 to 21.

    Source: WCAG 2.2, "contrast ratio" and "relative luminance".
    """
    light, dark = sorted((_luminance(first), _luminance(second)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


def with_contrast(variables: Mapping[str, str]) -> dict[str, str]:
    """Return a theme's variables, with text adjusted to be readable on each background.

    A text colour goes towards black or white, as far as it has to, and so does the cursor's ground,
    away from its text. A theme of the terminal's own colours is left as it is.

    Args:
        variables: Textual's theme variables: names to colours as text.
    """
    grounds = [Color.parse(variables[name]) for name in GROUNDS]
    if any(ground.a < 1 or ground.ansi is not None for ground in grounds):
        return dict(variables)
    edge = grounds[0].get_contrast_text(1.0)
    adjusted = {
        name: _adjust(Color.parse(variables[name]), edge, lambda text: _least(text, grounds))
        for name in TEXT
    }
    cursor = Color.parse(variables["block-cursor-background"])
    text = cursor.get_contrast_text(0.87)  # as the theme's "auto 87%" is
    adjusted["block-cursor-background"] = _adjust(
        cursor, text.inverse.with_alpha(1.0), lambda ground: _least(text, [ground])
    )
    return {**variables, **{name: colour.hex for name, colour in adjusted.items()}}


def _adjust(colour: Color, edge: Color, ratio: Callable[[Color], float]) -> Color:
    """Blend a colour towards an edge colour, just far enough to reach the least contrast."""
    for step in range(SHADES):
        share = step / SHADES
        nearer = colour.blend(edge, share, alpha=colour.a + (1 - colour.a) * share)
        if ratio(nearer) >= LEAST:
            return nearer
    return edge


def _least(text: Color, grounds: Iterable[Color]) -> float:
    return min(contrast(ground + text, ground) for ground in grounds)


def _luminance(colour: Color) -> float:
    parts = [
        part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4
        for part in colour.normalized
    ]
    return sum(weight * part for weight, part in zip((0.2126, 0.7152, 0.0722), parts, strict=True))

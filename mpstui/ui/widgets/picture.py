"""A PNG in the terminal, as half blocks: two pixels a cell."""

from __future__ import annotations

from pathlib import Path

from PIL import Image, UnidentifiedImageError
from rich.color import Color
from rich.segment import Segment
from rich.style import Style
from textual.geometry import Size
from textual.strip import Strip
from textual.widget import Widget

UPPER = "▀"


class Picture(Widget):
    """Shows a picture as large as it fits, never larger than it is."""

    def __init__(self, classes: str | None = None) -> None:
        super().__init__(classes=classes)
        self._path: Path | None = None
        self._drawn: tuple[Path | None, Size] | None = None
        self._strips: list[Strip] = []

    def show(self, path: Path | None) -> None:
        """Show a file; each picture is expected to keep its file."""
        if path != self._path:
            self._path = path
            self.refresh()

    def render_line(self, y: int) -> Strip:
        """One row of cells."""
        key = (self._path, self.size)
        if key != self._drawn:
            self._strips = self._draw()
            self._drawn = key
        return self._strips[y] if y < len(self._strips) else Strip.blank(self.size.width)

    def _draw(self) -> list[Strip]:
        width, height = self.size
        if self._path is None or not width or not height:
            return []
        try:
            with Image.open(self._path) as image:
                rows = half_blocks(image, width, height)
        except (OSError, UnidentifiedImageError) as error:
            words = f"{self._path.name}: {type(error).__name__}, not a picture that can be shown"
            return [Strip([Segment(words[:width])]).adjust_cell_length(width)]
        side, above = (width - rows[0].cell_length) // 2, (height - len(rows)) // 2
        centred = [
            Strip([Segment(" " * side), *row]).adjust_cell_length(width, self.rich_style)
            for row in rows
        ]
        return [Strip.blank(width, self.rich_style)] * above + centred


def half_blocks(image: Image.Image, width: int, height: int) -> list[Strip]:
    """A picture as strips of half blocks.

    Args:
        image: Grey or colour.
        width: Cells at most.
        height: Rows at most; a row holds two pixels.

    Returns:
        Strips, each as wide as the scaled picture; its proportions are kept.
    """
    scale = min(1.0, width / image.width, 2 * height / image.height)
    size = (max(round(image.width * scale), 1), max(round(image.height * scale), 1))
    small = image.convert("RGB").resize(size, Image.Resampling.LANCZOS)
    pixels = small.load()
    assert pixels is not None
    strips = []
    for top in range(0, size[1], 2):
        cells = []
        for column in range(size[0]):
            lower = _colour(pixels[column, top + 1]) if top + 1 < size[1] else None
            style = Style(color=_colour(pixels[column, top]), bgcolor=lower)
            cells.append(Segment(UPPER, style))
        strips.append(Strip(cells).simplify())
    return strips


def _colour(pixel: float | tuple[int, ...]) -> Color:
    assert isinstance(pixel, tuple)
    return Color.from_rgb(*pixel)

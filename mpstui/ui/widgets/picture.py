"""A PNG in the terminal, as half blocks: two pixels per cell."""

from __future__ import annotations

import textwrap
from itertools import groupby
from pathlib import Path
from typing import ClassVar

from PIL import Image, UnidentifiedImageError
from rich.color import Color
from rich.segment import Segment
from rich.style import Style
from textual.geometry import Size
from textual.strip import Strip
from textual.widget import Widget

from mpstui.runs.files import open_file

UPPER = "▀"

LEAST_TILE = 14
"""Least width in cells at which a digit of 28 pixels is recognisable."""

RGB = tuple[int, int, int]

Blocks = tuple[str, RGB, RGB | None]
"""Half blocks, and the colours of their upper and lower pixels; None for no lower pixel."""


class Picture(Widget):
    """A picture, scaled to fit; enlarged only by integer factors."""

    COMPONENT_CLASSES: ClassVar[set[str]] = {"picture--words"}
    DEFAULT_CSS = """
    Picture .picture--words { color: $foreground-muted; }
    """

    def __init__(self, tile: int = 0, id: str | None = None, classes: str | None = None) -> None:
        """Create a picture widget.

        Args:
            tile: For a grid of equal pictures, the pixels from one to the next; fewer tiles are
                shown where all would be too small. 0 for a single picture.
            id: The widget's id.
            classes: The widget's classes.
        """
        super().__init__(id=id, classes=classes)
        self._tile = tile
        self._path: Path | None = None
        self._modified: int | None = None
        self._why = ""
        self._render_key: tuple[Path | None, int | None, str, Size] | None = None
        self._strips: list[Strip] = []

    def show(self, path: Path | None, why: str = "") -> None:
        """Show a file. Call again when it may have changed.

        Args:
            path: The file; None for no picture.
            why: Why there is none, shown in its place.
        """
        content_key = (path, _modified(path), why)
        if content_key != (self._path, self._modified, self._why):
            self._path, self._modified, self._why = content_key
            self.refresh()

    def render_line(self, y: int) -> Strip:
        """Return one row; read the file first if anything changed since the last time."""
        key = (self._path, self._modified, self._why, self.size)
        if key != self._render_key:
            self._strips = self._draw()
            self._render_key = key
        if y < len(self._strips):
            return self._strips[y]
        return Strip.blank(self.size.width, self.rich_style)

    def notify_style_update(self) -> None:
        """Redraw with the new background."""
        self._render_key = None
        super().notify_style_update()

    def _draw(self) -> list[Strip]:
        width, height = self.size
        if not width or not height:
            return []
        if self._path is None:
            return self._message(self._why)
        base = self.rich_style
        if not self._path.is_file():  # a pipe would be waited for
            return self._message(f"{self._path.name}: no such file")
        try:
            with open_file(self._path) as file, Image.open(file) as image:
                visible_image = (
                    crop_to_tiles(image, self._tile, width, height) if self._tile else image
                )
                rows = half_blocks(visible_image, width, height)
        except UnidentifiedImageError:
            return self._message(f"{self._path.name}: not a picture")
        except Exception as error:  # noqa: BLE001 - Pillow's decoders raise any for damaged files
            return self._message(f"{self._path.name}: {error}")
        strips = [
            Strip([Segment(text, base + _style(upper, lower)) for text, upper, lower in row])
            for row in rows
        ]
        return list(Strip.align(strips, base, width, height, "center", "middle"))

    def _message(self, text: str) -> list[Strip]:
        width, height = self.size
        style = self.get_component_rich_style("picture--words")
        lines = textwrap.wrap(text, width)[:height]
        strips = [Strip([Segment(line, style)], len(line)) for line in lines]
        return list(Strip.align(strips, self.rich_style, width, height, "center", "middle"))


def crop_to_tiles(image: Image.Image, tile: int, width: int, height: int) -> Image.Image:
    """Crop a grid to the first tiles, as many as are recognisable in the given cells.

    Args:
        image: A grid of equal pictures.
        tile: Pixels from one picture to the next.
        width: Available cells.
        height: Available rows.
    """
    columns = max(width // LEAST_TILE, 1) * tile
    rows = max(2 * height // LEAST_TILE, 2) * tile  # a reconstruction is below its original
    return image.crop((0, 0, min(image.width, columns), min(image.height, rows)))


def half_blocks(image: Image.Image, width: int, height: int) -> list[list[Blocks]]:
    """Convert a picture to rows of half blocks.

    Args:
        image: A grey or colour picture.
        width: Maximum cells.
        height: Maximum rows; a row holds two pixels.

    Returns:
        Rows of runs of cells with the same two colours, each row as wide as the scaled picture.
        The aspect ratio is kept; a picture smaller than the space is enlarged by an integer factor.
    """
    fit = min(width / image.width, 2 * height / image.height)
    if fit >= 1:
        scale, filter = float(int(fit)), Image.Resampling.NEAREST
    else:
        scale, filter = fit, Image.Resampling.LANCZOS
    columns = max(round(image.width * scale), 1)
    lines = max(round(image.height * scale), 1)
    data = image.convert("RGB").resize((columns, lines), filter).tobytes()
    flat = list(zip(data[::3], data[1::3], data[2::3], strict=True))
    pixels = [flat[start : start + columns] for start in range(0, len(flat), columns)]
    nothing: list[RGB | None] = [None] * columns
    rows: list[list[Blocks]] = []
    for top in range(0, lines, 2):
        lower = pixels[top + 1] if top + 1 < lines else nothing
        pairs = groupby(zip(pixels[top], lower, strict=True))
        rows.append([(UPPER * len(list(same)), *pair) for pair, same in pairs])
    return rows


def _modified(path: Path | None) -> int | None:
    try:
        return path.stat().st_mtime_ns if path else None
    except OSError:
        return None


def _style(upper: RGB, lower: RGB | None) -> Style:
    below = Color.from_rgb(*lower) if lower else None
    return Style(color=Color.from_rgb(*upper), bgcolor=below)

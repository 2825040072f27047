"""Pictures of digits, saved as PNG."""

from __future__ import annotations

from pathlib import Path

import torch
from PIL import Image

from mpstui.domain.workloads import PICTURE_TILE

TILE_GAP = PICTURE_TILE - 28
"""Black pixels around each digit, as in torchvision's ``save_image``."""


def save_grid(pictures: torch.Tensor, path: Path) -> None:
    """Save a grid of grey pictures as one PNG.

    Args:
        pictures: Shape (rows, columns, height, width), values clipped to 0 to 1; NaN is black.
        path: The file; its folder is created, but not the run's.

    Raises:
        OSError: If it cannot be written.

    """
    rows, columns, height, width = pictures.shape
    grid = torch.zeros(
        rows * (height + TILE_GAP) + TILE_GAP, columns * (width + TILE_GAP) + TILE_GAP
    )
    clean = pictures.detach().float().cpu().nan_to_num(0.0).clamp(0, 1)
    for row in range(rows):
        for column in range(columns):
            top, left = TILE_GAP + row * (height + TILE_GAP), TILE_GAP + column * (width + TILE_GAP)
            grid[top : top + height, left : left + width] = clean[row, column]
    path.parent.mkdir(exist_ok=True)
    Image.fromarray((grid * 255).round().to(torch.uint8).numpy()).save(path)

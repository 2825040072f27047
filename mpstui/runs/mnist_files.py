"""Finds MNIST's four files in the user's data folder, or describes the folder's contents.

The layout may be torchvision's (``MNIST/raw`` in the folder), the site's (flat, compressed), or use
the spelling of other mirrors (``train-images.idx3-ubyte``, capitals).
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

_NAME = re.compile(
    r"(?P<part>train|t10k|test)[-_.](?P<kind>images|labels)[-_.]idx[13][-_.]ubyte(?P<packed>\.gz)?",
    re.IGNORECASE,
)

FILE_PARTS = {
    "train_images": "train-images-idx3-ubyte",
    "train_labels": "train-labels-idx1-ubyte",
    "test_images": "t10k-images-idx3-ubyte",
    "test_labels": "t10k-labels-idx1-ubyte",
}
"""The four files by content, in the spelling of MNIST's site."""

_SUBFOLDERS = (("",), ("raw",), ("mnist",), ("mnist", "raw"))
"""Subfolders to search for the files, case-insensitive."""

_MAX_LISTED = 6
"""Most names of a folder's contents that a message lists."""


class MnistFiles(NamedTuple):
    """The paths of the four files, compressed or not."""

    train_images: Path
    train_labels: Path
    test_images: Path
    test_labels: Path


def locate(folder: Path) -> MnistFiles | None:
    """Find the four files in a folder, or in its subfolder ``MNIST/raw``, ``MNIST`` or ``raw``.

    If a file exists compressed and uncompressed, the uncompressed one is used. Other data sets with
    their own names (``FashionMNIST/raw``, ``emnist-letters-…``) are ignored.
    """
    for folder_ in _places(folder):
        by_part = _parts(folder_)
        if len(by_part) == len(FILE_PARTS):
            return MnistFiles(**{part: by_part[part] for part in FILE_PARTS})
    return None


def contents(folder: Path) -> str:
    """Describe a folder without the four files, for an error message."""
    if os.path.isfile(folder):  # False too for a name that is no path
        return "is a file"
    try:
        names = sorted(
            path.name + ("/" if os.path.isdir(path) else "") for path in folder.iterdir()
        )
    except (FileNotFoundError, ValueError):  # ValueError: a null character
        return "does not exist"
    except OSError as error:
        return f"cannot be read: {error.strerror or error}"
    if not names:
        return "is empty"
    for subfolder in _places(folder):  # some of the files exist: name the missing ones
        if by_part := _parts(subfolder):
            missing = ", ".join(name for part, name in FILE_PARTS.items() if part not in by_part)
            return f"lacks {(subfolder.relative_to(folder) / missing).as_posix()}"
    more = f" and {len(names) - _MAX_LISTED} more" if len(names) > _MAX_LISTED else ""
    return f"contains {', '.join(names[:_MAX_LISTED])}{more}"


def _folders(folder: Path, steps: tuple[str, ...]) -> list[Path]:
    places = [folder]
    for step in filter(None, steps):
        places = [
            subfolder
            for place in places
            for subfolder in _entries(place)
            if subfolder.name.lower() == step and os.path.isdir(subfolder)
        ]
    return places


def _places(folder: Path) -> Iterator[Path]:
    for steps in _SUBFOLDERS:
        yield from _folders(folder, steps)


def _parts(folder: Path) -> dict[str, Path]:
    """Return those of the four files that are directly in a folder."""
    by_part: dict[str, Path] = {}
    # Compressed files first, so that uncompressed ones replace them.
    for path in sorted(_entries(folder), key=lambda path: not path.name.lower().endswith(".gz")):
        match = _NAME.fullmatch(path.name)
        if match and os.path.isfile(path):
            part = "train" if match["part"].lower() == "train" else "test"
            by_part[f"{part}_{match['kind'].lower()}"] = path
    return by_part


def _entries(folder: Path) -> list[Path]:
    try:
        return sorted(folder.iterdir())
    except (OSError, ValueError):
        return []

"""Where MNIST's four files are in a folder that the user names, and what is there if they are not.

People have them as torchvision leaves them (``MNIST/raw`` below the folder), as the site sends them
(flat, packed), and in the spellings of other mirrors (``train-images.idx3-ubyte``, capitals).
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

_NAME = re.compile(
    r"(?P<part>train|t10k|test)[-_.](?P<kind>images|labels)[-_.]idx[13][-_.]ubyte(?P<packed>\.gz)?",
    re.IGNORECASE,
)

PARTS = {
    "train_images": "train-images-idx3-ubyte",
    "train_labels": "train-labels-idx1-ubyte",
    "test_images": "t10k-images-idx3-ubyte",
    "test_labels": "t10k-labels-idx1-ubyte",
}
"""The four files by what they hold, in the spelling of MNIST's site."""

_BELOW = (("",), ("raw",), ("mnist",), ("mnist", "raw"))
"""Folders below the one named, in any case, in which the files are looked for."""

_SHOWN = 6
"""Names of a folder's contents that a message lists before it counts the rest."""


class MnistFiles(NamedTuple):
    """The four files, packed or not."""

    train_images: Path
    train_labels: Path
    test_images: Path
    test_labels: Path


def locate(folder: Path) -> MnistFiles | None:
    """The four files in a folder, or in ``MNIST/raw``, ``MNIST`` or ``raw`` below it.

    A file that is there packed and unpacked is taken unpacked. A data set beside MNIST with names
    of its own (``FashionMNIST/raw``, ``emnist-letters-…``) is not looked into.
    """
    for place in _places(folder):
        by_part = _parts(place)
        if len(by_part) == len(PARTS):
            return MnistFiles(**{part: by_part[part] for part in PARTS})
    return None


def contents(folder: Path) -> str:
    """What a message says of a folder without the four files."""
    if folder.is_file():
        return "is a file"
    try:
        names = sorted(path.name + ("/" if path.is_dir() else "") for path in folder.iterdir())
    except FileNotFoundError:
        return "does not exist"
    except OSError as error:
        return f"cannot be read: {error.strerror or error}"
    if not names:
        return "is empty"
    for place in _places(folder):  # nearly there: name what is missing
        if by_part := _parts(place):
            missing = ", ".join(name for part, name in PARTS.items() if part not in by_part)
            return f"lacks {(place.relative_to(folder) / missing).as_posix()}"
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return f"holds {', '.join(names[:_SHOWN])}{more}"


def _folders(folder: Path, steps: tuple[str, ...]) -> list[Path]:
    places = [folder]
    for step in filter(None, steps):
        places = [
            below
            for place in places
            for below in _entries(place)
            if below.name.lower() == step and below.is_dir()
        ]
    return places


def _places(folder: Path) -> Iterator[Path]:
    for steps in _BELOW:
        yield from _folders(folder, steps)


def _parts(folder: Path) -> dict[str, Path]:
    """Those of the four files that lie right in a folder."""
    by_part: dict[str, Path] = {}
    # Packed ones first, so that an unpacked one replaces them.
    for path in sorted(_entries(folder), key=lambda path: not path.name.lower().endswith(".gz")):
        match = _NAME.fullmatch(path.name)
        if match and path.is_file():
            part = "train" if match["part"].lower() == "train" else "test"
            by_part[f"{part}_{match['kind'].lower()}"] = path
    return by_part


def _entries(folder: Path) -> list[Path]:
    try:
        return sorted(folder.iterdir())
    except OSError:
        return []

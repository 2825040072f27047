"""Small files that are replaced whole: a reader sees the old one or the new one, never a part."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from typing import TypeVar

import msgspec

from mpstui.domain.errors import LogError

T = TypeVar("T")


def replace(path: Path, content: bytes) -> None:
    """Write a file atomically, through a temporary one beside it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
        os.replace(temporary, path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise


def write_json(path: Path, value: msgspec.Struct) -> None:
    """Replace a JSON file."""
    replace(path, msgspec.json.format(msgspec.json.encode(value), indent=2) + b"\n")


def read_json(path: Path, kind: type[T]) -> T | None:
    """A JSON file's value, or None when there is no such file.

    Raises:
        LogError: When the file holds something else; the message names it.
    """
    try:
        return msgspec.json.decode(path.read_bytes(), type=kind)
    except FileNotFoundError:
        return None
    except msgspec.DecodeError as error:
        raise LogError(f"{path}: {error}; allowed: what mpstui wrote there") from error

"""Replaces small files atomically: a reader sees the old or the new file, never a part.

On Windows a file that another process has open cannot be replaced, and a file that is being
replaced cannot be opened: both fail with PermissionError (MoveFileExW and CreateFileW, sharing
violation). Readers here keep a file open for less than a millisecond, so retrying is enough.
"""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import msgspec

from mpstui.domain.errors import LogError

T = TypeVar("T")

ATTEMPTS = 40
PAUSE_SECONDS = 0.025
"""Pause between two attempts. The total of one second allows for a virus scanner."""


def persist(
    action: Callable[[], T],
    windows: bool = os.name == "nt",
    wait: Callable[[float], None] = time.sleep,
) -> T:
    """Run a file operation, with retries if another process may have the file open.

    Args:
        action: The operation.
        windows: Whether the system locks open files. On other systems PermissionError is
            raised immediately.
        wait: Sleeps for the given seconds.

    Raises:
        PermissionError: If the last attempt fails too.
    """
    for _ in range(ATTEMPTS - 1 if windows else 0):
        try:
            return action()
        except PermissionError:
            wait(PAUSE_SECONDS)
    return action()


def move(source: Path, target: Path) -> None:
    """Replace a file with another one atomically."""
    persist(lambda: os.replace(source, target))


def replace(path: Path, content: bytes) -> None:
    """Write a file atomically, through a temporary file beside it.

    Raises:
        OSError: The system refuses; it names the file.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        _replace(path, content)
    except OSError as error:
        error.filename, error.filename2 = str(path), None  # write() names none, mkstemp its own
        raise


def _replace(path: Path, content: bytes) -> None:
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
        move(Path(temporary), path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise


def write_json(path: Path, value: msgspec.Struct) -> None:
    """Replace a JSON file."""
    replace(path, msgspec.json.format(msgspec.json.encode(value), indent=2) + b"\n")


def read_json(path: Path, kind: type[T]) -> T | None:
    """Read a JSON file's value; None if there is no such file.

    Raises:
        LogError: If the content is invalid; the message names the file.
    """
    try:
        return msgspec.json.decode(persist(path.read_bytes), type=kind)
    except FileNotFoundError:
        return None
    except msgspec.DecodeError as error:
        raise LogError(f"{path}: {error}; allowed: what mpstui wrote there") from error

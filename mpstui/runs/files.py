"""Small files that are replaced whole: a reader sees the old one or the new one, never a part.

On Windows a file that another process has open can be neither replaced nor, for the moment in which
it is replaced, opened: both fail with PermissionError (MoveFileExW and CreateFileW, sharing
violation). Readers here hold a file for less than a millisecond, so trying again is enough.
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
"""Between two attempts: at most a second in all, which a scanner of viruses may take."""


def persist(
    action: Callable[[], T],
    windows: bool = os.name == "nt",
    wait: Callable[[float], None] = time.sleep,
) -> T:
    """Do something to a file that another process may have open.

    Args:
        action: What to do.
        windows: Whether the system keeps open files from others. Elsewhere PermissionError means
            what it says, and is raised at once.
        wait: Sleeps for some seconds.

    Raises:
        PermissionError: When the last attempt fails too.
    """
    for _ in range(ATTEMPTS - 1 if windows else 0):
        try:
            return action()
        except PermissionError:
            wait(PAUSE_SECONDS)
    return action()


def move(source: Path, target: Path) -> None:
    """Put a finished file in another one's place, in one step."""
    persist(lambda: os.replace(source, target))


def replace(path: Path, content: bytes) -> None:
    """Write a file atomically, through a temporary one beside it."""
    path.parent.mkdir(parents=True, exist_ok=True)
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
    """A JSON file's value, or None when there is no such file.

    Raises:
        LogError: When the file holds something else; the message names it.
    """
    try:
        return msgspec.json.decode(persist(path.read_bytes), type=kind)
    except FileNotFoundError:
        return None
    except msgspec.DecodeError as error:
        raise LogError(f"{path}: {error}; allowed: what mpstui wrote there") from error

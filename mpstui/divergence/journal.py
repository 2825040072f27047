"""The op that was begun last, in a file that outlives the process which ran it."""

from __future__ import annotations

import mmap
from pathlib import Path
from typing import NamedTuple

import msgspec

SIZE = 4096


class Begun(msgspec.Struct, frozen=True, array_like=True):
    """An op, before it is run."""

    step: int
    index: int
    phase: str
    op: str


class Journal:
    """Writes each op down in shared memory behind a file: no system call, and a crash keeps it."""

    def __init__(self, path: Path) -> None:
        path.write_bytes(b"\0" * SIZE)
        with path.open("r+b") as file:
            self._map = mmap.mmap(file.fileno(), SIZE)
        self._encoder = msgspec.json.Encoder()

    def begin(self, begun: Begun) -> None:
        """An op is about to be run."""
        line = self._encoder.encode(begun)[: SIZE - 1]
        self._map[: len(line) + 1] = line + b"\n"


class _Silent(NamedTuple):
    """Keeps nothing."""

    def begin(self, begun: Begun) -> None:
        """Nobody reads it."""


NO_JOURNAL = _Silent()


def last_begun(path: Path) -> Begun | None:
    """What was begun last; None when nothing was."""
    try:
        line = path.read_bytes().partition(b"\n")[0]
        return msgspec.json.decode(line, type=Begun)
    except (FileNotFoundError, msgspec.DecodeError):
        return None

"""The op that was begun last, in a file that outlives the process which ran it."""

from __future__ import annotations

import mmap
from pathlib import Path

import msgspec
from msgspec.structs import replace

SIZE = 4096


class JournalEntry(msgspec.Struct, frozen=True, array_like=True):
    """An op, before it is run."""

    step: int
    index: int
    phase: str
    op: str
    over: bool = False
    """Whether it has returned: what the process does then is no op's doing."""


class Journal:
    """Writes each op down in shared memory behind a file: no system call, and a crash keeps it."""

    def __init__(self, path: Path) -> None:
        path.write_bytes(b"\0" * SIZE)
        with path.open("r+b") as file:
            self._map = mmap.mmap(file.fileno(), SIZE)
        self._encoder = msgspec.json.Encoder()
        self.count = 0
        """Ops that have begun or returned so far."""
        self.is_stepping = False
        """Whether a step is under way, in which ops follow one another."""
        self._begun: JournalEntry | None = None

    def begin(self, begun: JournalEntry) -> None:
        """An op is about to be run."""
        self._begun = begun
        self._write(begun)

    def end(self) -> None:
        """The op that was begun last has returned, or raised an error."""
        if self._begun is not None:
            self._write(replace(self._begun, over=True))

    def _write(self, begun: JournalEntry) -> None:
        self.count += 1
        line = self._encoder.encode(begun)[: SIZE - 1]
        self._map[: len(line) + 1] = line + b"\n"


class _NullJournal:
    """Keeps nothing."""

    is_stepping = False

    def begin(self, begun: JournalEntry) -> None:
        """Nobody reads it."""

    def end(self) -> None:
        """Nor this."""


NO_JOURNAL = _NullJournal()


def last_entry(path: Path) -> JournalEntry | None:
    """What was begun last; None when nothing was."""
    try:
        line = path.read_bytes().partition(b"\n")[0]
        return msgspec.json.decode(line, type=JournalEntry)
    except (FileNotFoundError, msgspec.DecodeError):
        return None

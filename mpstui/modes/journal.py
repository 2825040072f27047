"""Records the last op that started, in a file that survives a crash of the process."""

from __future__ import annotations

import mmap
from pathlib import Path

import msgspec
from msgspec.structs import replace

SIZE = 4096


class JournalEntry(msgspec.Struct, frozen=True, array_like=True):
    """An op that started."""

    step: int
    index: int
    phase: str
    op: str
    over: bool = False
    """Whether it has returned; the op cannot be the cause of what the process does after that."""


class Journal:
    """A record of the current op in a memory-mapped file: no system calls, and crash-safe."""

    def __init__(self, path: Path) -> None:
        path.write_bytes(b"\0" * SIZE)
        with path.open("r+b") as file:
            self._map = mmap.mmap(file.fileno(), SIZE)
        self._encoder = msgspec.json.Encoder()
        self.count = 0
        """The number of op starts and returns so far."""
        self.is_stepping = False
        """Whether a step is under way, so that further ops are expected."""
        self._entry: JournalEntry | None = None

    def begin(self, entry: JournalEntry) -> None:
        """Record an op that is about to run."""
        self._entry = entry
        self._write(entry)

    def end(self) -> None:
        """Record that the last op has returned or raised an error."""
        if self._entry is not None:
            self._write(replace(self._entry, over=True))

    def _write(self, entry: JournalEntry) -> None:
        self.count += 1
        line = self._encoder.encode(entry)[: SIZE - 1]
        self._map[: len(line) + 1] = line + b"\n"


class _NullJournal:
    """A journal that records nothing."""

    is_stepping = False

    def begin(self, entry: JournalEntry) -> None:
        """Do nothing."""

    def end(self) -> None:
        """Do nothing."""


NO_JOURNAL = _NullJournal()


def last_entry(path: Path) -> JournalEntry | None:
    """Read the entry of a journal file; None if it has none."""
    try:
        line = path.read_bytes().partition(b"\n")[0]
        return msgspec.json.decode(line, type=JournalEntry)
    except (FileNotFoundError, msgspec.DecodeError):
        return None

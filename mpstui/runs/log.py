"""The log, events.jsonl: one writer appends, any number of readers follow."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType

import msgspec

from mpstui.domain.errors import LogError
from mpstui.domain.events import AnyEvent, decode, encode

from .files import open_file

MOST_LINE = 64 << 20
"""Bytes of a line. A longer one is none of ours, and would not fit in memory."""


class LogWriter:
    """Appends events to a log, each line in a single write, so that lines never interleave.

    Both threads of a worker share one writer. A partial last line, left by a process that died, is
    terminated first, so that the next event starts on its own line.
    """

    def __init__(self, path: Path) -> None:
        self._file = path.open("a+b", buffering=0)
        if self._file.seek(0, os.SEEK_END):
            self._file.seek(-1, os.SEEK_END)
            if self._file.read(1) != b"\n":
                self._file.write(b"\n")
        self._lock = threading.Lock()

    def append(self, event: AnyEvent) -> None:
        """Append one event."""
        line = encode(event)
        with self._lock:
            self._file.write(line)

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def __enter__(self) -> LogWriter:
        return self

    def __exit__(
        self,
        error_type: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


class LogReader:
    """Reads a log incrementally."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._offset = 0
        self.unreadable = 0
        """Complete lines that are not events of this version; skipped and counted."""

    def rest(self) -> Iterator[AnyEvent]:
        """Yield all new events, reading block by block."""
        while events := self.read():
            yield from events

    def read(self, at_most: int = 1 << 24) -> list[AnyEvent]:
        """Read new events. A last line without a newline is left for the next call.

        Args:
            at_most: Most bytes to read, so that the screen can update during a long replay.

        Raises:
            LogError: If the log cannot be read; the message names it.
        """
        while True:
            block = self._block(at_most)
            events = self._decode(block)
            if events or not block:
                return events

    def _block(self, at_most: int) -> bytes:
        """Return the next complete lines; empty at the end."""
        try:
            with open_file(self._path) as file:
                file.seek(self._offset)
                block = file.read(at_most)
                if len(block) == at_most:
                    block += file.readline(MOST_LINE)  # a line may be longer than a block
        except FileNotFoundError:
            return b""
        except OSError as error:
            problem = f"{error.strerror or error}; allowed: a file that can be read"
            raise LogError(f"{self._path}: {problem}") from error
        end = block.rfind(b"\n") + 1
        if not end and len(block) >= MOST_LINE:
            problem = f"a line of more than {MOST_LINE >> 20} MiB after byte {self._offset:,}"
            raise LogError(f"{self._path}: {problem}; allowed: what mpstui wrote there")
        self._offset += end
        return block[:end]

    def _decode(self, lines: bytes) -> list[AnyEvent]:
        events: list[AnyEvent] = []
        for line in lines.splitlines():
            try:
                events.append(decode(line))
            except msgspec.DecodeError:
                self.unreadable += 1
        return events

"""events.jsonl: appended by one writer, tailed by any number of readers."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType

import msgspec

from mpstui.domain.events import AnyEvent, decode, encode


class LogWriter:
    """Appends events, each as one write of one line, so that a reader never sees lines mixed.

    Both threads of a worker write through one of these. The end of a line that a process died in
    is closed first, so that the next event does not become a part of it.
    """

    def __init__(self, path: Path) -> None:
        self._file = path.open("a+b", buffering=0)
        if self._file.seek(0, os.SEEK_END):
            self._file.seek(-1, os.SEEK_END)
            if self._file.read(1) != b"\n":
                self._file.write(b"\n")
        self._lock = threading.Lock()

    def append(self, event: AnyEvent) -> None:
        """Write one event."""
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
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


class LogReader:
    """Reads a log from where it stopped reading."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._offset = 0
        self.unreadable = 0
        """Whole lines that are no events of this version: passed over, counted, shown."""

    def rest(self) -> Iterator[AnyEvent]:
        """All new events, block by block."""
        while events := self.read():
            yield from events

    def read(self, at_most: int = 1 << 24) -> list[AnyEvent]:
        """New events. A last line without its newline is left for the next time.

        Args:
            at_most: Bytes to take in at once, so that a long replay can be drawn in between.
        """
        try:
            with self._path.open("rb") as file:
                file.seek(self._offset)
                block = file.read(at_most)
                if len(block) == at_most:
                    block += file.readline()  # a line may be longer than what is taken in
        except FileNotFoundError:
            return []
        end = block.rfind(b"\n") + 1
        self._offset += end
        events: list[AnyEvent] = []
        for line in block[:end].splitlines():
            try:
                events.append(decode(line))
            except msgspec.DecodeError:
                self.unreadable += 1
        return events

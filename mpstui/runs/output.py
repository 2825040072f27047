"""Follows what a script prints: complete lines, and the unfinished one that it rewrites.

A carriage return begins the line anew, as on a terminal, so of a progress bar only the newest state
remains. Colours and other control sequences are dropped.
"""

from __future__ import annotations

import codecs
import re
from pathlib import Path

from .files import open_file

CONTROL = re.compile(
    r"\x1b\[[0-?]*[ -/]*[@-~]"  # CSI, ECMA-48 section 5.4
    r"|\x1b\][^\x07\x1b]*(?:\x07|\x1b\\)"  # OSC, as terminals set titles and links
    r"|\x1b[@-_]|[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]"
)

MAX_LINE = 4000
"""Characters of a line that are shown; the rest is cut."""


class OutputReader:
    """Reads a log file incrementally."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._offset = 0
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._rest = ""

    @property
    def unfinished(self) -> str:
        """The line that has no end yet, as it looks now."""
        return _as_shown(self._rest)

    def read(self, at_most: int = 1 << 20) -> list[str]:
        """Return the new complete lines.

        Args:
            at_most: Most bytes to read.
        """
        try:
            with open_file(self._path) as file:
                file.seek(self._offset)
                block = file.read(at_most)
        except OSError:
            return []
        self._offset += len(block)
        *lines, rest = (self._rest + self._decoder.decode(block)).split("\n")
        if len(rest) > MAX_LINE:  # a progress bar that was rewritten many times
            rest = "\r" + _as_shown(rest)
        self._rest = rest
        return [_as_shown(line) for line in lines]


def _as_shown(line: str) -> str:
    """Return a line as a terminal shows it: the text after the last carriage return."""
    parts = [part for part in line.split("\r") if part]
    return CONTROL.sub("", parts[-1]).expandtabs()[:MAX_LINE] if parts else ""

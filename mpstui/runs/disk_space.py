"""Space on the disk for the end of a run, so that a full disk does not hide how the run ended."""

from __future__ import annotations

import contextlib
import errno
from pathlib import Path

RESERVE_BYTES = 64 << 10
"""Enough for the last event, summary.json and exit.json, in blocks of any usual size."""

_FULL = {errno.ENOSPC, getattr(errno, "EDQUOT", errno.ENOSPC)}
_WINDOWS_FULL = {39, 112}
"""ERROR_HANDLE_DISK_FULL and ERROR_DISK_FULL."""


def is_full(error: BaseException) -> bool:
    """Return whether an error says that a disk, or the user's share of it, is full."""
    return isinstance(error, OSError) and (
        error.errno in _FULL or getattr(error, "winerror", None) in _WINDOWS_FULL
    )


class Reserve:
    """A file that takes up space while a run trains, and gives it back for the run's end."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / ".reserve"

    def take(self) -> None:
        """Take the space.

        Raises:
            OSError: If there is not enough.
        """
        self._path.write_bytes(b"\xff" * RESERVE_BYTES)  # zeros may take no space

    def release(self) -> None:
        """Give the space back, if it is still taken."""
        with contextlib.suppress(OSError):
            self._path.unlink(missing_ok=True)

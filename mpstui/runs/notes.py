"""The user's note about a run: ``note.md`` in its folder."""

from __future__ import annotations

import os
from pathlib import Path

from mpstui.domain.errors import RunNotFound, UsageError

from .files import TEXT_BYTES, replace
from .rundir import RunDir

NAME = "note.md"
"""The note's file."""


def read_note(run: RunDir) -> str:
    """Read a run's note; empty if there is none.

    Raises:
        LogError: If note.md is no text file in UTF-8; the message names it.
    """
    return run.text(NAME) or ""


def write_note(run: RunDir, text: str) -> None:
    """Replace a run's note.

    Args:
        run: Its folder must exist.
        text: Any text; a blank text removes the note.

    Raises:
        RunNotFound: If the folder does not exist, because the run was deleted.
        UsageError: If the text cannot be encoded as UTF-8, or the file cannot be written.
    """
    path = _path(run)
    if not os.path.isdir(run.path):
        raise RunNotFound(f"{run.path}: this folder no longer exists; was the run deleted?")
    try:
        if text.strip():
            content = text.encode()
            if len(content) > TEXT_BYTES:
                allowed = f"at most {TEXT_BYTES >> 20} MiB"
                raise UsageError(f"note: {len(content) >> 20} MiB of text; allowed: {allowed}")
            replace(path, content)
        else:
            path.unlink(missing_ok=True)
    except UnicodeEncodeError as error:
        raise UsageError(f"note: {error}; allowed: text that UTF-8 can encode") from error
    except OSError as error:
        raise UsageError(f"{path}: cannot be written: {error.strerror}") from error


def _path(run: RunDir) -> Path:
    return run.path / NAME

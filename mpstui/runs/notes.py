"""The user's note about a run: ``note.md`` in its folder."""

from __future__ import annotations

from pathlib import Path

from mpstui.domain.errors import LogError, RunNotFound, UsageError

from .files import replace
from .rundir import RunDir


def read_note(run: RunDir) -> str:
    """Read a run's note; empty if there is none.

    Raises:
        LogError: If note.md is not UTF-8 text; the message names it.
    """
    path = _path(run)
    try:
        return path.read_bytes().decode()
    except (FileNotFoundError, NotADirectoryError):
        return ""
    except (UnicodeDecodeError, OSError) as error:
        raise LogError(f"{path}: {error}; allowed: a text file in UTF-8") from error


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
    if not run.path.is_dir():  # `replace` would recreate it, which would block undoing the deletion
        raise RunNotFound(f"{run.path}: this folder no longer exists; was the run deleted?")
    try:
        if text.strip():
            replace(path, text.encode())
        else:
            path.unlink(missing_ok=True)
    except UnicodeEncodeError as error:
        raise UsageError(f"note: {error}; allowed: text that UTF-8 can encode") from error
    except OSError as error:
        raise UsageError(f"{path}: cannot be written: {error.strerror}") from error


def _path(run: RunDir) -> Path:
    return run.path / "note.md"

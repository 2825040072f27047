"""Errors as the user reads them: a title, and a message that names the file and the reason."""

from __future__ import annotations

from typing import NamedTuple

from .errors import MpstuiError

SYSTEM_ERROR = "System error"
"""The title of what the system refuses: a full disk, a folder without permission."""

REPORTED = (MpstuiError, OSError)
"""Errors that the user can act on. Any other one is a defect of mpstui, and shows its traceback."""


class ErrorText(NamedTuple):
    """An error's title and message."""

    title: str
    message: str


def describe_error(error: MpstuiError | OSError) -> ErrorText:
    """Return an error as text."""
    if isinstance(error, MpstuiError):
        return ErrorText(error.title, str(error))
    return ErrorText(SYSTEM_ERROR, describe_os_error(error))


def describe_os_error(error: OSError) -> str:
    """Return the files that the system refused, and its reason: ``/runs: Permission denied``."""
    files = [str(name) for name in (error.filename, error.filename2) if name is not None]
    reason = error.strerror or str(error) or type(error).__name__
    return ": ".join([" -> ".join(files), reason] if files else [reason])

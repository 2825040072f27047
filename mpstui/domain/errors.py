"""Errors that the user can act on.

Each has a ``title`` that sums up what went wrong and a message that names the field or file,
the problem, and what is allowed. The CLI prints them once on stderr; the UI shows them beside the
field or in a notification.
"""

from __future__ import annotations

from typing import ClassVar


class MpstuiError(Exception):
    """Base class of the errors that are shown to the user."""

    title: ClassVar[str] = "mpstui"
    exit_code: ClassVar[int] = 1


class UsageError(MpstuiError):
    """The request is invalid."""

    title = "Bad usage"
    exit_code = 2


class FieldError(UsageError):
    """A field of the configuration holds a value that is not allowed.

    Args:
        field: The field's name, as in config.toml (``batch_size``).
        problem: Why the value is invalid.
        allowed: The allowed values.
    """

    title = "Bad value"

    def __init__(self, field: str, problem: str, allowed: str) -> None:
        super().__init__(f"{field}: {problem}; allowed: {allowed}")
        self.field = field
        self.problem = problem
        self.allowed = allowed


class DeviceUnavailable(UsageError):
    """A requested device that this machine or this torch cannot train on."""

    title = "Device unavailable"


class RunNotFound(UsageError):
    """No run, or more than one, matches an id."""

    title = "Run not found"


class DataError(MpstuiError):
    """A data file is missing, corrupt or truncated, or could not be fetched."""

    title = "Bad data"


class LogError(MpstuiError):
    """A file of a run directory does not have the expected format."""

    title = "Unreadable run"

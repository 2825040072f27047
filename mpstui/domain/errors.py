"""Errors that a person can act on.

Each has a ``title`` (what went wrong, in a few words) and a message that names the field or file,
the problem, and what is allowed. They are shown once: by the CLI on stderr, by the UI beside the
field or in a notification.
"""

from __future__ import annotations

from typing import ClassVar


class MpstuiError(Exception):
    """Base of every error that is meant for a person's eyes."""

    title: ClassVar[str] = "mpstui"
    exit_code: ClassVar[int] = 1


class UsageError(MpstuiError):
    """The request cannot be carried out as it was put."""

    title = "Bad usage"
    exit_code = 2


class FieldError(UsageError):
    """A field of the configuration holds a value that is not allowed.

    Args:
        field: The field's name, as in config.toml (``batch_size``).
        problem: What is wrong with the value.
        allowed: What would be right.
    """

    title = "Bad value"

    def __init__(self, field: str, problem: str, allowed: str) -> None:
        super().__init__(f"{field}: {problem}; allowed: {allowed}")
        self.field = field
        self.problem = problem
        self.allowed = allowed


class DeviceUnavailable(UsageError):
    """A device was asked for that this machine or this torch cannot train on."""

    title = "Device unavailable"


class RunNotFound(UsageError):
    """No run, or more than one, answers to an id."""

    title = "Run not found"


class DataError(MpstuiError):
    """A data file is missing, corrupt or truncated, or could not be fetched."""

    title = "Bad data"


class LogError(MpstuiError):
    """A run directory's file cannot be read as what it should be."""

    title = "Unreadable run"

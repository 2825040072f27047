"""References to a class in the user's file: ``path/to/file.py:Class``."""

from __future__ import annotations

import keyword
import os
from pathlib import Path
from typing import Any, NamedTuple

FORM = "path/to/file.py:Class"
"""The form of such a reference."""


class ClassPath(NamedTuple):
    """A file and a class in it."""

    path: str
    """As written; a relative path is relative to the current folder."""
    name: str

    @property
    def file(self) -> Path:
        """The path, with ``~`` as the home folder."""
        return Path(os.path.expanduser(self.path))


def class_path(value: Any) -> ClassPath | None:
    """Parse a reference into the file and the class; None if the value is not one.

    Checks only the form, not whether the file exists.
    """
    if not isinstance(value, str) or not value.isprintable():
        return None
    path, _, name = value.rpartition(":")
    stem = path.removesuffix(".py")
    if stem == path or not stem or stem[-1] in "/\\":
        return None
    is_valid = name.isidentifier() and not keyword.iskeyword(name)
    return ClassPath(path, name) if is_valid else None

"""A class of a person's own file, as it is named: ``path/to/file.py:Class``."""

from __future__ import annotations

import keyword
import os
from pathlib import Path
from typing import Any, NamedTuple

FORM = "path/to/file.py:Class"
"""What such a name looks like."""


class ClassPath(NamedTuple):
    """A file and a class in it."""

    path: str
    """As it was written; one that is not absolute is relative to the current folder."""
    name: str

    @property
    def file(self) -> Path:
        """The path, with ``~`` as the home folder."""
        return Path(os.path.expanduser(self.path))


def class_path(value: Any) -> ClassPath | None:
    """The file and the class that a value names; None when it names none.

    Only the form is looked at: whether the file is there is another question, and another place's.
    """
    if not isinstance(value, str) or not value.isprintable():
        return None
    path, _, name = value.rpartition(":")
    stem = path.removesuffix(".py")
    if stem == path or not stem or stem[-1] in "/\\":
        return None
    named = name.isidentifier() and not keyword.iskeyword(name)
    return ClassPath(path, name) if named else None

"""References to a class in the user's file: ``path/to/file.py:Class``."""

from __future__ import annotations

import keyword
import os
from pathlib import Path
from typing import Any, NamedTuple

FORM = "path/to/file.py:Class"
"""The form of such a reference."""

MODULE_FORM = "package.module:Class"
"""Another form to type it in, which is resolved to the file."""

_RESERVED = {"torchvision", "timm", "transformers"}
"""Prefixes of other workloads, not modules."""


class ClassPath(NamedTuple):
    """A file and a class in it."""

    path: str
    """As written; in a run's config it is absolute."""
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


def module_path(text: str) -> tuple[str, str] | None:
    """Parse ``package.module:Class`` into the module and the class; None if the text is not that.

    Checks only the form, not whether there is such a module.
    """
    module, _, name = text.rpartition(":")
    is_valid = name.isidentifier() and not keyword.iskeyword(name)
    are_names = all(part.isidentifier() for part in module.split("."))
    return (module, name) if is_valid and are_names and module not in _RESERVED else None


def may_share_state(first: str, second: str) -> bool:
    """Return whether a snapshot of one workload may fit another: of any two files of the user's.

    The file may have been mended or moved; whether the state fits shows when it is loaded.
    """
    are_own = class_path(first) is not None and class_path(second) is not None
    return first == second or are_own

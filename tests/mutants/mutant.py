"""A mutant: one change of the source that some test must notice."""

from __future__ import annotations

from typing import NamedTuple


class Mutant(NamedTuple):
    """A wrong version of a source file."""

    file: str
    """Below ``mpstui/``."""
    old: str
    """Text that occurs exactly once in the file."""
    new: str
    tests: tuple[str, ...]
    """Files or folders below ``tests/`` that notice it."""


def group(tests: str, file: str, *changes: tuple[str, str]) -> list[Mutant]:
    """Return mutants of one file that the same tests notice.

    Args:
        tests: Files or folders below ``tests/``, separated by spaces.
        file: The source file, below ``mpstui/``.
        changes: Old text and new text of each mutant.
    """
    return [Mutant(file, old, new, tuple(tests.split())) for old, new in changes]

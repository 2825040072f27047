"""The result of fuzzing one kind of input."""

from __future__ import annotations

from typing import NamedTuple


class FuzzResult(NamedTuple):
    """How many inputs were tried, and what went wrong."""

    kind: str
    tried: int
    failures: list[str]

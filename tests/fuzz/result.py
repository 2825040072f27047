"""What a fuzzer reports."""

from __future__ import annotations

from typing import NamedTuple


class FuzzResult(NamedTuple):
    """A fuzzer's count, and what went wrong."""

    kind: str
    """What was fuzzed: ``screens``, for example."""
    tried: int
    """Inputs that were tried."""
    failures: list[str]
    """One text for each failure, with what repeats it."""

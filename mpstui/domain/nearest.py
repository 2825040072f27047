"""Lists names for an error message, the most similar ones first."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

MOST_LISTED = 6
"""Names in a message."""


def list_nearest(name: str, candidates: Iterable[str]) -> str:
    """List names, those most similar to the user's first; empty if there are none."""
    all_names = list(candidates)
    by_similarity = difflib.get_close_matches(name, all_names, n=len(all_names) or 1, cutoff=0.0)
    rest = len(by_similarity) - MOST_LISTED
    more = f" and {rest} more" if rest > 0 else ""
    return ", ".join(by_similarity[:MOST_LISTED]) + more

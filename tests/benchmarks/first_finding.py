"""How long after the first frame the first finding is on screen: ``python -m … [REPEATS]``.

A frame counts from when the terminal received it. Fresh processes, one after the other.
"""

from __future__ import annotations

import json
import statistics
import sys

from .terminal import mpstui, seen_after

FRAME, FINDING = b"Configure", b"arm64 Python"


def main(repeats: int) -> None:
    """Measure and print one JSON document; times in seconds."""
    rows = [seen_after(mpstui(), (FRAME, FINDING), (120, 40), 30.0) for _ in range(repeats)]
    frames = [frame for frame, _ in rows]
    gaps = [finding - frame for frame, finding in rows]
    document = {
        "repeats": repeats,
        "first_frame_s": _spread(frames),
        "first_finding_after_frame_s": _spread(gaps),
    }
    print(json.dumps(document, indent=2))


def _spread(values: list[float]) -> dict[str, float]:
    return {
        "median": round(statistics.median(values), 4),
        "least": round(min(values), 4),
        "most": round(max(values), 4),
    }


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 9)

"""What a benchmark says: a short table for people, one JSON document for machines."""

from __future__ import annotations

import json
import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypedDict

from mpstui.domain.tables import aligned


class Spread(TypedDict):
    """Median and quartiles."""

    median: float
    quartile_1: float
    quartile_3: float


def spread(values: Sequence[float], digits: int = 4) -> Spread:
    """Of two or more values."""
    low, middle, high = (
        round(each, digits) for each in statistics.quantiles(values, n=4, method="inclusive")
    )
    return {"median": middle, "quartile_1": low, "quartile_3": high}


def publish(document: Mapping[str, Any], file: Path | None) -> None:
    """Print every spread of a document as a row, and everything else behind it.

    Args:
        document: Spreads by name, and other facts.
        file: Where the document goes as JSON; None for nowhere.
    """
    rows = [["", "median", "quartiles"]]
    for name, value in document.items():
        if isinstance(value, dict) and "quartile_1" in value:
            quartiles = f"{value['quartile_1']:g} to {value['quartile_3']:g}"
            rows.append([name, f"{value['median']:g}", quartiles])
    print(aligned(rows, right=(1, 2)))
    for name, value in document.items():
        if not (isinstance(value, dict) and "quartile_1" in value):
            print(f"{name}: {value}")
    if file is not None:
        file.write_text(json.dumps(document, indent=2) + "\n")

"""Axis ticks: round numbers with short, uniform labels."""

from __future__ import annotations

import math


def ticks(low: float, high: float, most: int, whole: bool = False) -> list[tuple[float, str]]:
    """Return round numbers between two bounds; their step is 1, 2 or 5 times a power of ten.

    Args:
        low: Least value; finite.
        high: Greatest value; finite and greater.
        most: Most ticks to return; exceeded if that would leave fewer than two.
        whole: Whether to return only whole numbers.

    Returns:
        Values with their labels, all in the same format.
    """
    best: tuple[range, float] = (range(0), 1.0)
    top = math.floor(math.log10(high - low)) + 1
    for exponent, digit in ((e, d) for e in range(top, top - 4, -1) for d in (5, 2, 1)):
        step = digit * 10.0**exponent
        if whole and step < 1:
            break
        indices = range(math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9) + 1)
        if len(indices) > most and len(best[0]) > 1:
            break
        best = (indices, step)
        if len(indices) > most:
            break
    indices, step = best
    values = [index * step for index in indices]
    return list(zip(values, _labels(values, step), strict=True))


def _labels(values: list[float], step: float) -> list[str]:
    """Format labels with just the digits that distinguish values one ``step`` apart."""
    largest = max(map(abs, values), default=0.0)
    unit, suffix = 1.0, ""
    if largest >= 1e6 or 0 < largest < 1e-3:
        exponent = math.floor(math.log10(largest) + 1e-9)
        unit, suffix = 10.0**exponent, f"e{exponent}"
    elif step >= 1e3 or (largest >= 1e4 and step >= 100):  # "500", not "0.5k"
        unit, suffix = 1e3, "k"
    digits = max(0, -math.floor(math.log10(step / unit) + 1e-9))
    return [
        f"{value / unit:.{digits}f}{suffix}" if value or not suffix else "0" for value in values
    ]


def log_ticks(low: float, high: float, most: int) -> list[tuple[float, str]]:
    """Return ticks between two exponents of ten: decades, or ticks within a single decade."""
    decades = range(math.ceil(low), math.floor(high) + 1)
    if len(decades) < 2:
        linear_ticks = ticks(10.0**low, 10.0**high, most)
        return [(math.log10(value), label) for value, label in linear_ticks if value > 0]
    plain = decades[0] >= -2 and decades[-1] <= 3
    shown_decades = decades[:: -(-len(decades) // most)]
    return [(float(d), f"{10.0**d:g}" if plain else f"1e{d}") for d in shown_decades]

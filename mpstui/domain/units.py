"""Formats numbers as text: aligned, with units, and a dash for unknown values."""

from __future__ import annotations

import math
from datetime import datetime

DASH = "—"


def number(value: float | None, digits: int = 4) -> str:
    """Format a loss or a similar value: fixed digits for ordinary sizes, else scientific."""
    if value is None:
        return DASH
    if not math.isfinite(value):
        return "nan" if math.isnan(value) else ("inf" if value > 0 else "-inf")
    if value and not 1e-3 <= abs(value) < 1e5:
        mantissa, _, exponent = f"{value:.2e}".partition("e")
        return f"{mantissa}e{int(exponent)}"
    return f"{value:.{digits}f}" if abs(value) < 100 else f"{value:.1f}"


def rate(value: float | None) -> str:
    """Format samples per second."""
    return DASH if value is None else f"{value:,.0f}"


def decimals(value: float) -> int:
    """Return the decimals that show a time in seconds to about three significant figures."""
    return 1 if value >= 10 else 2 if value >= 0.1 else 4


def duration(value: float | None) -> str:
    """Format a time span in whole seconds: ``0:42``, ``1:02:03``."""
    if value is None or not math.isfinite(value):
        return DASH
    minutes, rest = divmod(round(value), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def date(value: float | None) -> str:
    """Format a Unix time as local time: ``2026-01-31 09:05:00``."""
    moment = local_time(value)
    return DASH if moment is None else f"{moment:%Y-%m-%d %H:%M:%S}"


def local_time(value: float | None) -> datetime | None:
    """Return a Unix time as local time; None if it is unknown or not in the calendar."""
    try:
        return None if value is None else datetime.fromtimestamp(value)
    except (ValueError, OverflowError, OSError):  # the last one on Windows, near 1970
        return None


def gibibytes(value: int | None) -> str:
    """Format a machine's memory: ``16 GB``, in units of 2³⁰ bytes as manufacturers do."""
    return DASH if value is None else f"{value / 2**30:.0f} GB"


def memory(value: int | None) -> str:
    """Format memory in use: ``412 MB`` or ``1.9 GB``, in units of 2²⁰ and 2³⁰ bytes."""
    if value is None:
        return DASH
    mebibytes = value / 2**20
    return f"{mebibytes:.0f} MB" if mebibytes < 1000 else f"{mebibytes / 1024:.1f} GB"


def share_of(part: float, whole: float) -> str:
    """Format a share in percent: ``50 %``, ``under 1 %``."""
    share = part / whole if whole else 0.0
    return f"{100 * share:.0f} %" if share >= 0.01 else "under 1 %"


def times(value: float) -> str:
    """Format a ratio with two significant figures: ``1.9×``, ``130×``."""
    return f"{float(f'{value:.2g}'):,.6g}×"


def flops(per_second: float) -> str:
    """Format a rate of floating-point operations: ``105 GFLOP/s``."""
    for unit in ("", "k", "M", "G", "T"):
        if per_second < 999.5:
            return f"{per_second:.3g} {unit}FLOP/s"
        per_second /= 1000
    return f"{per_second:.3g} PFLOP/s"

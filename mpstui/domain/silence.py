"""Describes that nothing has come from a run for long: an observation, not an accusation."""

from __future__ import annotations

from .history import RunHistory
from .units import duration

SILENT_SECONDS = 15.0
"""Without an event. A worker samples its machine once a second."""

QUIET_SECONDS = 180.0
"""The same before its first sample: it may wait for a file system, a driver or a download."""

_SILENT = "no word from the worker"


def describe_silence(history: RunHistory, now: float) -> str:
    """Return since when nothing has come from a run; empty if something has.

    Args:
        history: A run that is not over.
        now: Wall-clock Unix time in seconds.
    """
    if history.state.over or history.last_at is None:
        return ""
    limit = QUIET_SECONDS if history.system is None else SILENT_SECONDS
    if now - history.last_at < limit:
        return ""
    return f"{_SILENT} since {_moment(history, history.last_at)}"


def shorten_silence(text: str) -> str:
    """Return a silence for a place with few columns, in which the step must be in sight."""
    return text.replace(_SILENT, "no word", 1)


def describe_stall(history: RunHistory) -> str:
    """Return since when a run's training has recorded nothing; empty if it goes on."""
    stall = history.stall
    if stall is None or history.state.over:
        return ""
    where = f", {stall.place}" if stall.place else ""
    return f"no progress since {_moment(history, stall.at - stall.seconds)}{where}"


def _moment(history: RunHistory, at: float) -> str:
    """Return a time as the run's clock on Live showed it, with the step."""
    return f"{duration(history.elapsed_at(at))} (step {history.step:,})"

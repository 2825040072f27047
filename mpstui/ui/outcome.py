"""The one-line outcome of a comparison."""

from __future__ import annotations

from collections.abc import Sequence

from mpstui.domain.summary import RunSummary, references_of, speed_up
from mpstui.domain.units import number, times

REACHED = ("finished", "stopped")
"""States of runs that ended as intended."""


def outcome(runs: Sequence[RunSummary]) -> str:
    """Return each run's speed-up over its reference, or why there is none.

    Runs with other settings have none: their test losses are shown, which no verdict compares.

    Args:
        runs: The runs of one comparison, all of them over.
    """
    places = references_of(runs)
    pairs = [
        (run, runs[place]) for run, place in zip(runs, places, strict=True) if place is not None
    ]
    has_several = places.count(None) > 1
    results = [_describe_result(run) for run in runs] if has_several else []
    return " · ".join([*results, *(_compare(run, first) for run, first in pairs)])


def _describe_result(run: RunSummary) -> str:
    accuracy = "" if run.accuracy is None else f", accuracy {run.accuracy:.2%}"
    text = f"{run.label}: test loss {number(run.test_loss)}{accuracy}"
    state = [] if run.state in REACHED else [run.state]
    return ", ".join([text, *state, *([f"but {run.alarm}"] if run.alarm else [])])


def _compare(run: RunSummary, first: RunSummary) -> str:
    faster = speed_up(run, first)
    untimed = [summary.label for summary in (run, first) if summary.epoch_seconds is None]
    unfinished = [
        f"{summary.label} {summary.state}"
        for summary in (run, first)
        if summary.state not in REACHED
    ]
    if run.mode == "together":
        text = f"{run.label} and {first.label} ran together, which times neither"
    elif faster is not None:
        text = f"{run.label} {times(faster)} {first.label}"
    else:
        devices_text = " and ".join(untimed) + (" have" if len(untimed) > 1 else " has")
        text = f"{run.label} against {first.label}: — ({devices_text} no whole epoch)"
    return ", ".join([text, *unfinished, *([f"but {run.alarm}"] if run.alarm else [])])

"""The one-line outcome of a comparison."""

from __future__ import annotations

from collections.abc import Sequence

from mpstui.domain.summary import RunSummary, speed_up

REACHED = ("finished", "stopped")
"""States of runs that ended as intended."""


def outcome(runs: Sequence[RunSummary]) -> str:
    """Return each further run's speed-up over the first, or why there is none.

    Args:
        runs: The runs of one comparison, all of them over; the first is the reference.
    """
    first, *further_runs = runs
    return " · ".join(_compare(run, first) for run in further_runs)


def _compare(run: RunSummary, first: RunSummary) -> str:
    faster = speed_up(run, first)
    untimed = [summary.device for summary in (run, first) if summary.epoch_seconds is None]
    unfinished = [
        f"{summary.device} {summary.state}"
        for summary in (run, first)
        if summary.state not in REACHED
    ]
    if run.mode == "together":
        text = f"{run.device} and {first.device} ran together, which times neither"
    elif faster is not None:
        text = f"{run.device} {faster:.2g}× {first.device}"
    else:
        devices_text = " and ".join(untimed) + (" have" if len(untimed) > 1 else " has")
        text = f"{run.device} against {first.device}: — ({devices_text} no whole epoch)"
    return ", ".join([text, *unfinished, *([f"but {run.alarm}"] if run.alarm else [])])

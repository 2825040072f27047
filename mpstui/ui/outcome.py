"""How a comparison ended, in a line."""

from __future__ import annotations

from collections.abc import Sequence

from mpstui.domain.summary import RunSummary, speed_up

REACHED = ("finished", "stopped")
"""States of runs that ended as somebody wanted."""


def outcome(runs: Sequence[RunSummary]) -> str:
    """What became of the runs after the first, against it: speed-ups, or why there are none.

    Args:
        runs: Of one comparison, all of them over; the first is what others are measured against.
    """
    first, *others = runs
    return " · ".join(_against(run, first) for run in others)


def _against(run: RunSummary, first: RunSummary) -> str:
    faster = speed_up(run, first)
    untimed = [each.device for each in (run, first) if each.epoch_seconds is None]
    ended = [f"{each.device} {each.state}" for each in (run, first) if each.state not in REACHED]
    if run.mode == "together":
        words = f"{run.device} and {first.device} ran together, which times neither"
    elif faster is not None:
        words = f"{run.device} {faster:.2g}× {first.device}"
    else:
        who = " and ".join(untimed) + (" have" if len(untimed) > 1 else " has")
        words = f"{run.device} against {first.device}: — ({who} no whole epoch)"
    return ", ".join([words, *ended, *([f"but {run.alarm}"] if run.alarm else [])])

"""A run's alarm: what is wrong with its course, in the words that every screen and command uses.

A run has a state (training, finished, …) and may have an alarm besides: a run that diverges may
well finish.
"""

from __future__ import annotations

from typing import NamedTuple


class Alarm(NamedTuple):
    """One thing that is wrong with a run's course, and the step that shows it."""

    step: int
    text: str


def alarms_of(
    not_finite_at: int | None, diverged_at: int | None, diverged_from: str
) -> tuple[Alarm, ...]:
    """A run's alarms in the order of their steps.

    Args:
        not_finite_at: Step of the first loss that is NaN or infinite.
        diverged_at: Step at which the run had left the course of the run it is compared with.
        diverged_from: That run's device spec; empty when it is not known.
    """
    alarms = []
    if diverged_at is not None:
        other = diverged_from or "the first run"
        alarms.append(Alarm(diverged_at, f"diverged from {other} at step {diverged_at:,}"))
    if not_finite_at is not None:
        alarms.append(Alarm(not_finite_at, f"not finite at step {not_finite_at:,}"))
    return tuple(sorted(alarms))


def in_words(alarms: tuple[Alarm, ...]) -> str:
    """All of a run's alarms in a line; empty without one."""
    return "; ".join(alarm.text for alarm in alarms)

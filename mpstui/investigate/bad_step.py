"""The step at which a run went wrong, from its log; does not import torch."""

from __future__ import annotations

from mpstui.domain.alarm import fails
from mpstui.domain.events import AlarmRaised, AnyEvent, DivergenceDetected, StepChecked
from mpstui.runs.log import LogReader
from mpstui.runs.rundir import RunDir


def first_bad_step(run: RunDir) -> int | None:
    """Return the first step that went wrong according to a run's log; None if none did."""
    steps = (_faulty_step(event) for event in LogReader(run.events).rest())
    return min((step for step in steps if step is not None), default=None)


def _faulty_step(event: AnyEvent) -> int | None:
    """Return the step of an alarm or of a failed step check; None for other events."""
    match event:
        case AlarmRaised() | DivergenceDetected():
            return event.step
        case StepChecked() if fails(event):
            return event.step
        case _:
            return None

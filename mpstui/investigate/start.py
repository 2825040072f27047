"""Where a search begins: behind a run's snapshots, nearest to its alarm first, or at step 1."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from mpstui.domain.alarm import fails
from mpstui.domain.errors import LogError
from mpstui.domain.events import AlarmRaised, AnyEvent, DivergenceDetected, StepChecked
from mpstui.engine.snapshots import snapshots_of
from mpstui.runs.log import LogReader
from mpstui.runs.rundir import RunDir

from .twin import Twin


class StartPoint(NamedTuple):
    """A state to begin in."""

    enter: Callable[[Twin], int]
    """Puts both sides into it; returns how many steps are done there."""


class Start(NamedTuple):
    """Points in the order in which they are tried."""

    points: tuple[StartPoint, ...]
    bad_step: int | None
    """The step at which the run diverged or its alarm was raised."""


def _beginning(twin: Twin) -> int:
    twin.reset()
    return 0


BEGINNING = StartPoint(_beginning)


def start_of(run: str) -> Start:
    """Where to begin for a run's folder; at the first step without one."""
    if not run:
        return Start((BEGINNING,), None)
    bad = bad_step(RunDir(Path(run)))
    points = []
    for step, path in reversed(snapshots_of(Path(run))):
        if bad is None or step < bad:
            points.append(StartPoint(lambda twin, path=path: _enter(twin, path)))  # type: ignore[misc]
    return Start((*points[:1], BEGINNING), bad)


def bad_step(run: RunDir) -> int | None:
    """The step at which a run's log says that it went wrong first."""
    steps = (_faulty_step(event) for event in LogReader(run.events).rest())
    return min((step for step in steps if step is not None), default=None)


def _faulty_step(event: AnyEvent) -> int | None:
    """The step of an alarm, or of a step that differs from the CPU's."""
    match event:
        case AlarmRaised() | DivergenceDetected():
            return event.step
        case StepChecked() if fails(event):
            return event.step
        case _:
            return None


def _enter(twin: Twin, path: Path) -> int:
    try:
        return twin.restore(path)
    except (LogError, RuntimeError, ValueError, KeyError):  # damaged: the beginning is always there
        return _beginning(twin)

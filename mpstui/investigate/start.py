"""Where a search starts: at a run's snapshot, the last before its alarm first, or at step 1."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from mpstui.domain.errors import LogError
from mpstui.engine.snapshots import snapshots_of
from mpstui.runs.rundir import RunDir

from .bad_step import first_bad_step
from .twin import Twin


class StartPoint(NamedTuple):
    """A state to start from."""

    enter: Callable[[Twin], int]
    """Puts both sides into it, and returns how many steps are done there."""


class Start(NamedTuple):
    """The start points, in the order in which to try them."""

    points: tuple[StartPoint, ...]
    bad_step: int | None
    """The step at which the run diverged or its alarm was raised."""


def _beginning(twin: Twin) -> int:
    twin.reset()
    return 0


BEGINNING = StartPoint(_beginning)


def start_of(run: str) -> Start:
    """Return the start for a run's folder; the first step if it is empty."""
    if not run:
        return Start((BEGINNING,), None)
    bad = first_bad_step(RunDir(Path(run)))
    points = []
    for step, path in reversed(snapshots_of(Path(run))):
        if bad is None or step < bad:
            points.append(StartPoint(lambda twin, path=path: _enter(twin, path)))  # type: ignore[misc]
    return Start((*points[:1], BEGINNING), bad)


def _enter(twin: Twin, path: Path) -> int:
    try:
        return twin.restore(path)
    except (LogError, RuntimeError, ValueError, KeyError):  # damaged: start from the first step
        return _beginning(twin)

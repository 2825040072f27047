"""Steps of the clock, and readers that cannot see a run's processes."""

from __future__ import annotations

import random
import sys
import time
from pathlib import Path
from unittest import mock

import psutil
from msgspec.structs import replace

from mpstui.domain.history import RunState
from mpstui.processes import identity
from mpstui.processes.identity import Boot
from mpstui.runs.trash import is_running
from mpstui.runs.view import RunView

from .tally import Tally
from .tiny_runs import TinyRun, kill_all


def clocks(root: Path, count: int, seed: int) -> Tally:
    """Read one run that trains with clocks that were set, after boots and from other machines.

    The machine's clock stays as it is: what psutil computes from it is shifted, as it is after a
    step of the clock.

    Args:
        root: A new folder.
        count: Steps.
        seed: Chooses their sizes.
    """
    tally = Tally("clock steps")
    draws = random.Random(seed)
    tiny = TinyRun(root, steps=1_000_000)
    try:
        tiny.wait_for_step(1)
        for _ in range(count):
            seconds = draws.choice((-1, 1)) * 10 ** draws.uniform(0, 8)
            tally.attempt(f"{seconds:+.0f} s", lambda: _step(tiny, seconds))  # noqa: B023
        tally.attempt("another machine", lambda: _elsewhere(tiny))
        tiny.run.write_request("stop")
        tally.attempt("its end", lambda: _end(tiny))
    finally:
        kill_all(tiny.runs)
    return tally


def _end(tiny: TinyRun) -> None:
    (view,) = tiny.wait_for_end()
    assert view.history.state is RunState.STOPPED, view.history.message


def _step(tiny: TinyRun, seconds: float) -> None:
    created, now = psutil.Process.create_time, time.time
    with (
        mock.patch.object(psutil.Process, "create_time", lambda self: created(self) + seconds),
        mock.patch.object(time, "time", lambda: now() + seconds),
    ):
        view = RunView(tiny.run)
        view.catch_up()
        assert not view.history.state.over or sys.platform != "linux", view.history.message
        assert is_running(tiny.run)


def _elsewhere(tiny: TinyRun) -> None:
    here = identity.current_boot()
    there = replace(here, namespace="pid:[1]") if here.id else Boot(machine="another")
    with mock.patch.object(identity, "current_boot", lambda: there):
        view = RunView(tiny.run)
        view.catch_up()
        assert not view.history.state.over
        assert view.host, "it is not said to be on another machine"
        assert is_running(tiny.run)

"""Kills: a worker, a supervisor or the command that watches, by any signal, at any moment."""

from __future__ import annotations

import contextlib
import os
import random
import signal
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from pathlib import Path

import psutil

from mpstui.domain.history import RunState
from mpstui.processes.identity import Presence
from mpstui.runs.launch import launch
from mpstui.runs.requests import kill
from mpstui.runs.resume import resume_run
from mpstui.runs.rundir import RunDir
from mpstui.runs.store import RunStore
from mpstui.telemetry.machine import read_machine

from .tally import Tally
from .tiny_runs import (
    TinyRun,
    command_that_trains,
    events_of,
    kill_all,
    losses_in,
    losses_of,
    over,
    wait,
)

STEPS = 1000
"""Long enough for snapshots, which may take 1 % of a run."""
AT_ONCE = max(2, (os.cpu_count() or 2) - 2)
"""Scenarios at a time."""

DEADLY = ("SIGKILL", "SIGABRT", "SIGSEGV", "SIGTERM")
TARGETS = ("worker", "worker", "worker", "supervisor", "stopped worker", "stopped both", "command")


def kills(root: Path, count: int, seed: int) -> Tally:
    """Kill processes of runs, and judge what the runs say of it.

    Args:
        root: A new folder.
        count: Kills.
        seed: Chooses targets, signals and moments.
    """
    tally = Tally("kills")
    draws = random.Random(seed)
    reference = TinyRun(root / "reference", steps=STEPS)
    reference.wait_for_end()
    losses = losses_of(reference.run)
    assert len(losses) == STEPS
    plans = [
        (draws.choice(TARGETS), draws.choice(DEADLY), draws.choice((0, 0, 1, 20, 700)), number)
        for number in range(count)
    ]
    resumed = Tally("resumed after a kill")
    with ThreadPoolExecutor(AT_ONCE) as pool:
        for target, number, step, index in plans:
            name = f"{target} by {number} at step {step}"
            scenario = Kill(root / f"kill-{index}", target, number, step, losses, resumed)
            pool.submit(tally.attempt, f"{name} (kill-{index})", scenario.run)
    tally.failures += resumed.failures
    tally.note = f"{resumed.tried} of the runs resumed, with every loss right"
    return tally


class Kill:
    """One kill."""

    def __init__(
        self,
        root: Path,
        target: str,
        number: str,
        step: int,
        losses: list[float],
        resumed: Tally,
    ) -> None:
        self._root, self._target, self._signal, self._step = root, target, number, step
        self._losses, self._resumed = losses, resumed

    def run(self) -> None:
        """Start a run, kill, and judge.

        Raises:
            AssertionError: If something is wrong.
        """
        if self._target == "command":
            self._kill_command()
            return
        tiny = TinyRun(self._root, steps=STEPS)
        try:
            self._kill_processes(tiny)
        finally:
            kill_all(tiny.runs)

    def _kill_processes(self, tiny: TinyRun) -> None:
        worker = tiny.wait_for_worker()
        if self._step:
            tiny.wait_for_step(self._step)
        else:
            time.sleep(random.random() * 3)  # anywhere in the imports
        stopped = "stopped" in self._target
        if self._target == "stopped both":
            _send(tiny.supervisor.pid, "SIGSTOP")
        if stopped:
            _send(worker.pid, "SIGSTOP")
        if stopped:
            if not over_already(tiny.run):
                kill(tiny.run)
            expected = {RunState.KILLED}
        elif self._target == "worker":
            _send(worker.pid, self._signal)
            expected = {RunState.CRASHED}
        else:
            _send(tiny.supervisor.pid, self._signal)
            expected = {RunState.CRASHED, RunState.STOPPED}
        (view,) = tiny.wait_for_end()
        hidden = sorted(path.name for path in tiny.run.path.rglob(".*") if path.is_file())
        assert not hidden or self._target == "supervisor", f"left behind: {hidden}"
        state = view.history.state
        assert state in expected | {RunState.FINISHED}, f"{state.value}: {view.history.message}"
        if state is RunState.CRASHED and self._target == "worker":
            assert self._signal in view.history.message, view.history.message
        if state is RunState.FINISHED:
            assert view.history.step == STEPS
        own = losses_of(tiny.run)
        assert own == self._losses[: len(own)], "other losses than undisturbed"
        if tiny.run.snapshots() and state is not RunState.FINISHED:
            self._resumed.attempt(f"resume of {tiny.run.path}", lambda: self._resume(tiny.run))

    def _resume(self, earlier: RunDir) -> None:
        store = RunStore(earlier.path.parent)
        run = resume_run(store, earlier, {}, read_machine(), datetime.now())
        supervisor = launch([run])
        supervisor.wait()
        assert over(run).history.state is RunState.FINISHED
        assert losses_in(events_of(run)) == self._losses

    def _kill_command(self) -> None:
        """The run goes on without the command that started it and watches."""
        store = RunStore(self._root)
        with command_that_trains(self._root, STEPS) as command:
            wait(lambda: bool(store.all()) and store.all()[0].worker() is not None, "a run")
            command.kill()
        (run,) = store.all()
        wait(lambda: run.presence() is Presence.ENDED, "the end of the run")
        view = over(run)
        assert view.history.state is RunState.FINISHED, view.history.message
        assert losses_of(run) == self._losses


def over_already(run: RunDir) -> bool:
    """Return whether a run ended before it could be killed."""
    return not run.is_under_way()


def _send(pid: int, number: str) -> None:
    with contextlib.suppress(psutil.NoSuchProcess):  # it was faster
        psutil.Process(pid).send_signal(signal.Signals[number])

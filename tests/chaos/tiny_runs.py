"""Runs that start fast and train small steps, and what must hold of any run that is over."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

import psutil

from mpstui.domain.config import make_config
from mpstui.domain.devices import parse_devices
from mpstui.domain.events import AnyEvent, StepsCompleted
from mpstui.processes.command import child_environment, module_command
from mpstui.processes.identity import Presence, ProcessIdentity
from mpstui.runs.launch import launch
from mpstui.runs.log import LogReader
from mpstui.runs.rundir import RunDir
from mpstui.runs.store import RunStore
from mpstui.runs.view import RunView
from mpstui.telemetry.machine import read_machine

PATIENCE = 900.0
"""Seconds that only a hang takes."""

DEVICE = os.environ.get("CHAOS_DEVICE", "cpu@threads=1")

COMMAND = (
    *("train", "--workload", "vae", "--batch-size", "16", "--dataset", "embedded"),
    *("--autotune", "off", "--device", DEVICE),
)
"""``mpstui`` with these words starts such a run; ``--steps`` and ``--runs-dir`` are missing."""

SETTINGS = {"workload": "vae", "batch_size": 16, "dataset": "embedded", "autotune": "off"}


class TinyRun:
    """A run or a comparison that this process started."""

    def __init__(self, root: Path, devices: str = DEVICE, **values: Any) -> None:
        config = make_config({**SETTINGS, **values})
        specs = parse_devices(devices)
        self.runs = RunStore(root).create(config, specs, read_machine(), datetime.now())
        self.supervisor = launch(self.runs)

    @property
    def run(self) -> RunDir:
        """The first run."""
        return self.runs[0]

    def wait_for_step(self, step: int, run: RunDir | None = None) -> None:
        """Wait until a run has recorded a step, or is over."""
        view = RunView(run or self.run)

        def reached() -> bool:
            view.catch_up()
            return view.history.step >= step or view.history.state.over

        wait(reached, f"step {step}")

    def wait_for_worker(self) -> ProcessIdentity:
        """Wait until the first run's worker is recorded."""
        wait(lambda: self.run.worker() is not None, "worker.json")
        worker = self.run.worker()
        assert worker is not None
        return worker

    def wait_for_end(self) -> list[RunView]:
        """Wait until the supervisor and all workers have ended; return the runs' views."""
        try:
            self.supervisor.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"the supervisor of {self.run.id} never ends") from None
        for run in self.runs:
            worker = run.worker()
            if worker is not None:
                wait_for_process(worker)
        return [over(run) for run in self.runs]


def wait_for_process(process: ProcessIdentity) -> None:
    """Wait for a process's end.

    Raises:
        AssertionError: If it never ends.
    """
    wait(lambda: process.presence is Presence.ENDED, f"the end of process {process.pid}")


def wait(condition: Callable[[], bool], what: str) -> None:
    """Wait for something that other processes do.

    Raises:
        AssertionError: If it takes as long as only a hang does.
    """
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline, f"never: {what}"
        time.sleep(0.02)


def over(run: RunDir) -> RunView:
    """Return the view of a run that must be over, with whole files and no process.

    Raises:
        AssertionError: If it is not, or if a file is torn.
    """
    view = RunView(run)
    view.catch_up()
    assert view.history.state.over, f"{run.id} is {view.history.state.value}"
    wait(lambda: run.presence() is Presence.ENDED, f"the end of the processes of {run.id}")
    assert view.unreadable == 0, f"{view.unreadable} torn lines"
    content = run.events.read_bytes() if run.events.exists() else b""
    assert not content or content.endswith(b"\n"), "a torn last line"
    for path in run.path.glob("*.json"):
        json.loads(path.read_bytes())
    return view


@contextlib.contextmanager
def command_that_trains(root: Path, steps: int) -> Iterator[subprocess.Popen[bytes]]:
    """Start ``mpstui train`` in a folder of runs, and end it if it does not end itself."""
    words = (*COMMAND, "--steps", str(steps), "--runs-dir", str(root))
    with subprocess.Popen(
        module_command("mpstui", *words),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        env=child_environment(),
    ) as command:
        try:
            yield command
        finally:
            command.kill()


def has_event(root: Path, kind: str) -> bool:
    """Return whether the only run in a folder has recorded an event of a kind."""
    runs = RunStore(root).all()
    return bool(runs) and any(type(event).__name__ == kind for event in events_of(runs[0]))


def losses_of(run: RunDir) -> list[float]:
    """Return the losses in a run's log."""
    return losses_in(LogReader(run.events).rest())


def losses_in(events: Any) -> list[float]:
    """Return the losses of events, in their order."""
    steps: list[StepsCompleted] = [e for e in events if isinstance(e, StepsCompleted)]
    return [loss for event in steps for loss in event.values()]


def kill_all(runs: Sequence[RunDir]) -> None:
    """Kill what a failed scenario leaves, by the ids that its runs recorded."""
    for run in runs:
        for process in (run.supervisor(), run.worker()):
            is_alive = process is not None and process.presence is Presence.ALIVE
            if is_alive and process is not None and process.pid != os.getpid():
                psutil.Process(process.pid).kill()


def events_of(run: RunDir) -> list[AnyEvent]:
    """Return a run's events."""
    return list(LogReader(run.events).rest())

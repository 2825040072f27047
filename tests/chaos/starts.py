"""Many starts at the same instant, in the same folder."""

from __future__ import annotations

import random
import threading
from datetime import datetime
from pathlib import Path

from mpstui.domain.config import make_config
from mpstui.domain.devices import parse_devices
from mpstui.domain.history import RunState
from mpstui.runs.launch import launch
from mpstui.runs.rundir import RunDir
from mpstui.runs.store import RunStore
from mpstui.telemetry.machine import read_machine

from .tally import Tally
from .tiny_runs import SETTINGS, kill_all, over

AT_ONCE = 20


def starts(root: Path, count: int, seed: int) -> Tally:
    """Create runs and comparisons at the same instant, and train one batch of them.

    Args:
        root: A new folder.
        count: Instants; at the last one the runs also train.
        seed: Chooses between runs and comparisons.
    """
    tally = Tally("starts at one instant")
    draws = random.Random(seed)
    for number in range(count):
        is_last = number == count - 1
        devices = (
            ["cpu"] * AT_ONCE if is_last else draws.choices(["cpu", "cpu,cpu@threads=1"], k=AT_ONCE)
        )
        _start(tally, root / str(number), devices, trains=is_last)
    return tally


def _start(tally: Tally, root: Path, devices: list[str], trains: bool) -> None:
    barrier, machine = threading.Barrier(len(devices)), read_machine()
    groups: list[list[RunDir]] = []

    def create(text: str) -> None:
        config = make_config({**SETTINGS, "steps": 2})
        barrier.wait()
        runs = RunStore(root).create(config, parse_devices(text), machine, datetime(2026, 1, 1))
        supervisor = launch(runs) if trains else None
        groups.append(runs)
        if supervisor is not None:
            supervisor.wait()

    threads = [
        threading.Thread(target=tally.attempt, args=(f"start {text}", lambda t=text: create(t)))
        for text in devices
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    runs = [run for group in groups for run in group]

    def judge() -> None:
        assert len({run.id for run in runs}) == len(runs)
        assert len(RunStore(root).all()) == len(runs)
        for group in groups:
            assert [run.id for run in RunStore(root).group(group[0])] == [run.id for run in group]
        for run in runs if trains else ():
            assert over(run).history.state is RunState.FINISHED

    tally.attempt("all of them", judge)
    kill_all(runs)

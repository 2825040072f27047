"""An epoch of the article's script against the fast path: ``python -m tests.benchmarks.epoch``.

A is the reference pipeline, the script written anew (DataLoader, PIL, ToTensor, Normalize; the loss
read as often as the script reads it). B is what a run does by default: the plan of autotuning.
Both are runs in fresh processes, in turn; an epoch is 60,000 samples of training by the
run's own clock, which leaves the first ten steps out, and the evaluation behind it. ``wall`` is the
same with nothing left out, from the first step on. Importing, loading and autotuning come before.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
from datetime import datetime
from pathlib import Path
from typing import Any, NamedTuple

from mpstui.domain.config import make_config
from mpstui.domain.devices import parse_device
from mpstui.domain.history import RunHistory, RunState
from mpstui.processes.command import module_command
from mpstui.runs.store import RunStore
from mpstui.telemetry.machine import read_machine

from .replay import opened
from .report import publish, spread


def trained(home: Path, device: str, **settings: Any) -> RunHistory:
    """A run in fresh processes, to its end, as its log tells it."""
    config = make_config({"dataset": "embedded", **settings})
    store = RunStore(home / "runs")
    (run,) = store.create(config, [parse_device(device)], read_machine(), datetime.now())
    environment = {**os.environ, "MPSTUI_HOME": str(home)}
    command = module_command("mpstui.runs.supervisor", str(run.path))
    subprocess.run(command, env=environment, check=True, stdout=subprocess.DEVNULL)
    history, _ = opened(run.events)
    if history.state is not RunState.FINISHED:
        raise RuntimeError(f"{device}: {history.state.value}: {history.message}")
    return history


class Epoch(NamedTuple):
    """Seconds of an epoch with its evaluation: medians over a run's epochs."""

    clock: float
    wall: float


def epoch_of(history: RunHistory) -> Epoch:
    """What a run's log says."""
    measured = history.epoch_seconds()
    assert measured is not None
    test = statistics.median(test.seconds for test in history.evaluations)
    wall = statistics.median(epoch.wall_seconds for epoch in history.epochs)
    return Epoch(measured.median + test, wall + test)


def main(asked: argparse.Namespace) -> None:
    """Measure, and tell."""
    fast = f"{asked.device}@precision={asked.precision}"
    slow = f"{asked.device}@pipeline=reference"
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder)
        # Settles the plan, which later runs find; its own times are not used.
        settings = {"workload": asked.workload, "epochs": asked.epochs}
        first = trained(home, fast, **settings, autotune="again")
        assert first.plan is not None
        sys.stderr.write(f"{first.plan.line}\n")
        slows, fasts, ends = [], [], []
        for turn in range(asked.alternations):
            a = trained(home, slow, **settings)
            b = trained(home, fast, **settings)
            slows.append(epoch_of(a))
            fasts.append(epoch_of(b))
            ends.append((a.evaluations[-1].loss, b.evaluations[-1].loss))
            sys.stderr.write(f"{turn + 1}: {slows[-1]}, {fasts[-1]}\n")
    document = {
        "workload": asked.workload,
        "device": asked.device,
        "device_name": first.started.device_name if first.started else "",
        "precision": asked.precision,
        "epochs_a_process": asked.epochs,
        "plan": first.plan.line,
        "untried": list(first.plan.untried),
        "reference_s": spread([epoch.clock for epoch in slows]),
        "fast_s": spread([epoch.clock for epoch in fasts]),
        "ratio": spread([a.clock / b.clock for a, b in zip(slows, fasts, strict=True)]),
        "ratios": [round(a.clock / b.clock, 3) for a, b in zip(slows, fasts, strict=True)],
        "wall_ratio": spread([a.wall / b.wall for a, b in zip(slows, fasts, strict=True)]),
        "test_losses": ends,
    }
    publish(document, asked.json)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--workload", default="mnist")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--precision", default="float32", help="of the fast path")
    parser.add_argument("--epochs", type=int, default=1, help="in each process")
    parser.add_argument("--alternations", type=int, default=5)
    parser.add_argument("--json", type=Path, help="where the document goes too")
    main(parser.parse_args())

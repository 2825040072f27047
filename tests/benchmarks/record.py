"""What recording costs: ``python -m tests.benchmarks.record [--workload W]… [--json FILE]``.

The same training in fresh processes, in turn: A is a bare loop over the run's setup (forward,
backward, optimizer; losses stay on the device and are read once, at the end), B is a run as a
worker makes it, autotuning left out: the loop with its gate, the log, the history, gradient norms,
the profile, snapshots within their budget, and psutil each second. The clock runs from the end of
the tenth step to the last loss; there is no evaluation in between. Both end with the same loss.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from itertools import islice
from pathlib import Path
from typing import Any

import torch

from mpstui.domain.config import RunConfig, make_config
from mpstui.domain.events import EpochCompleted, SnapshotSaved, WarmupFinished
from mpstui.domain.workloads import WORKLOADS
from mpstui.engine.event_recorder import EventRecorder
from mpstui.engine.gate import Gate
from mpstui.engine.loop import Loop
from mpstui.engine.meter import WARMUP_STEPS
from mpstui.engine.sampling import poll_until
from mpstui.engine.set_up import set_up
from mpstui.engine.snapshot_budget import Snapshots
from mpstui.engine.worker import _end_of
from mpstui.processes.command import child_environment
from mpstui.runs.log import LogWriter
from mpstui.runs.rundir import Dataset, RunDir
from mpstui.telemetry.energy import EnergyMeter

from .report import publish, spread

STEPS = {"vae": 3000, "mnist": 500}
"""Long enough for snapshots to be within their budget: seconds of training."""

EMBEDDED = Dataset(source="embedded")


def bare(config: RunConfig, folder: Path, told: dict[str, Any]) -> None:
    """A: train, and nothing else."""
    setup = set_up(config, EMBEDDED, folder)
    setup.model.train()
    losses: list[torch.Tensor] = []
    batches = setup.batches(1, 0, config.total_steps)

    def train(steps: int) -> None:
        for batch in islice(batches, steps):
            setup.optimizer.zero_grad()
            with setup.autocast():
                objective = setup.workload.objective(setup.model, *batch.content)
            torch.autograd.backward(objective)
            setup.optimizer.step()
            losses.append(objective.detach())

    train(WARMUP_STEPS)
    setup.backend.synchronize()
    began = time.perf_counter()
    train(config.total_steps - WARMUP_STEPS)
    read = torch.stack(losses).float().cpu().numpy()
    told["seconds"] = time.perf_counter() - began
    told["last"] = float(read[-1]) / (config.batch_size if setup.workload.per_sample else 1)


def recorded(config: RunConfig, folder: Path, told: dict[str, Any]) -> None:
    """B: train as a worker does."""
    run, gate, energy = RunDir(folder), Gate(), EnergyMeter()
    run.write_config(config)
    with LogWriter(run.events) as log:
        diary = EventRecorder(run, log)

        def train() -> None:
            setup = set_up(config, EMBEDDED, folder)
            loop = Loop(setup, gate, energy=energy.joules, snapshots=Snapshots(folder))
            began = 0.0
            for event in loop.events():
                diary.record(event)
                if isinstance(event, WarmupFinished):
                    began = time.perf_counter()
                elif isinstance(event, SnapshotSaved):
                    told["snapshots"], told["share"] = told["snapshots"] + 1, event.share
                elif isinstance(event, EpochCompleted):
                    told["seconds"] = time.perf_counter() - began
                    told["last"] = diary.history.loss
                    return  # behind it comes the evaluation

        training = threading.Thread(target=train)
        training.start()
        device = run.config().spec
        poll_until(
            _end_of(training), run, gate, diary, energy, lambda: device, lambda: training.ident
        )
        training.join()
        told["bytes_a_step"] = run.events.stat().st_size / config.total_steps


SIDES: dict[str, Callable[[RunConfig, Path, dict[str, Any]], None]] = {
    "bare": bare,
    "recorded": recorded,
}


def side(name: str, workload: str, device: str, steps: int) -> None:
    """One run, in this process; prints a line of JSON."""
    # An epoch as long as the run, so that no evaluation stands within the clock.
    samples = steps * WORKLOADS[workload].batch_size
    for module in ("mpstui.domain.config", "mpstui.engine.data.order"):
        vars(sys.modules[module])["EPOCH_SAMPLES"] = samples
    config = make_config({"workload": workload, "device": device, "epochs": 1, "autotune": "off"})
    told: dict[str, Any] = {"snapshots": 0, "share": 0.0}
    with tempfile.TemporaryDirectory() as folder:
        # A worker trains beside its main thread; what malloc does there is no cost of recording.
        training = threading.Thread(target=SIDES[name], args=(config, Path(folder), told))
        training.start()
        training.join()
    print(json.dumps(told))


def measured(workload: str, device: str, steps: int, repeats: int) -> dict[str, Any]:
    """Both sides in turn, each in a process of its own."""
    pairs = []
    for turn in range(repeats):
        names = ("bare", "recorded") if turn % 2 == 0 else ("recorded", "bare")
        told = {name: _in_process(name, workload, device, steps) for name in names}
        pairs.append((told["bare"], told["recorded"]))
        seconds = f"{told['bare']['seconds']:.3f} s, {told['recorded']['seconds']:.3f} s"
        sys.stderr.write(f"{workload} {turn + 1}: {seconds}\n")
    ratios = [b["seconds"] / a["seconds"] for a, b in pairs]
    found = {
        "bare, s": spread([a["seconds"] for a, _ in pairs]),
        "recorded, s": spread([b["seconds"] for _, b in pairs]),
        "recorded by bare": spread(ratios),
        "bytes a step": spread([b["bytes_a_step"] for _, b in pairs]),
        "steps": steps,
        "ratios": [round(ratio, 4) for ratio in ratios],
        "snapshots": [b["snapshots"] for _, b in pairs],
        "their share of the time": [round(b["share"], 4) for _, b in pairs],
        "same last loss": [a["last"] == b["last"] for a, b in pairs],
    }
    return {f"{workload}: {name}": value for name, value in found.items()}


def _in_process(name: str, workload: str, device: str, steps: int) -> dict[str, Any]:
    asked = ("--side", name, "--workload", workload, "--device", device, "--steps", str(steps))
    command = [sys.executable, "-m", "tests.benchmarks.record", *asked]
    done = subprocess.run(command, env=child_environment(), check=True, stdout=subprocess.PIPE)
    told: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return told


def main(asked: argparse.Namespace) -> None:
    """Measure, and publish."""
    document: dict[str, Any] = {"device": asked.device, "alternations": asked.repeats}
    for workload in asked.workload or list(STEPS):
        steps = asked.steps or STEPS[workload]
        document |= measured(workload, asked.device, steps, asked.repeats)
    publish(document, asked.json)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--workload", action="append", choices=list(STEPS))
    parser.add_argument("--device", default="cpu", help="a device spec")
    parser.add_argument("--steps", type=int, default=0)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--side", choices=list(SIDES), help="one run in this process")
    parser.add_argument("--json", type=Path, help="where the numbers go too")
    given = parser.parse_args()
    if given.side:
        side(given.side, given.workload[0], given.device, given.steps)
    else:
        main(given)

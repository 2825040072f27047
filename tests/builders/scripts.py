"""Runs of scripts with constructed logs."""

from __future__ import annotations

import os
from collections.abc import Sequence
from datetime import datetime

import numpy as np
from msgspec.structs import replace

from mpstui.domain.config import RunConfig, make_config
from mpstui.domain.devices import parse_devices
from mpstui.domain.events import (
    AnyEvent,
    EvaluationTimed,
    RunFinished,
    RunStarted,
    SeriesRecorded,
    StartHashed,
    StepProfiled,
    StepsCompleted,
    WarmupFinished,
)
from mpstui.domain.machine import Machine
from mpstui.runs.log import LogWriter
from mpstui.runs.rundir import RunDir
from mpstui.runs.script_command import ScriptCommand
from mpstui.runs.store import RunStore

REF = "script:/home/me/train.py"
COMMAND = ScriptCommand(ref=REF, name="train.py", arguments=("--lr", "3e-4"), folder="/home/me")
PHASES = {"data": 0.001, "forward": 0.004, "backward": 0.006, "optimizer": 0.002, "other": 0.001}


def script_events(
    at: float,
    steps: int = 400,
    device: str = "mps",
    optimizers: Sequence[str] = ("Net",),
    weights: str = "a1",
    slowness: float = 0.0,
) -> list[AnyEvent]:
    """Return the events of a script that has taken some steps of its second epoch.

    Args:
        at: Unix time of the start.
        steps: Steps so far; an epoch has 250.
        device: Of the parameters.
        optimizers: Names of the optimizers; a second one has a loss of its own.
        weights: The hash of the first weights.
        slowness: Seconds that forward takes longer.
    """
    events: list[AnyEvent] = [
        StartHashed(at=at, weights=weights, batch="b2"),
        RunStarted(
            at=at,
            workload=REF,
            device=device,
            device_name="constructed",
            torch="2.14.1",
            dataset="TensorDataset",
            train_samples=16_000,
            test_samples=0,
            parameters=652_824,
            steps_per_epoch=250,
            total_steps=0,
            threads=6,
            model="Net",
            optimizers=tuple(optimizers),
            batch_size=64,
        ),
        WarmupFinished(at=at, steps=10, seconds=0.5),
    ]
    noise = np.random.default_rng(len(optimizers))
    for first in range(1, steps, 10):
        numbers = np.arange(first, first + 10)
        losses = (2.3 * np.exp(-numbers / 120) + 0.08) * (1 + 0.15 * noise.standard_normal(10))
        if first == 251:
            events.append(EvaluationTimed(at=at + 3.6, epoch=1, step=250, seconds=0.8))
        events.append(
            StepsCompleted(
                at=at + 0.014 * first,
                epoch=1 + (first > 250),
                first_step=first,
                losses=losses.astype("<f4").tobytes(),
                samples=640,
                epoch_samples=640,
                seconds=0.14 + slowness,
                timed=first > 10,
                lr=3e-4,
                data_seconds=0.01,
            )
        )
        if len(optimizers) > 1:
            events.append(series(at, f"loss_{optimizers[1]}", numbers, losses / 2))
    events.append(series(at, "accuracy", [250], [0.91]))
    seconds = {**PHASES, "forward": PHASES["forward"] + slowness}
    profiled = StepProfiled(at=at + 2, step=66, steps=5, seconds=seconds, unsynchronised=0.014)
    return [*events, profiled]


def series(
    at: float, name: str, steps: Sequence[int] | np.ndarray, values: Sequence[float] | np.ndarray
) -> SeriesRecorded:
    """Return the event of a series."""
    numbers = np.asarray(values, "<f8").tobytes()
    return SeriesRecorded(at=at, name=name, steps=tuple(map(int, steps)), values=numbers)


def script_runs(
    store: RunStore,
    machine: Machine,
    logs: Sequence[Sequence[AnyEvent]],
    devices: str = "mps",
    ranks: int = 1,
) -> list[RunDir]:
    """Create a run of a script, a comparison, or the ranks of one training.

    Args:
        store: Where the runs go.
        machine: Where they ran.
        logs: The events of each run.
        devices: The devices of a comparison.
        ranks: Processes that train together.
    """
    now, config = datetime(2026, 11, 23, 7, 0, 0), _config(ranks)
    if ranks > 1 or len(logs) == 1:
        runs = [
            store.create_recorded(config, rank, machine, now, "00ab") for rank in range(len(logs))
        ]
    else:
        runs = store.create(config, parse_devices(devices), machine, now)
    for run, events in zip(runs, logs, strict=True):
        run.write_script(replace(COMMAND, device=run.config().device))
        run.record_supervisor(os.getpid())
        with LogWriter(run.events) as log:
            for event in events:
                log.append(event)
    return runs


def finished(events: Sequence[AnyEvent], step: int = 400) -> list[AnyEvent]:
    """Return the events of a script that has ended."""
    return [*events, RunFinished(at=events[-1].at + 10, step=step)]


def _config(ranks: int) -> RunConfig:
    settings = {"workload": REF, "ranks": ranks, "autotune": "off", "step_check": "off"}
    return make_config(settings)

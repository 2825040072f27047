from __future__ import annotations

import asyncio
import itertools
import os
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from msgspec.structs import replace
from textual.app import App
from textual.pilot import Pilot

from mpstui.domain.catalogue import CATALOGUE
from mpstui.domain.config import make_config
from mpstui.domain.devices import parse_devices
from mpstui.domain.events import (
    AlarmRaised,
    DivergenceDetected,
    EpochCompleted,
    EvaluationCompleted,
    RunFinished,
    RunPaused,
    RunStarted,
    StepChecked,
    StepsCompleted,
    SystemSampled,
    WarmupFinished,
)
from mpstui.domain.facts import DeviceFact, MetalDevice
from mpstui.domain.machine import CoreKind, Machine, PythonEnvironment
from mpstui.domain.ops import OpResult, OpsRun, OpStatus
from mpstui.investigate.client import InvestigationProcess
from mpstui.investigate.request import InvestigationFolder
from mpstui.runs.log import LogWriter
from mpstui.runs.rundir import Exit, RunDir
from mpstui.runs.store import RunStore
from mpstui.ui.app import MpstuiApp

from tests.builders.machines import METAL, Answers, absent, torch  # isort: skip
from tests.builders.investigations import ConstructedInvestigating  # isort: skip

NOW = 1_795_000_000.0
"""The tests' wall clock: it stands still."""

HERE = PythonEnvironment(executable="/work/.venv/bin/python", kind="venv", folder="/work/.venv")
M2 = Machine(
    name="Apple M2 Pro",
    system="macOS 26.1",
    arch="arm64",
    python="3.12.7",
    python_arch="arm64",
    translated=False,
    cores_physical=10,
    cores_logical=10,
    core_kinds=(CoreKind(name="Performance", count=6), CoreKind(name="Efficiency", count=4)),
    memory_bytes=16 * 2**30,
    torch="2.14.1",
    torchvision="0.29.1",
    environment=HERE,
)

M2_METAL = replace(
    METAL,
    metal_device="Apple M2 Pro",
    metal_devices=(MetalDevice(name="Apple M2 Pro", families=(1007, 1008, 2002)),),
)

LINUX = Machine(
    name="AMD EPYC",
    system="Debian GNU/Linux 12",
    arch="x86_64",
    python="3.11.7",
    python_arch="x86_64",
    translated=None,
    cores_physical=2,
    cores_logical=2,
    memory_bytes=24 * 2**30,
    torch="2.14.1",
    torchvision="0.29.1",
    environment=HERE,
)


class ConstructedProbes(Answers):
    """Answers as a machine would; constructed, not read off one."""

    def __init__(self, machine: Machine = M2, mps: bool = True) -> None:
        here = DeviceFact(device="mps", built=True, available=True, usable=None, name=machine.name)
        facts = torch(
            here if mps else absent("mps"),
            absent("cuda"),
            default="mps" if mps else None,
            threads=min(6, machine.cores_logical or 6),
            interop_threads=1,
            import_seconds=1.2,
            mps=M2_METAL if mps else None,
        )
        super().__init__(machine, facts)

    def ops(
        self, device: str, only: frozenset[str], on_progress: Callable[[OpsRun], None]
    ) -> OpsRun:
        rows = tuple(
            OpResult(
                case=fault.id,
                kind="known fault",
                status=OpStatus.FAULTY
                if device == "mps" and fault.id == "topk-16"
                else OpStatus.SOUND,
                error=0.94 if device == "mps" and fault.id == "topk-16" else 1e-7,
                where="output",
            )
            for fault in CATALOGUE
            if not only or fault.id in only
        )
        run = OpsRun(device=device, planned=2670, done=30, known=rows)
        on_progress(run)
        return replace(run, done=2670, everyday_sound=2485, seconds=21.0)


MakeRuns = Callable[..., list[RunDir]]


@pytest.fixture(autouse=True, scope="session")
def tasks_as_in_a_terminal() -> Iterator[None]:
    """Let tasks start at once from Python 3.12 on: ``App.run`` asks for it, ``run_test`` doesn't.

    A screen then composes before it is on the app's stack.
    """
    run_test = App.run_test
    factory = getattr(asyncio, "eager_task_factory", None)

    @asynccontextmanager
    async def run_test_eagerly(app: App[Any], **options: Any) -> AsyncIterator[Pilot[Any]]:
        asyncio.get_running_loop().set_task_factory(factory)
        async with run_test(app, **options) as pilot:
            yield pilot

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(App, "run_test", run_test_eagerly)
        yield


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("MPSTUI_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


@pytest.fixture
def make_runs(home: Path, monkeypatch: pytest.MonkeyPatch) -> MakeRuns:
    """Runs with constructed logs: ``kind`` is how the last of them stands."""
    numbers = itertools.count()  # ids are on screen: they must be the same in every picture
    monkeypatch.setattr("secrets.token_hex", lambda size: f"{next(numbers):0{2 * size}x}")

    def make(
        workload: str = "mnist", devices: str = "cpu,mps", kind: str = "running"
    ) -> list[RunDir]:
        config = make_config({"workload": workload, "dataset": "embedded"})
        specs = parse_devices(devices)
        runs = RunStore(home / "runs").create(config, specs, M2, datetime(2026, 11, 23, 7, 0, 0))
        for place, run in enumerate(runs):
            run.record_supervisor(os.getpid())
            write_log(
                run, place, kind if place == len(runs) - 1 or kind == "finished" else "running"
            )
        return runs

    return make


PARTED = AlarmRaised(
    at=NOW, step=420, value=2.9, other=0.15, gap=7.1, against="cpu", policy="continue"
)


AGREES = StepChecked(at=NOW, step=1, loss_gap=1.7e-7, gradient_gap=4.2e-7, update_gap=0.0)
DIFFERS = replace(AGREES, gradient_gap=0.1234, phase="backward", worst="fc4.weight")


def write_log(run: RunDir, place: int, kind: str) -> None:
    config = run.config()
    at = NOW - 60
    pace = place + 1
    noise = np.random.default_rng(place)
    with LogWriter(run.events) as log:
        log.append(
            RunStarted(
                at=at,
                workload=config.workload,
                device=config.device,
                device_name="constructed",
                torch="2.14.1",
                dataset="embedded MNIST subset, constructed losses",
                train_samples=5000,
                test_samples=2000,
                parameters=1_199_882,
                steps_per_epoch=config.steps_per_epoch,
                total_steps=config.total_steps,
                threads=6,
            )
        )
        if place:
            log.append(replace(DIFFERS if kind == "differs" else AGREES, at=at))
        log.append(WarmupFinished(at=at, steps=10, seconds=0.5))
        last = 700 * pace
        for first in range(1, last, 10):
            steps = np.arange(first, first + 10)
            fall = 2.3 * np.exp(-steps / 120) + 0.08
            losses = fall * (1 + 0.15 * noise.standard_normal(10))
            if kind == "parted":
                losses = np.where(steps > 400, 2.9, losses)
            if kind == "diverged":
                losses = 550 * np.exp((steps - 100) / 40.0)
                losses[steps > 600] = np.nan
            at += 0.5 / pace / 7
            log.append(
                StepsCompleted(
                    at=at,
                    epoch=1 + (first - 1) // config.steps_per_epoch,
                    first_step=first,
                    losses=losses.astype("<f4").tobytes(),
                    samples=10 * config.batch_size,
                    epoch_samples=(first + 9) % config.steps_per_epoch * config.batch_size,
                    seconds=0.35 / pace * (1 + 0.04 * noise.standard_normal()),
                    timed=True,
                    lr=1.0,
                    device_bytes=412 * 2**20 if place else None,
                )
            )
            if kind == "parted" and 420 in steps:
                log.append(PARTED)
            if kind == "diverged" and 600 in steps:
                log.append(DivergenceDetected(at=at, step=601, value="nan", last_finite=1.48e8))
            if (first + 9) // config.steps_per_epoch > (first - 1) // config.steps_per_epoch:
                log.append(
                    EpochCompleted(
                        at=at,
                        epoch=1,
                        mean_loss=0.21,
                        samples=60000,
                        timed_samples=59360,
                        timed_seconds=32.4 / pace,
                        wall_seconds=33.0,
                    )
                )
                log.append(
                    EvaluationCompleted(
                        at=at,
                        epoch=1,
                        step=first + 9,
                        loss=0.0461,
                        samples=2000,
                        correct=1970 if config.info.has_accuracy else None,
                        seconds=0.4,
                    )
                )
        if kind not in ("finished", "crashed"):
            at = NOW  # its worker has just been heard of
        log.append(
            SystemSampled(
                at=at,
                cores=(61.0, 40.0, 12.0, 99.0, 5.0, 33.0, 80.0, 10.0, 3.0, 0.0),
                memory_used=9_800 * 2**20,
                memory_total=16 * 2**30,
                swap_used=0,
                process_cpu=180.0,
                process_rss=1_900 * 2**20,
            )
        )
        if kind == "paused":
            log.append(RunPaused(at=at, step=last))
        if kind == "finished":
            log.append(RunFinished(at=at, step=last))
    if kind == "crashed":
        run.write_exit(Exit(code=-6))
        run.worker_log.write_text("-[MTLDebugDevice]: failed assertion `constructed'\n")


@pytest.fixture
def started() -> list[Sequence[RunDir]]:
    """What the app asked to be started, in place of real workers."""
    return []


@pytest.fixture
def make_app(home: Path, started: list[Sequence[RunDir]]) -> Callable[..., MpstuiApp]:
    """An app on a constructed machine, whose clocks stand still and whose runs do not train."""

    def make(
        machine: Machine = M2,
        mps: bool = True,
        investigate: Callable[[InvestigationFolder], InvestigationProcess] | None = None,
        runs_dir: Path | None = None,
        clock: Callable[[], float] = lambda: 0.0,
        spent: Callable[[], float] = lambda: 0.0,
    ) -> MpstuiApp:
        return MpstuiApp(
            probes=ConstructedProbes(machine, mps),
            runs_dir=runs_dir or home / "runs",
            wall_clock=lambda: NOW,
            clock=clock,
            cpu_clock=spent,
            start=started.append,
            start_investigation=investigate or ConstructedInvestigating(),
        )

    return make

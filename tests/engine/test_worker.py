"""The worker: in this thread, and as the process that it is."""

from __future__ import annotations

import json
import os
import queue
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pytest
import torch

from mpstui.domain.config import make_config
from mpstui.domain.events import (
    AnyEvent,
    PreparationAdvanced,
    RunFailed,
    RunFinished,
    RunPaused,
    RunResumed,
    RunStarted,
    RunStopped,
    StepsCompleted,
    SystemSampled,
)
from mpstui.domain.history import RunHistory, RunState
from mpstui.domain.summarise import summarise
from mpstui.engine.alarms import Alarms, follow_supervisor
from mpstui.engine.event_recorder import EventRecorder
from mpstui.engine.gate import Gate
from mpstui.engine.worker import train_run
from mpstui.processes.command import child_environment, module_command
from mpstui.runs.launch import PrewarmedSupervisor, launch
from mpstui.runs.log import LogReader, LogWriter
from mpstui.runs.rundir import Dataset, RunDir
from mpstui.runs.view import RunView

from tests.waiting import PATIENCE, wait_until_ended  # isort: skip


pytestmark = pytest.mark.usefixtures("one_thread")


def new_run(path: Path, dataset: Dataset | None = None, **values: Any) -> RunDir:
    run = RunDir(path / "20260101-000000-vae-abcd-cpu")
    run.path.mkdir()
    asked = {"workload": "vae", "batch_size": 16, "test_batch_size": 1000, **values}
    run.write_config(make_config(asked))
    run.write_dataset(dataset or Dataset(source="embedded"))
    return run


def train(run: RunDir, gate: Gate | None = None) -> list[AnyEvent]:
    with LogWriter(run.events) as log:
        train_run(run, gate or Gate(), EventRecorder(run, log))
    return read(run)


def read(run: RunDir) -> list[AnyEvent]:
    reader = LogReader(run.events)
    events = reader.read()
    assert reader.unreadable == 0
    return events


def replayed(run: RunDir) -> RunHistory:
    history = RunHistory()
    for event in read(run):
        history.apply(event)
    return history


def wait_for(run: RunDir, wanted: Callable[[AnyEvent], bool]) -> None:
    """Poll a log until something stands in it."""
    deadline = time.monotonic() + PATIENCE
    while not any(wanted(event) for event in read(run)):
        assert time.monotonic() < deadline, (read(run)[-3:], run.worker_log_tail())
        time.sleep(0.02)


def trained(event: AnyEvent) -> bool:
    return isinstance(event, StepsCompleted)


def test_a_runs_log_is_complete(tmp_path: Path) -> None:
    events = train(new_run(tmp_path, steps=12))
    stages = [event.stage for event in events if isinstance(event, PreparationAdvanced)]
    assert stages == ["importing torch", "building model and data"]
    assert isinstance(events[2], RunStarted)
    assert isinstance(events[-1], RunFinished)
    steps = [len(event.losses) // 4 for event in events if isinstance(event, StepsCompleted)]
    assert sum(steps) == events[-1].step == 12


def test_the_summary_says_what_the_log_says(tmp_path: Path) -> None:
    run = new_run(tmp_path, steps=30)
    with LogWriter(run.events) as log:  # the supervisor's, before there is a worker
        log.append(PreparationAdvanced(at=1000.0, stage="looking for MNIST on the network"))
    train(run)
    summary = run.summary()
    assert summary == summarise(run.id, run.config(), None, replayed(run))
    assert summary is not None
    assert (summary.state, summary.steps) == ("finished", 30)
    assert summary.started_at == 1000.0
    assert summary.samples_per_second is not None
    assert summary.epoch_seconds is not None


def test_a_stopped_run_has_its_summary_too(tmp_path: Path) -> None:
    run = new_run(tmp_path)
    gate = Gate()
    gate.stop("enough")
    events = train(run, gate)
    summary = run.summary()
    assert isinstance(events[-1], RunStopped)
    assert summary is not None
    assert (summary.state, summary.message, summary.steps) == ("stopped", "enough", 0)


def test_a_run_without_a_decision_on_data_takes_the_embedded_subset(tmp_path: Path) -> None:
    run = new_run(tmp_path, steps=1)
    (run.path / "dataset.json").unlink()
    started = [event for event in train(run) if isinstance(event, RunStarted)]
    assert started[0].train_samples == 5000


def test_bad_data_fails_the_run_in_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = new_run(tmp_path, Dataset(source="mnist"), data_dir=str(tmp_path / "none"))
    failed = train(run)[-1]
    summary = run.summary()
    assert isinstance(failed, RunFailed)
    folder = tmp_path / "none"
    assert failed.error == f"data_dir: {folder} does not exist; allowed: MNIST's four files"
    assert failed.step == 0
    assert summary is not None
    assert (summary.state, summary.message) == ("failed", failed.error)
    assert "Traceback" in capsys.readouterr().err
    assert summary == summarise(run.id, run.config(), None, replayed(run))


def test_an_unknown_device_fails_the_run_in_one_line(tmp_path: Path) -> None:
    failed = train(new_run(tmp_path, device="xpu:7"))[-1]
    assert isinstance(failed, RunFailed)
    assert failed.error.startswith("device: xpu:7: ")
    assert "\n" not in failed.error


@pytest.mark.parametrize(
    ("error", "shown"),
    [
        (ValueError("first\nsecond"), "ValueError: first"),
        (KeyError("name"), "KeyError: 'name'"),
    ],
)
def test_an_error_in_training_is_named_with_its_step(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception, shown: str
) -> None:
    from mpstui.engine.workloads.vae import Vae

    objective, steps = Vae.objective, 0

    def breaking(*arguments: Any) -> Any:
        nonlocal steps
        steps += 1
        if steps == 14:
            raise error
        return objective(*arguments)

    monkeypatch.setattr(Vae, "objective", breaking)
    run = new_run(tmp_path)
    events = train(run)
    message = f"{shown}; full traceback: {run.worker_log}"
    assert events[-1] == RunFailed(at=events[-1].at, step=13, error=message)
    told = [len(event.losses) // 4 for event in events if isinstance(event, StepsCompleted)]
    assert sum(told) == 13


def test_a_runs_folder_holds_only_what_is_meant_to_be_there(tmp_path: Path) -> None:
    run = new_run(tmp_path, steps=1, save_model=True)
    train(run)
    assert {path.name for path in run.path.iterdir()} == {
        "checkpoints",
        "config.toml",
        "dataset.json",
        "events.jsonl",
        "samples",
        "summary.json",
    }


# As processes.


def test_a_run_obeys_control_json(tmp_path: Path) -> None:
    """Its worker is a warm one, of which nobody could tell."""
    run, warm = new_run(tmp_path, device="cpu@threads=1"), PrewarmedSupervisor()
    facts = warm.torch_facts(1)
    supervisor = launch([run], warm)
    try:
        assert facts is not None
        assert facts.version == torch.__version__
        assert "cpu" in [fact.device for fact in facts.devices if fact.available]
        wait_for(run, trained)
        run.write_request("pause")
        wait_for(run, lambda event: isinstance(event, RunPaused))
        wait_for(run, lambda event: isinstance(event, SystemSampled))
        run.write_request("run")
        wait_for(run, lambda event: isinstance(event, RunResumed))
        run.write_request("stop")
        assert supervisor.wait(PATIENCE) == 0
    finally:
        run.write_request("kill")
        supervisor.wait(PATIENCE)
    events, summary, exit = read(run), run.summary(), run.exit()
    ends = [event for event in events if isinstance(event, RunStopped)]
    assert [event.reason for event in ends] == ["requested by the user"]
    assert summary is not None
    assert exit is not None
    assert (summary.state, summary.steps) == ("stopped", ends[0].step)
    assert (exit.code, exit.killed) == (0, False)
    assert run.worker_log_tail() == ""
    before = next(event.step for event in events if isinstance(event, RunPaused))
    assert [event.step for event in events if isinstance(event, RunResumed)] == [before]


@pytest.mark.skipif(os.name == "nt", reason="signals")
def test_a_worker_ends_with_its_supervisor_and_the_run_is_over_then(tmp_path: Path) -> None:
    run = new_run(tmp_path, device="cpu@threads=1")
    supervisor = launch([run])
    wait_for(run, trained)
    workers = psutil.Process(supervisor.pid).children()
    psutil.Process(supervisor.pid).kill()
    supervisor.wait(PATIENCE)
    assert len(workers) == 1
    wait_until_ended(workers)
    view = RunView(run)
    view.catch_up()
    if sys.platform == "linux":  # the kernel kills it, whatever it does
        assert view.history.state is RunState.CRASHED
        assert view.history.step > 0
        return
    stopped, summary = read(run)[-1], run.summary()
    assert isinstance(stopped, RunStopped)
    assert stopped.reason == "the supervisor exited"
    assert summary is not None
    assert summary.state == view.history.state.value == "stopped"


def test_a_warm_worker_prints_into_its_runs_log_and_imports_no_compiler(tmp_path: Path) -> None:
    """Python itself prints what is imported, before the run is known and after."""
    run = new_run(tmp_path, workload="mnist", device="cpu@threads=1", dry_run=True)
    worker = subprocess.Popen(
        module_command("mpstui.engine.worker"),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        env={**child_environment(), "PYTHONPROFILEIMPORTTIME": "1"},
    )
    with worker:
        assert worker.stdin is not None
        worker.stdin.write(f"run {json.dumps(str(run.path))}\ngo\n".encode())
        worker.stdin.flush()
        assert worker.wait(PATIENCE) == 0
    assert any(isinstance(event, RunFinished) for event in read(run))
    imported = {line.rpartition("|")[2].strip() for line in run.worker_log.read_text().splitlines()}
    assert {"torch", "mpstui.engine.loop"} <= imported
    assert imported.isdisjoint({"torchvision", "torch._dynamo"})


def test_a_worker_whose_supervisor_went_before_it_was_ready_stops(tmp_path: Path) -> None:
    run = new_run(tmp_path, device="cpu@threads=1")
    worker = subprocess.Popen(
        module_command("mpstui.engine.worker", str(run.path)),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=child_environment(),
    )
    assert worker.stdout is not None
    worker.stdout.close()
    _, stderr = worker.communicate(timeout=PATIENCE)
    stopped = [event for event in read(run) if not isinstance(event, SystemSampled)][-1]
    assert isinstance(stopped, RunStopped), stderr.decode()
    assert (stopped.step, stopped.reason) == (0, "the supervisor exited")
    assert worker.returncode == 0
    assert stderr == b""


def test_a_run_that_hangs_ends_after_its_supervisor_where_the_kernel_does_not_see_to_it(
    tmp_path: Path,
) -> None:
    """It gets time for a safe stop first, and more while it uses the CPU."""
    run, gate, ended = new_run(tmp_path), Gate(takes_turns=True), queue.SimpleQueue[int]()
    with LogWriter(run.events) as log:
        alarms = Alarms(run, gate, EventRecorder(run, log))
        follow_supervisor(iter([b"go"]), gate, alarms, end=ended.put, limit=0.001)
        assert ended.get(timeout=PATIENCE) == 1
    assert gate.stop_reason == "the supervisor exited"

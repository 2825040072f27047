"""``mpstui train --resume``, with real workers."""

from __future__ import annotations

import json
from datetime import datetime
from pathlib import Path

import pytest

from mpstui.__main__ import main
from mpstui.domain.config import make_config
from mpstui.domain.devices import parse_device
from mpstui.engine.event_recorder import EventRecorder
from mpstui.engine.gate import Gate
from mpstui.engine.worker import train_run
from mpstui.engine.workloads.vae import Vae
from mpstui.runs.log import LogWriter
from mpstui.runs.rundir import Dataset, RunDir
from mpstui.runs.store import RunStore
from mpstui.telemetry.machine import read_machine


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("MPSTUI_HOME", str(tmp_path))
    return tmp_path


def stopped(home: Path, monkeypatch: pytest.MonkeyPatch, after: int) -> RunDir:
    """A run of six steps, three an epoch, that was stopped after some."""
    config = make_config({"workload": "vae", "batch_size": 20_000, "epochs": 2})
    spec = parse_device("cpu@threads=1")
    (run,) = RunStore(home / "runs").create(config, [spec], read_machine(), datetime.now())
    run.write_dataset(Dataset(source="embedded"))
    gate, objective, steps = Gate(), Vae.objective, 0

    def counted(*arguments: object) -> object:
        nonlocal steps
        steps += 1
        if steps == after:
            gate.stop("enough")
        return objective(*arguments)  # type: ignore[arg-type]

    with monkeypatch.context() as patch, LogWriter(run.events) as log:
        patch.setattr(Vae, "objective", counted)
        train_run(run, gate, EventRecorder(run, log))
    return run


def test_a_run_is_gone_on_with_to_its_end_and_beyond(
    home: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    old = stopped(home, monkeypatch, after=2)
    capsys.readouterr()
    assert main(["train", "--resume", old.id, "--steps", "5", "--json"]) == 0
    out, lines = capsys.readouterr()
    summary = json.loads(out)
    assert (summary["state"], summary["steps"]) == ("finished", 5)
    assert f"resumed from {old.id} at step 2" in lines
    assert f"resumed from {old.id} at step 2" in summary["notes"]
    assert "to resume it" not in lines
    new = RunStore(home / "runs").find(summary["run_id"])
    assert new.id != old.id
    assert new.config().device == "cpu@threads=1"


@pytest.mark.parametrize(
    ("more", "words"),
    [
        (["--lr", "0.5"], "lr: a resumed run keeps its own; allowed: --steps, --epochs"),
        (["--device", "cpu"], "device: a resumed run keeps its own"),
        (["--dry-run"], "dry_run: a resumed run keeps its own"),
        (["--steps", "x"], "steps: 'x' is not a whole number"),
        (["--steps", "1"], "steps: it would end at step 1, but its snapshot is from step 2"),
    ],
)
def test_what_cannot_be_is_said_and_nothing_is_made(
    home: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    more: list[str],
    words: str,
) -> None:
    old = stopped(home, monkeypatch, after=2)
    capsys.readouterr()
    assert main(["train", "--resume", old.id, *more]) == 2
    out, error = capsys.readouterr()
    assert out == ""
    assert words in error
    assert [run.id for run in RunStore(home / "runs").all()] == [old.id]


def test_an_unknown_run_is_bad_usage(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["train", "--resume", "nothing"]) == 2
    assert "'nothing'" in capsys.readouterr().err


@pytest.mark.parametrize("value", ["none.py:Mine", "faults.py"])
def test_a_fault_that_is_not_there_is_bad_usage(
    value: str, home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["train", "--device", f"cpu@fault={value}", "--steps", "1"]) == 2
    assert f"fault={value.removesuffix(':Mine')}" in capsys.readouterr().err
    assert RunStore(home / "runs").all() == []

"""Run folders written by mpstui 0.1.0 before its redesign still open, and can be resumed.

They were made with ``mpstui train`` and ``mpstui compare`` on two cores, torch 2.14.1; their
checkpoints were removed, except one.
"""

from __future__ import annotations

import json
import math
import shutil
from datetime import datetime
from pathlib import Path

import pytest

from mpstui.__main__ import main
from mpstui.domain.history import RunState
from mpstui.domain.investigation import Verdict
from mpstui.engine.snapshots import load_snapshot
from mpstui.runs.resume import resume_run
from mpstui.runs.store import RunStore
from mpstui.runs.view import RunView

RECORDED = Path(__file__).parents[1] / "recorded" / "runs"
MNIST = "20261126-173059-mnist-f86b-cpu"
VAE = "20261126-173140-vae-fdbb"
FAULTY_VAE = f"{VAE}-2-cpu-fault-neg-stride0"
STRIPES = "20261126-173231-stripes-e3ae-cpu"


@pytest.fixture
def store(tmp_path: Path) -> RunStore:
    """A copy: looking at runs must not change the recorded ones."""
    shutil.copytree(RECORDED, tmp_path / "runs")
    return RunStore(tmp_path / "runs")


def test_every_recorded_run_is_listed_with_its_numbers(
    store: RunStore, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["runs", "--json", "--runs-dir", str(store.root)]) == 0
    rows = {row["run_id"]: row for row in json.loads(capsys.readouterr().out)["runs"]}
    assert {id: (row["state"], row["steps"]) for id, row in rows.items()} == {
        MNIST: ("finished", 120),
        f"{VAE}-1-cpu": ("finished", 60),
        FAULTY_VAE: ("finished", 60),
        STRIPES: ("finished", 30),
    }
    assert rows[MNIST]["accuracy"] == pytest.approx(0.938)
    assert "diverged from cpu at step 20" in rows[FAULTY_VAE]["alarm"]


@pytest.mark.parametrize("id", [MNIST, f"{VAE}-1-cpu", FAULTY_VAE, STRIPES])
def test_a_recorded_log_folds_into_its_recorded_summary(store: RunStore, id: str) -> None:
    view = RunView(store.find(id))
    view.catch_up()
    history, recorded = view.history, view.run.summary()
    assert recorded is not None
    assert view.unreadable == 0
    assert history.state is RunState.FINISHED
    assert history.losses.count == history.step == recorded.steps
    assert not view.run.supervisor_alive()
    assert view.config.device == recorded.device
    if history.evaluation is not None and recorded.test_loss is not None:
        assert history.evaluation.loss == pytest.approx(recorded.test_loss)


def test_the_settings_of_renamed_fields_are_read(store: RunStore) -> None:
    assert store.find(MNIST).config().autotune == "again"
    assert store.find(STRIPES).config().autotune == "on"


def test_a_recorded_plan_is_read(store: RunStore) -> None:
    view = RunView(store.find(MNIST))
    view.catch_up()
    plan = view.history.plan
    assert plan is not None
    assert plan.plan.optimizer or plan.plan.rewrites or plan.plan.allocator
    assert plan.gain is None or math.isfinite(plan.gain)


def test_a_recorded_investigation_is_read(store: RunStore) -> None:
    run = store.find(FAULTY_VAE)
    (folder,) = (run.path / "investigations").iterdir()
    finding = run.investigation(folder)
    assert finding is not None
    assert finding.verdict is Verdict.FAULTY_OP
    assert finding.op is not None and finding.op.op == "aten.neg.default"


def test_a_recorded_run_is_resumed_from_its_snapshot(store: RunStore) -> None:
    old = store.find(STRIPES)
    snapshot = load_snapshot(old.snapshot(25))
    assert (snapshot.step, snapshot.progress.samples) == (25, 1600)
    machine = old.machine()
    assert machine is not None
    run = resume_run(store, old, {"steps": 40}, machine, datetime(2026, 11, 27))
    assert run.config().total_steps == 40
    assert load_snapshot(run.snapshot(25)).progress == snapshot.progress
    assert (run.path / "workload.py").read_bytes() == (old.path / "workload.py").read_bytes()

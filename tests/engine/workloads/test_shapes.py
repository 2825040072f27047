"""Every form of a workload's class: checked, trained, resumed, and compared with the CPU."""

from __future__ import annotations

from pathlib import Path

import pytest

from mpstui.domain.events import EvaluationCompleted, RunStarted, SeriesRecorded
from mpstui.engine.checks.schedule import CheckSchedule
from mpstui.engine.gate import Gate
from mpstui.engine.loop import Loop
from mpstui.engine.snapshot_budget import Snapshots
from mpstui.engine.snapshots import load_snapshot
from mpstui.engine.workloads.check import check_contract
from mpstui.runs.rundir import RunDir
from tests.builders.shapes import NAMES, StopAt, ready, step_losses

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.mark.parametrize("name", NAMES)
def test_a_run_stopped_at_step_5_and_resumed_is_the_unbroken_one(name: str, tmp_path: Path) -> None:
    setup = ready(name, tmp_path / "whole")
    check_contract(setup)
    events = list(Loop(setup, Gate()).events())
    whole = step_losses(events)
    assert len(set(whole)) == 12
    assert any(isinstance(event, EvaluationCompleted) for event in events)

    folder, gate = tmp_path / "stopped", StopAt(5)
    gate.loop = Loop(ready(name, folder), gate, snapshots=Snapshots(folder))
    assert step_losses(gate.loop.events()) == whole[:5]
    snapshot = load_snapshot(RunDir(folder).snapshot(5))
    again = ready(name, tmp_path / "again")
    assert snapshot.restore(again) == ()
    assert step_losses(Loop(again, Gate(), resume=snapshot.progress).events()) == whole[5:]


@pytest.mark.parametrize("name", [name for name in NAMES if name != "Closure"])
def test_a_step_agrees_with_itself_in_the_check(name: str, tmp_path: Path) -> None:
    setup = ready(name, tmp_path)
    batch = next(setup.batches(1, 0, 1))
    event = CheckSchedule().step(setup, batch, 0, 0.0)
    assert (event.reason, event.phase, event.worst) == ("", "", "")
    assert (event.gradient_gap, event.update_gap, event.loss_gap) == (0, 0, 0)
    tolerances = (event.gradient_tolerance, event.update_tolerance, event.loss_tolerance)
    assert all(tolerance is not None and 0 < tolerance < 0.5 for tolerance in tolerances)


def test_values_of_a_step_and_of_a_test_are_series(tmp_path: Path) -> None:
    events = list(Loop(ready("Gan", tmp_path, steps=3), Gate()).events())
    series = {event.name: event for event in events if isinstance(event, SeriesRecorded)}
    assert {"d", "g", "test taken for real"} <= set(series)
    assert series["d"].steps == (1, 2, 3)
    (test,) = [event for event in events if isinstance(event, EvaluationCompleted)]
    assert test.correct is None and 0 <= (test.metrics["taken for real"] or 0) <= 1


def test_an_epoch_of_own_data_is_the_training_set(tmp_path: Path) -> None:
    for name, steps, samples in (("Padded", 7, 100), ("Loaders", 7, 100), ("Streaming", 4, 64)):
        events = list(Loop(ready(name, tmp_path / name, steps=8), Gate()).events())
        (started,) = [event for event in events if isinstance(event, RunStarted)]
        assert (started.steps_per_epoch, started.epoch_samples) == (steps, samples), name
        tests = [event.epoch for event in events if isinstance(event, EvaluationCompleted)]
        assert tests == [1, 2], name


FAULT = """
from mpstui.faults.library import Fault


class Wrong(Fault):
    ops = ("{op}",)

    def faulty(self, call, *args, **kwargs):
        return call(*args, **kwargs) * 1.2
"""


@pytest.mark.parametrize(
    ("name", "op", "phase", "worst"),
    [
        ("Accumulate", "native_layer_norm", "", ""),  # does not run
        ("Accumulate", "addmm", "forward", ""),
        ("Accumulate", "threshold_backward", "backward", "1."),  # a step without an update
        ("Ema", "threshold_backward", "backward", "1."),
        ("Gan", "tanh_backward", "backward", "d.1."),
        ("Gan", "sigmoid_backward", "backward", "g."),  # only in the second update
        ("Closure", "addmm", None, ""),
    ],
)
def test_a_wrong_op_in_a_whole_step_is_seen(
    tmp_path: Path, name: str, op: str, phase: str | None, worst: str
) -> None:
    (tmp_path / "fault.py").write_text(FAULT.format(op=op))
    setup = ready(name, tmp_path, device=f"cpu@fault={tmp_path}/fault.py:Wrong")
    event = CheckSchedule().step(setup, next(setup.batches(1, 0, 1)), 0, 0.0)
    if phase is None:
        assert event.reason == "the optimizer evaluates the loss several times a step"
        return
    assert (event.reason, event.phase) == ("", phase)
    assert event.worst.startswith(worst)
    if worst == "g.":
        assert event.worst.endswith(", update 2")

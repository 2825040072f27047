"""Resuming: the new run's directory, and that its worker goes on where the old one ended."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any, TypeVar

import msgspec
import numpy as np
import psutil
import pytest

from mpstui.domain.config import ARTICLE_EPOCHS, make_config
from mpstui.domain.devices import parse_device, parse_devices
from mpstui.domain.errors import FieldError, UsageError
from mpstui.domain.events import (
    AlarmRaised,
    AnyEvent,
    EpochCompleted,
    EvaluationCompleted,
    PreparationAdvanced,
    RunFinished,
    RunStarted,
    RunStopped,
    SnapshotSaved,
    StepsCompleted,
)
from mpstui.domain.history import RunState
from mpstui.engine.data.digits import Digits, load_digits
from mpstui.engine.event_recorder import EventRecorder
from mpstui.engine.gate import Gate
from mpstui.engine.snapshots import load_snapshot
from mpstui.engine.worker import train_run
from mpstui.engine.workloads import BUILT_IN
from mpstui.runs.log import LogReader, LogWriter
from mpstui.runs.resume import resume_run
from mpstui.runs.rundir import Dataset, Exit, Resumed, RunDir
from mpstui.runs.store import RunStore
from mpstui.runs.view import RunView
from mpstui.telemetry.machine import read_machine

E = TypeVar("E")
NOW = datetime(2026, 11, 23, 7, 0, 0)
LATER = datetime(2026, 11, 24, 7, 0, 0)

STOPPED = RunStopped(at=9.0, step=8, reason="requested by the user")


pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture
def short_epochs(monkeypatch: pytest.MonkeyPatch) -> None:
    """Epochs of 120 samples, tested on 200 digits."""
    monkeypatch.setattr("mpstui.domain.config.EPOCH_SAMPLES", 120)
    monkeypatch.setattr("mpstui.engine.data.order.EPOCH_SAMPLES", 120)

    def few(dataset: Dataset, data_dir: str) -> Digits:
        digits = load_digits(dataset, data_dir)
        images, labels = digits.test_images[:200], digits.test_labels[:200]
        return replace(digits, test_images=images, test_labels=labels)

    monkeypatch.setattr("mpstui.engine.set_up.load_digits", few)


@pytest.fixture
def store(tmp_path: Path) -> RunStore:
    return RunStore(tmp_path / "runs")


def new(store: RunStore, device: str = "cpu", **values: Any) -> RunDir:
    asked = {"workload": "vae", "batch_size": 20_000, "test_batch_size": 1000, "epochs": 3}
    config = make_config({**asked, "autotune": "off", **values})
    (run,) = store.create(config, [parse_device(device)], read_machine(), NOW)
    run.write_dataset(Dataset(source="embedded"))
    return run


def resume(store: RunStore, old: RunDir, **changes: Any) -> RunDir:
    return resume_run(store, old, changes, read_machine(), LATER)


def of(run: RunDir, kind: type[E]) -> list[E]:
    reader = LogReader(run.events)
    events = reader.read()
    assert reader.unreadable == 0
    return [event for event in events if isinstance(event, kind)]


def losses(run: RunDir) -> bytes:
    """Of all steps, to the bit; checks that none is missing or told twice."""
    told = b""
    for event in of(run, StepsCompleted):
        assert event.first_step == len(told) // 4 + 1
        told += event.losses
    return told


def train(run: RunDir, gate: Gate | None = None) -> RunDir:
    with LogWriter(run.events) as log:
        train_run(run, gate or Gate(), EventRecorder(run, log))
    return run


def stop_in(monkeypatch: pytest.MonkeyPatch, gate: Gate, step: int, workload: str = "vae") -> None:
    kind, steps = type(BUILT_IN[workload]), 0
    objective = kind.objective

    def counted(self: Any, model: Any, images: Any, labels: Any) -> Any:
        nonlocal steps
        steps += model.training
        if steps == step:
            gate.stop("enough")
        return objective(self, model, images, labels)

    monkeypatch.setattr(kind, "objective", counted)


BOUNDARIES = [("mnist", 4, 2), ("vae", 2, 1), ("vae", 4, 2), ("vae", 6, 2)]
"""Within an epoch, behind one, and between a last step and its evaluation."""


@pytest.mark.parametrize(("workload", "stop", "epoch"), BOUNDARIES)
@pytest.mark.usefixtures("short_epochs")
def test_stopped_and_resumed_a_run_is_the_unbroken_one_to_the_bit(
    store: RunStore, monkeypatch: pytest.MonkeyPatch, workload: str, stop: int, epoch: int
) -> None:
    """Three steps an epoch; the last stop is between a last step and its evaluation."""
    values: dict[str, Any] = {"workload": workload, "batch_size": 40}
    whole = train(new(store, **values))
    with monkeypatch.context() as patch:
        gate = Gate()
        stop_in(patch, gate, stop, workload)
        old = train(new(store, **values), gate)
    assert len(losses(old)) == stop * 4
    again = train(resume(store, old))

    assert losses(again) == losses(whole)
    told = [(e.epoch, e.samples) for e in of(again, EpochCompleted)]
    assert told == [(e.epoch, e.samples) for e in of(whole, EpochCompleted)]
    assert [e.mean_loss for e in of(again, EpochCompleted)] == pytest.approx(
        [e.mean_loss for e in of(whole, EpochCompleted)]
    )
    assert [(e.epoch, e.step, e.loss) for e in of(again, EvaluationCompleted)] == [
        (e.epoch, e.step, e.loss) for e in of(whole, EvaluationCompleted)
    ]
    (started,) = of(again, RunStarted)
    assert f"resumed from {old.id} at step {stop}" in started.notes
    assert again.resumed() == Resumed(run=old.id, step=stop, epoch=epoch)
    assert of(again, RunFinished)[0].step == 9
    summary = again.summary()
    assert summary is not None
    assert (summary.state, summary.steps) == ("finished", 9)
    assert summary.started_at == LATER.timestamp()


@pytest.mark.usefixtures("short_epochs")
def test_a_finished_run_can_be_made_longer(store: RunStore) -> None:
    old = train(new(store, batch_size=40, steps=5))
    snapshot_at(old, 4)
    with pytest.raises(UsageError, match=rf"{old.id} has finished: no steps remain after step 5"):
        resume(store, old)
    with pytest.raises(UsageError, match="allowed: --epochs or --steps, to train longer"):
        resume(store, old, epochs=7)  # the cap on steps stays
    assert [run.id for run in store.all()] == [old.id]
    longer = resume(store, old, steps=9)
    assert longer.config().total_steps == 9


# Directories by hand: what is copied, and what is refused.


def snapshot_at(run: RunDir, step: int, epoch: int = 2, logged: bool = True) -> None:
    path = run.snapshot(step)
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(b"snapshot of %d" % step)
    if logged:
        tell(run, saved(step, epoch))


def saved(step: int, epoch: int) -> SnapshotSaved:
    return SnapshotSaved(at=5.0, step=step, epoch=epoch, path="", bytes=1, seconds=0.1, share=0.01)


def tell(run: RunDir, *events: AnyEvent) -> None:
    with LogWriter(run.events) as log:
        for event in events:
            log.append(event)


def steps(first: int, count: int, epoch: int) -> StepsCompleted:
    return StepsCompleted(
        at=2.0,
        epoch=epoch,
        first_step=first,
        losses=np.arange(first, first + count).astype("<f4").tobytes(),
        samples=20_000 * count,
        epoch_samples=20_000 * (first + count - 1 - 3 * (epoch - 1)),
        seconds=float(count),
        timed=True,
        lr=0.1,
        joules=3.0,
    )


def ended(epoch: int) -> tuple[AnyEvent, AnyEvent]:
    return (
        EpochCompleted(
            at=3.0,
            epoch=epoch,
            mean_loss=1.0,
            samples=60_000,
            timed_samples=0,
            timed_seconds=0.0,
            wall_seconds=1.0,
        ),
        EvaluationCompleted(
            at=4.0, epoch=epoch, step=epoch * 3, loss=0.5, samples=10, correct=None, seconds=1.0
        ),
    )


def written(store: RunStore, *end: AnyEvent, **values: Any) -> RunDir:
    """Eight steps: two whole epochs, two steps of the third; snapshots of steps 5, 6 and 7."""
    run = new(store, **values)
    tell(run, steps(1, 3, 1), *ended(1), steps(4, 2, 2))
    snapshot_at(run, 5, epoch=2)
    tell(run, steps(6, 1, 2), *ended(2))
    snapshot_at(run, 6, epoch=3)
    tell(run, steps(7, 1, 3))
    snapshot_at(run, 7, epoch=3)
    tell(run, steps(8, 1, 3), *end)
    return run


def test_the_newest_snapshot_and_the_curve_up_to_it_are_copied(store: RunStore) -> None:
    old = written(store, STOPPED, lr=0.25, seed=7, on_alarm="pause")
    before = {path: path.read_bytes() for path in old.path.rglob("*") if path.is_file()}
    run = resume(store, old)
    assert run.id != old.id
    assert run.config() == old.config()
    assert run.dataset() == Dataset(source="embedded")
    assert run.resumed() == Resumed(run=old.id, step=7, epoch=3)
    assert run.snapshots() == [(7, run.snapshot(7))]
    assert run.snapshot(7).read_bytes() == b"snapshot of 7"
    events = of(run, object)
    first, last = events[0], events[-1]
    assert isinstance(first, PreparationAdvanced)
    assert first.stage == f"resumed from {old.id} at step 7"
    assert isinstance(last, PreparationAdvanced)
    assert events[1:-1] == [
        steps(1, 3, 1), *ended(1), steps(4, 2, 2), steps(6, 1, 2), *ended(2), steps(7, 1, 3)
    ]  # fmt: skip
    assert {path: path.read_bytes() for path in before} == before


@pytest.mark.parametrize(("epoch", "ends"), [(2, [1]), (3, [1, 2])])
def test_of_an_epoch_that_is_to_be_evaluated_again_the_end_is_not_copied(
    store: RunStore, epoch: int, ends: list[int]
) -> None:
    """A stop in the test saves step 6 before its epoch's end; one after it saves it behind."""
    old = new(store)
    tell(old, steps(1, 3, 1), *ended(1), steps(4, 3, 2), *ended(2))
    snapshot_at(old, 6, epoch=2)
    if epoch == 3:  # and overwrites it
        snapshot_at(old, 6, epoch=3)
    tell(old, STOPPED)
    run = resume(store, old)
    assert [event.epoch for event in of(run, EpochCompleted)] == ends
    assert [event.epoch for event in of(run, EvaluationCompleted)] == ends
    assert run.resumed() == Resumed(run=old.id, step=6, epoch=epoch)


def test_a_batch_of_steps_is_cut_at_the_snapshot(store: RunStore) -> None:
    old = new(store)
    tell(old, steps(1, 3, 1), *ended(1), steps(4, 3, 2))
    snapshot_at(old, 5)
    tell(old, STOPPED)
    whole, part = of(resume(store, old), StepsCompleted)
    assert whole == steps(1, 3, 1)
    assert np.frombuffer(part.losses, "<f4").tolist() == [4.0, 5.0]
    assert (part.first_step, part.samples, part.epoch_samples) == (4, 40_000, 40_000)
    assert (part.seconds, part.timed, part.joules) == (2.0, False, None)


def test_a_cut_batch_of_steps_of_own_loaders_has_its_share_of_their_samples(
    store: RunStore,
) -> None:
    old = new(store)
    small = msgspec.structs.replace(steps(1, 4, 1), samples=16, epoch_samples=16)
    tell(old, small)
    snapshot_at(old, 3)
    tell(old, STOPPED)
    (part,) = of(resume(store, old), StepsCompleted)
    assert (part.samples, part.epoch_samples) == (12, 12)


@pytest.mark.parametrize(
    ("epoch_steps", "epoch_samples", "kept"),
    [(3, 60_000, ARTICLE_EPOCHS), (5, 60_000, 5), (400, 8_000_000, 400)],
)
def test_epochs_of_own_data_stay_as_long_as_they_were(
    store: RunStore, tmp_path: Path, epoch_steps: int, epoch_samples: int, kept: int
) -> None:
    file = tmp_path / "own.py"
    file.write_text("class Own:\n    def model(self): ...\n    def objective(self, m, b): ...\n")
    old = new(store, workload=f"{file}:Own", epochs=3)
    started = RunStarted(
        at=1.0,
        workload="own.py:Own",
        device="cpu",
        device_name="CPU",
        torch="2",
        dataset="",
        train_samples=8_000_000,
        test_samples=1,
        parameters=1,
        steps_per_epoch=epoch_steps,
        total_steps=3 * epoch_steps,
        threads=1,
        epoch_samples=epoch_samples,
    )
    tell(old, started, steps(1, 8, 1))
    snapshot_at(old, 8)
    tell(old, STOPPED)
    config = resume(store, old).config()
    assert config.epoch_steps == kept
    assert (config.steps_per_epoch, config.total_steps) == (epoch_steps, 3 * epoch_steps)
    assert config.epoch_samples(8_000_000) == (20_000 * 5 if kept == 5 else epoch_samples)


def test_a_snapshot_that_no_log_tells_of_is_passed_over(store: RunStore) -> None:
    """A worker that is killed between file and event has left a step whose epoch is unknown."""
    old = written(store, STOPPED)
    snapshot_at(old, 8, logged=False)
    old.snapshot(7).unlink()  # as the oldest are, to make room
    assert resume(store, old).resumed() == Resumed(run=old.id, step=6, epoch=3)


def test_a_resumed_run_that_got_no_further_is_resumed_from_where_it_began(store: RunStore) -> None:
    first = resume(store, written(store, STOPPED))
    first.write_exit(Exit(code=-9))
    second = resume(store, first)
    assert second.resumed() == Resumed(run=first.id, step=7, epoch=3)
    assert losses(second) == losses(first)
    assert len(of(second, PreparationAdvanced)) == 2


@pytest.mark.parametrize(
    "exit", [Exit(code=-9, killed=True), Exit(code=-6), None], ids=["killed", "crashed", "vanished"]
)
def test_runs_without_an_end_of_their_own_go_on_too(store: RunStore, exit: Exit | None) -> None:
    old = written(store)
    if exit is not None:
        old.write_exit(exit)
    run = resume(store, old)
    assert run.resumed() == Resumed(run=old.id, step=7, epoch=3)
    assert run.is_under_way()  # another app must not call it crashed before it starts


def test_a_run_of_a_comparison_goes_on_alone(store: RunStore) -> None:
    config = make_config({"workload": "vae", "batch_size": 20_000, "epochs": 3})
    old, _ = store.create(
        config, parse_devices("cpu@threads=1,cpu@precision=bf16"), read_machine(), NOW
    )
    tell(old, steps(1, 2, 1))
    snapshot_at(old, 2, epoch=1)
    tell(old, STOPPED)
    run = resume(store, old)
    assert run.config().comparison == ""
    assert run.config().device == "cpu@threads=1"
    assert store.group(run) == [run]


def test_a_run_that_is_under_way_is_refused(store: RunStore) -> None:
    old = written(store)
    old.record_supervisor(psutil.Process().pid)
    with pytest.raises(UsageError, match=rf"{old.id} is .*; allowed: a run that has ended"):
        resume(store, old)
    assert [run.id for run in store.all()] == [old.id]


def test_a_run_without_a_snapshot_is_refused(store: RunStore) -> None:
    old = new(store)
    tell(old, steps(1, 3, 1), STOPPED)
    with pytest.raises(UsageError, match=rf"{old.id} has no snapshot: .*; allowed: "):
        resume(store, old)
    assert [run.id for run in store.all()] == [old.id]


@pytest.mark.parametrize("name", ["lr", "workload", "seed", "dry_run", "device", "batch_size"])
def test_only_the_length_may_change(store: RunStore, name: str) -> None:
    old = written(store, STOPPED)
    with pytest.raises(FieldError, match="allowed: --steps, --epochs") as caught:
        resume(store, old, steps=9, **{name: 1})
    assert caught.value.field == name
    assert [run.id for run in store.all()] == [old.id]


def test_a_run_cannot_end_before_its_snapshot(store: RunStore) -> None:
    old = written(store, STOPPED)
    with pytest.raises(
        FieldError, match="steps: it would end at step 6, but its snapshot is from step 7"
    ):
        resume(store, old, steps=6)
    with pytest.raises(FieldError, match="epochs: it would end at step 3"):
        resume(store, old, epochs=1)
    assert resume(store, old, epochs=5).config().total_steps == 15


def test_files_that_cannot_be_copied_leave_nothing_behind(
    store: RunStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    old = written(store, STOPPED)

    def full(source: Path, target: Path) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("shutil.copyfile", full)
    with pytest.raises(UsageError, match="No space left on device; allowed: "):
        resume(store, old)
    assert [run.id for run in store.all()] == [old.id]


def test_a_damaged_snapshot_fails_the_run_in_one_line(store: RunStore) -> None:
    run = train(resume(store, written(store, STOPPED)))
    view = RunView(run)
    run.write_exit(Exit(code=0))
    view.catch_up()
    assert view.history.state is RunState.FAILED
    assert view.history.message.startswith(f"{run.snapshot(7)}: no snapshot: no archive")
    assert view.history.step == 7


def test_an_alarm_keeps_the_run_from_saving_any_more(
    store: RunStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It comes from the supervisor, through another thread of the worker."""
    run, gate = new(store, batch_size=40), Gate()
    stop_in(monkeypatch, gate, 2)
    with LogWriter(run.events) as log:
        diary = EventRecorder(run, log)
        diary.record(
            AlarmRaised(
                at=1.0, step=1, value=9.0, other=1.0, gap=8.0, against="cpu", policy="continue"
            )
        )
        train_run(run, gate, diary)
    assert len(of(run, RunStopped)) == 1
    assert run.snapshots() == []


def test_a_stopped_worker_leaves_a_snapshot_of_its_last_step(
    store: RunStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    run, gate = new(store, batch_size=40), Gate()
    stop_in(monkeypatch, gate, 2)
    train(run, gate)
    ((step, path),) = run.snapshots()
    assert step == load_snapshot(path).step == of(run, RunStopped)[0].step == 2
    (event,) = of(run, SnapshotSaved)
    assert (event.path, event.bytes) == ("checkpoints/step-000002.pt", path.stat().st_size)
    assert event.seconds > 0
    assert 0 < event.share < 1


# The file that a fault comes from.

FAULT = "from contextlib import nullcontext\n\n\nclass Mine(nullcontext):\n    pass\n"


def test_a_faults_file_is_copied_into_its_run_and_into_the_run_that_goes_on(
    store: RunStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "some folder").mkdir()
    path = tmp_path / "some folder" / "My Faults.py"
    path.write_text(FAULT)
    config = make_config({"workload": "vae", "batch_size": 20_000, "epochs": 3})
    specs = parse_devices("cpu,cpu@fault=some folder/My Faults.py:Mine@threads=1")
    sound, old = store.create(config, specs, read_machine(), NOW)
    assert old.fault.read_text() == FAULT
    assert not sound.fault.exists()
    assert old.id.endswith("-2-cpu-threads-1-fault-my-faults-mine")
    assert old.config().device == str(specs[1])
    path.unlink()
    tell(old, steps(1, 2, 1))
    snapshot_at(old, 2, epoch=1)
    tell(old, STOPPED)
    run = resume(store, old)
    assert run.fault.read_text() == FAULT
    assert run.config().device == str(specs[1])


def test_a_slug_stays_short(store: RunStore, tmp_path: Path) -> None:
    path = tmp_path / f"{'long' * 30}.py"
    path.write_text(FAULT)
    run = new(store, f"cpu@fault={path}:{'Name' * 30}")
    assert run.id.endswith(f"-cpu-fault-{'long' * 6}-{'name' * 6}")
    assert len(run.id) < 100


def test_without_a_faults_file_no_run_is_made(store: RunStore, tmp_path: Path) -> None:
    specs = parse_devices(f"cpu,cpu@fault={tmp_path / 'none.py'}:Mine")
    with pytest.raises(FieldError, match=r"device: fault=.*none\.py: No such file") as caught:
        store.create(make_config({}), specs, read_machine(), NOW)
    assert caught.value.allowed == "an existing Python file"
    assert store.all() == []

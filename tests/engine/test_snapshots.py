"""Snapshots: what is in them, what they cost, and that a run goes on from one to the bit."""

from __future__ import annotations

import io
import math
import zipfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import pytest
import torch
from torch.utils.serialization import config as torch_files

from mpstui.domain.config import make_config
from mpstui.domain.errors import LogError
from mpstui.domain.events import (
    AnyEvent,
    EpochCompleted,
    EvaluationCompleted,
    RunStopped,
    SnapshotSaved,
    StepsCompleted,
)
from mpstui.engine.data.feed import Batch
from mpstui.engine.data.order import order_of_epoch
from mpstui.engine.data.source import IndexedPipeline
from mpstui.engine.gate import Gate
from mpstui.engine.loop import Loop
from mpstui.engine.meter import Meter
from mpstui.engine.progress import Progress
from mpstui.engine.set_up import set_up
from mpstui.engine.setup import Setup
from mpstui.engine.snapshot_budget import MIN_TRAINING_SECONDS, MOST_FILES, SHARE, Snapshots
from mpstui.engine.snapshots import load_snapshot, pack, snapshots_of
from mpstui.engine.workloads import BUILT_IN
from mpstui.runs.rundir import Dataset
from tests.builders.digits import few_digits

E = TypeVar("E")
Build = Callable[..., Setup]
START = Progress(7, 1, 112, 0, 0.0, 1.5, 12.0, 0.25)


pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture
def build(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Build:
    """Builds runs on 250 digits whose epochs are 60 samples: 6 steps at batch 10."""
    monkeypatch.setattr(
        "mpstui.engine.set_up.load_digits", lambda dataset, folder: few_digits(50, every=20)
    )
    monkeypatch.setattr("mpstui.domain.config.EPOCH_SAMPLES", 60)

    def built(folder: str = "run", **values: Any) -> Setup:
        asked = {"workload": "vae", "batch_size": 10, "test_batch_size": 20, "epochs": 3, **values}
        (tmp_path / folder).mkdir(exist_ok=True)
        return set_up(make_config(asked), Dataset(source="embedded"), tmp_path / folder)

    return built


class Hand:
    """A clock that is set by hand, and goes on by a step each time it is read."""

    def __init__(self, step: float = 0.0) -> None:
        self.now, self.step = 0.0, step

    def __call__(self) -> float:
        self.now += self.step
        return self.now


def of(events: Sequence[AnyEvent], kind: type[E]) -> list[E]:
    return [event for event in events if isinstance(event, kind)]


def losses(events: Sequence[AnyEvent]) -> dict[int, float]:
    """Every step's loss; none is told twice."""
    told: dict[int, float] = {}
    for event in of(events, StepsCompleted):
        values = np.frombuffer(event.losses, "<f4").tolist()
        new = dict(enumerate(values, event.first_step))
        assert not told.keys() & new.keys()
        told |= new
    return told


def stop_at(monkeypatch: pytest.MonkeyPatch, workload: str, gate: Gate, call: int) -> None:
    """Ask for a stop in some call of the objective (training) or score (evaluation)."""
    kind, calls = type(BUILT_IN[workload]), 0
    objective, score = kind.objective, Setup.score

    def count() -> None:
        nonlocal calls
        calls += 1
        if calls == call:
            gate.stop("enough")

    def counted(self: Any, model: Any, images: Any, labels: Any) -> Any:
        if model.training:
            count()
        return objective(self, model, images, labels)

    def scored(self: Setup, batch: Batch) -> Any:
        count()
        return score(self, batch)

    monkeypatch.setattr(kind, "objective", counted)
    monkeypatch.setattr(Setup, "score", scored)


def run_on(setup: Setup, path: Path) -> list[AnyEvent]:
    snapshot = load_snapshot(path)
    snapshot.restore(setup)
    return list(Loop(setup, Gate(), resume=snapshot.progress).events())


# An epoch makes nine calls: six steps, then three batches of the test.
@pytest.mark.parametrize(
    ("call", "step", "epoch"),
    [(2, 2, 1), (8, 6, 1), (9, 6, 2), (13, 10, 2), (16, 12, 2)],
    ids=["in an epoch", "in a test", "between epochs", "in the second", "in its test"],
)
@pytest.mark.parametrize("pipeline", ["resident", "reference"])
@pytest.mark.parametrize("workload", ["mnist", "vae"])
def test_a_resumed_run_is_the_unbroken_one_to_the_bit(
    build: Build,
    monkeypatch: pytest.MonkeyPatch,
    workload: str,
    pipeline: str,
    call: int,
    step: int,
    epoch: int,
) -> None:
    """Across dropout or noise, the decay of the rate, an epoch's edge and its evaluation."""
    values = {"workload": workload, "pipeline": pipeline}
    whole = list(Loop(build(**values), Gate()).events())
    with monkeypatch.context() as patch:
        gate, setup = Gate(), build(**values)
        stop_at(patch, workload, gate, call)
        before = list(Loop(setup, gate, snapshots=Snapshots(setup.run_dir)).events())
    (saved,) = of(before, SnapshotSaved)
    assert (saved.step, saved.epoch) == (step, epoch)
    assert isinstance(before[-1], RunStopped)

    torch.manual_seed(99)  # the resumed run must not live on what the first one left behind
    after = run_on(build("second", **values), setup.run_dir / saved.path)
    assert losses(before) | losses(after) == losses(whole)
    assert min(losses(after)) == step + 1
    told = [event for event in of(whole, EpochCompleted) if event.epoch >= epoch]
    again = of(after, EpochCompleted)
    assert [(e.epoch, e.samples) for e in again] == [(e.epoch, e.samples) for e in told]
    # Sums of other windows: the same but for float64's rounding.
    assert [e.mean_loss for e in again] == pytest.approx([e.mean_loss for e in told])
    assert [(e.epoch, e.step, e.loss, e.correct) for e in of(after, EvaluationCompleted)] == [
        (e.epoch, e.step, e.loss, e.correct)
        for e in of(whole, EvaluationCompleted)
        if e.epoch >= epoch
    ]


def test_a_run_stopped_before_its_next_step_needs_no_second_snapshot(
    build: Build, monkeypatch: pytest.MonkeyPatch
) -> None:
    gate, setup = Gate(), build()
    stop_at(monkeypatch, "vae", gate, 2)
    list(Loop(setup, gate, snapshots=Snapshots(setup.run_dir)).events())
    snapshot = load_snapshot(setup.run_dir / "checkpoints" / "step-000002.pt")
    again = build("again")
    snapshot.restore(again)
    keep = Snapshots(again.run_dir)
    events = list(Loop(again, gate, snapshots=keep, resume=snapshot.progress).events())
    assert events[-1] == RunStopped(at=events[-1].at, step=2, reason="enough")
    assert snapshots_of(again.run_dir) == []


@pytest.mark.parametrize("epoch", [1, 2, 5])
def test_the_order_of_an_epoch_follows_from_its_number(build: Build, epoch: int) -> None:
    seen: list[torch.Tensor] = []
    setup = build(epochs=epoch, seed=3)
    assert isinstance(setup.pipeline, IndexedPipeline)
    training = setup.pipeline.training

    def watched(order: torch.Tensor, batch_size: int) -> Any:
        seen.append(order)
        return training(order, batch_size)

    setup.pipeline.training = watched  # type: ignore[method-assign]
    list(Loop(setup, Gate()).events())
    assert torch.equal(seen[-1], order_of_epoch(3, 250, epoch, 60))
    assert len({tuple(order.tolist()) for order in seen}) == epoch


def train_a_step(setup: Setup) -> None:
    images, labels = torch.rand(10, 1, 28, 28), torch.zeros(10, dtype=torch.int64)
    torch.autograd.backward(setup.workload.objective(setup.model, images, labels))
    setup.optimizer.step()


@pytest.mark.parametrize("workload", ["mnist", "vae"])
def test_one_snapshot_goes_into_several_runs_that_then_go_their_own_ways(
    build: Build, tmp_path: Path, workload: str
) -> None:
    setup = build(workload=workload)
    train_a_step(setup)
    setup.schedulers.after_epoch(None)
    path = tmp_path / "step-000007.pt"
    path.write_bytes(pack(setup, START, setup.backend.rng_state()))
    drawn = torch.rand(3)
    snapshot = load_snapshot(path)
    assert (snapshot.step, snapshot.progress, snapshot.workload) == (7, START, workload)
    one, two = build("one", workload=workload, lr=9.0), build("two", workload=workload)
    snapshot.restore(one)
    assert torch.equal(torch.rand(3), drawn)
    assert one.optimizer.param_groups[0]["lr"] == setup.optimizer.param_groups[0]["lr"]
    assert one.schedulers.state() == setup.schedulers.state()
    train_a_step(one)
    torch.manual_seed(5)
    state = torch.get_rng_state()
    snapshot.restore(two, rng=False)
    assert torch.equal(torch.get_rng_state(), state)
    fresh = load_snapshot(path)  # what one trained on has changed nothing of two
    for name, tensor in two.model.state_dict().items():
        assert torch.equal(tensor, fresh.model[name])
    for index, values in two.optimizer.state_dict()["state"].items():
        for name, tensor in values.items():
            assert torch.equal(tensor, fresh.optimizers[0]["state"][index][name])


def test_a_snapshot_of_another_workload_is_refused(build: Build, tmp_path: Path) -> None:
    setup = build()
    path = tmp_path / "step-000007.pt"
    path.write_bytes(pack(setup, START, setup.backend.rng_state()))
    with pytest.raises(LogError, match="a snapshot of vae does not fit mnist"):
        load_snapshot(path).restore(build("other", workload="mnist"))


def test_a_changed_byte_anywhere_in_a_snapshot_is_an_error(build: Build, tmp_path: Path) -> None:
    setup, path = build(), tmp_path / "step-000007.pt"
    with torch_files.patch("save.compute_crc32", False):  # type: ignore[attr-defined]
        content = pack(setup, START, setup.backend.rng_state())  # the user's own setting
    path.write_bytes(content)
    weights = next(iter(load_snapshot(path).model.values()))
    place = content.index(weights.numpy().tobytes())
    for at in (place, place + weights.numel() * 2, place + weights.numel() * 4 - 1):
        changed = bytearray(content)
        changed[at] ^= 1
        path.write_bytes(changed)
        with pytest.raises(LogError, match=r"damaged: the checksum of \S*data/\d+ is wrong"):
            load_snapshot(path)


def test_a_packed_archive_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "step-000001.pt"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("archive/data.pkl", bytes(1 << 20))
    with pytest.raises(LogError, match="its archive is packed"):
        load_snapshot(path)


def saved_by_torch(value: object) -> bytes:
    file = io.BytesIO()
    torch.save(value, file)
    return file.getvalue()


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (None, "missing"),
        (b"", "no archive"),
        (b"PK\x03\x04 and no more", "no archive"),
        (saved_by_torch({"weight": torch.zeros(2)}), "without 'format'"),
        (saved_by_torch({"format": 1, "workload": "vae"}), "without 'progress'"),
        (saved_by_torch({"format": 2}), "newer than this mpstui"),
        (saved_by_torch([1, 2]), "no snapshot: a list"),
        (saved_by_torch({"format": Gate}), "Weights only load failed"),
    ],
)
def test_what_is_no_snapshot_is_named(tmp_path: Path, content: bytes | None, why: str) -> None:
    path = tmp_path / "step-000001.pt"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(LogError) as caught:
        load_snapshot(path)
    assert str(caught.value).startswith(f"{path}: no snapshot: ")
    assert why in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_snapshot_that_is_cut_anywhere_is_no_snapshot(build: Build, tmp_path: Path) -> None:
    setup = build()
    whole = pack(setup, START, setup.backend.rng_state())
    path = tmp_path / "step-000007.pt"
    for part in (1, len(whole) // 2, len(whole) - 1):
        path.write_bytes(whole[:part])
        with pytest.raises(LogError, match="no snapshot"):
            load_snapshot(path)


def test_only_snapshots_are_listed_in_the_order_of_their_steps(tmp_path: Path) -> None:
    folder = tmp_path / "checkpoints"
    assert snapshots_of(tmp_path) == []
    folder.mkdir()
    for name in ("step-1000000.pt", "step-000900.pt", "model.pt", ".step-000001.pt.x", "step-1.pt"):
        (folder / name).touch()
    assert snapshots_of(tmp_path) == [
        (900, folder / "step-000900.pt"),
        (1_000_000, folder / "step-1000000.pt"),
    ]


# The budget, on clocks that are set by hand.


class Ledger:
    """A run that trains by hand, and takes each snapshot that is allowed at a price."""

    def __init__(self, setup: Setup, price: float, left: float = 1e6) -> None:
        self.clock = Hand(step=price)  # two readings a snapshot: the second is later by the price
        self.keep = Snapshots(setup.run_dir, clock=self.clock)
        self.setup, self.left, self.seconds, self.step = setup, left, 0.0, 0
        self.taken: list[float] = []

    def train(self, until: float, tick: float = 0.5) -> None:
        while self.seconds < until:
            self.seconds += tick
            self.step += 1
            self.keep.trained(tick)
            if self.keep.due(self.setup, self.left):
                self.take()

    def take(self) -> Any:
        progress = Progress(self.step, 1, 1, 1, 1.0, 1.0, 1.0, 1.0)
        saved = self.keep.save(self.setup, progress, self.setup.backend.rng_state())
        self.taken.append(self.seconds)
        return saved


@pytest.mark.parametrize("price", [0.001, 0.03, 0.5, 4.0])
def test_snapshots_take_at_most_their_share(build: Build, price: float) -> None:
    ledger = Ledger(build(), price)
    ledger.train(until=2000.0)
    assert ledger.taken[0] == 0.5  # on credit
    gaps = np.diff(ledger.taken)
    assert len(gaps) >= 3
    assert gaps.min() >= max(MIN_TRAINING_SECONDS, price / SHARE)
    for count, seconds in enumerate(ledger.taken[1:], 2):
        assert count * price <= SHARE * seconds + 1e-9
    assert gaps[1:].max() <= max(MIN_TRAINING_SECONDS, price / SHARE) + 0.5  # nor needlessly few


def test_a_run_too_short_to_pay_for_the_first_takes_none(build: Build) -> None:
    setup = build()
    train_a_step(setup)  # 7.8 MB with Adam's state: 0.04 s, for which 4 s of training pay
    ledger = Ledger(setup, 0.03, left=1.0)
    ledger.train(until=2.0)
    assert ledger.taken == []
    ledger.left = 3.0
    ledger.train(until=2.5)
    assert ledger.taken == [2.5]


def test_what_a_snapshot_cost_is_told(build: Build) -> None:
    ledger = Ledger(build(), price=0.25)
    ledger.keep.trained(9.75)
    ledger.step = 12
    saved = ledger.take()
    path = ledger.setup.run_dir / saved.path
    assert saved.path == "checkpoints/step-000012.pt"
    assert (saved.step, saved.epoch, saved.bytes) == (12, 1, path.stat().st_size)
    assert (saved.seconds, saved.share) == (0.25, 0.025)
    ledger.step = 13
    assert ledger.take().share == pytest.approx(0.5 / 10.25)


def test_the_oldest_make_room(build: Build, monkeypatch: pytest.MonkeyPatch) -> None:
    ledger = Ledger(build(), price=0.001)
    for ledger.step in range(1, 7):
        size = ledger.take().bytes
    kept = [step for step, _ in snapshots_of(ledger.setup.run_dir)]
    assert kept == [3, 4, 5, 6]
    assert len(kept) == MOST_FILES
    monkeypatch.setattr("mpstui.engine.snapshot_budget.MOST_BYTES", 2 * size + 1)
    ledger.step = 7
    ledger.take()
    assert [step for step, _ in snapshots_of(ledger.setup.run_dir)] == [6, 7]
    monkeypatch.setattr("mpstui.engine.snapshot_budget.MOST_BYTES", 1)
    ledger.step = 8
    ledger.take()
    assert [step for step, _ in snapshots_of(ledger.setup.run_dir)] == [8]


def test_once_something_went_wrong_the_snapshots_are_evidence(build: Build) -> None:
    setup = build()
    wrong = False
    keep = Snapshots(setup.run_dir, frozen=lambda: wrong, clock=Hand(0.001))
    draws = setup.backend.rng_state()
    for step in range(1, 5):
        keep.save(setup, Progress(step, 1, 1, 1, 1.0, 1.0, 1.0, 1.0), draws)
    keep.trained(1e6)
    assert keep.due(setup, 0.0)
    wrong = True
    assert not keep.due(setup, 0.0)
    assert keep.save(setup, Progress(9, 1, 1, 1, 1.0, 1.0, 1.0, 1.0), draws) is None
    assert [step for step, _ in snapshots_of(setup.run_dir)] == [1, 2, 3, 4]


def test_an_alarm_while_a_snapshot_is_written_keeps_the_older_ones(build: Build) -> None:
    setup, draws = build(), {"cpu": torch.get_rng_state()}
    asked = 0

    def frozen() -> bool:  # asked once before the fifth is written; then the alarm is there
        nonlocal asked
        asked += 1
        return asked > 5

    keep = Snapshots(setup.run_dir, frozen=frozen)
    for step in range(1, 6):
        keep.save(setup, Progress(step, 1, 1, 1, 1.0, 1.0, 1.0, 1.0), draws)
    assert [step for step, _ in snapshots_of(setup.run_dir)] == [1, 2, 3, 4, 5]


def test_a_disk_that_is_full_costs_the_snapshots_and_not_the_run(
    build: Build, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def full(path: Path, content: bytes) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("mpstui.engine.snapshot_budget.replace", full)
    ledger = Ledger(build(), price=0.001)
    assert ledger.take() is None
    ledger.keep.trained(1e6)
    assert not ledger.keep.due(ledger.setup, 1e6)
    assert ledger.take() is None
    said = capsys.readouterr().err
    assert said.count("No space left on device") == 1
    assert "step-000000.pt" in said


# In the loop.


def looped(setup: Setup, price: float = 0.001, **arguments: Any) -> tuple[list[AnyEvent], Hand]:
    """A run that flushes at each step, a second each; its snapshots move the meter's clock too."""
    clock = Hand(step=0.25)

    def costly() -> float:
        clock.now += price
        return clock.now

    keep = Snapshots(setup.run_dir, clock=costly)
    loop = Loop(setup, Gate(), snapshots=keep, **arguments)
    loop._meter = Meter(setup.backend, True, clock)
    return list(loop.events()), clock


def test_a_run_keeps_recent_snapshots_from_its_warm_up_on(build: Build) -> None:
    setup = build(epochs=10)
    events, _ = looped(setup)
    saved = of(events, SnapshotSaved)
    assert saved[0].step <= 13
    assert len(saved) > MOST_FILES
    assert snapshots_of(setup.run_dir) == [
        (each.step, setup.run_dir / each.path) for each in saved[-MOST_FILES:]
    ]
    for each in saved:  # each right after its step was told
        before = [e for e in events[: events.index(each)] if isinstance(e, StepsCompleted)]
        assert max(losses(before)) == each.step
    unwatched = list(Loop(build("other", epochs=10), Gate()).events())
    assert losses(events) == losses(unwatched)


def test_any_snapshot_of_a_run_gives_the_rest_of_it(build: Build) -> None:
    setup = build(epochs=8)
    events, _ = looped(setup)
    kept = snapshots_of(setup.run_dir)
    assert len(kept) == MOST_FILES
    for step, path in kept:
        rest = losses(run_on(build("rest", epochs=8), path))
        assert rest == {at: loss for at, loss in losses(events).items() if at > step}


def test_snapshots_stand_outside_the_clock(build: Build) -> None:
    events, clock = looped(build(epochs=10), price=100.0)
    assert len(of(events, SnapshotSaved)) >= 1
    assert clock.now > 100.0
    assert sum(event.seconds for event in of(events, StepsCompleted)) < 60


@pytest.mark.parametrize("what", ["a loss", "a loss alone", "the weights"])
def test_after_a_step_that_is_not_finite_none_is_taken_or_removed(
    build: Build, monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    """Even of a gradient that is not finite, a step before the first loss shows it."""
    kind, calls = type(BUILT_IN["mnist"]), 0
    objective = kind.objective

    def spoiled(self: Any, model: Any, images: Any, labels: Any) -> Any:
        nonlocal calls
        calls += model.training
        value = objective(self, model, images, labels)
        if model.training and calls == 40:
            if what != "the weights":
                return value * math.nan if what == "a loss" else value - math.inf
            value.register_hook(lambda gradient: gradient * math.nan)  # type: ignore[no-untyped-call,unused-ignore]
        return value

    monkeypatch.setattr(kind, "objective", spoiled)
    monkeypatch.setattr(Snapshots, "due", lambda self, setup, left: True)  # after every step
    setup = build(workload="mnist", epochs=10)
    events, _ = looped(setup)
    kept = snapshots_of(setup.run_dir)
    assert [step for step, _ in kept] == [36, 37, 38, 39]
    assert max(event.step for event in of(events, SnapshotSaved)) == 39
    for _, path in kept:
        model = load_snapshot(path).model
        assert all(bool(tensor.isfinite().all()) for tensor in model.values())


def test_a_diverged_run_that_is_stopped_saves_nothing(
    build: Build, monkeypatch: pytest.MonkeyPatch
) -> None:
    gate, setup = Gate(), build(workload="mnist")
    kind = type(BUILT_IN["mnist"])
    objective = kind.objective

    def spoiled(*arguments: Any) -> Any:
        gate.stop("alarm")
        return objective(*arguments) * math.nan

    monkeypatch.setattr(kind, "objective", spoiled)
    events = list(Loop(setup, gate, snapshots=Snapshots(setup.run_dir)).events())
    assert isinstance(events[-1], RunStopped)
    assert snapshots_of(setup.run_dir) == []


def test_the_energy_of_a_snapshot_is_not_the_trainings(build: Build) -> None:
    counter = 1000.0
    meter = Meter(build().backend, False, Hand(step=1.0), lambda: counter)
    meter.start(0)
    meter.add(torch.tensor([1.0]), [10])
    counter += 5.0
    first = meter.flush()
    counter += 100.0
    meter.exclude_elapsed(joules=True)
    meter.add(torch.tensor([1.0]), [10])
    counter += 7.0
    second = meter.flush()
    assert first is not None
    assert second is not None
    assert (first.joules, second.joules) == (5.0, 7.0)

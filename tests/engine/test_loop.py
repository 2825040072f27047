from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from mpstui.domain.config import make_config
from mpstui.domain.events import (
    AnyEvent,
    DivergenceDetected,
    EpochCompleted,
    EvaluationCompleted,
    RunFinished,
    RunPaused,
    RunResumed,
    RunStarted,
    RunStopped,
    SampleSaved,
    StepsCompleted,
    WarmupFinished,
)
from mpstui.engine.data.feed import Feed
from mpstui.engine.data.source import IndexedPipeline
from mpstui.engine.gate import Gate
from mpstui.engine.loop import Loop
from mpstui.engine.meter import SETTLE_STEPS, WARMUP_STEPS, Meter
from mpstui.engine.set_up import set_up
from mpstui.engine.setup import Setup
from mpstui.engine.workloads import BUILT_IN
from mpstui.runs.rundir import Dataset
from tests.builders.digits import few_digits

E = TypeVar("E")
Make = Callable[..., Loop]


pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture
def make(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Make:
    """Makes a loop on 500 digits, tested on 50; keywords go to the config."""
    monkeypatch.setattr("mpstui.engine.set_up.load_digits", lambda dataset, folder: few_digits(50))

    def loop(gate: Gate | None = None, **values: Any) -> Loop:
        asked = {"workload": "vae", "batch_size": 16, "test_batch_size": 20, **values}
        setup = set_up(make_config(asked), Dataset(source="embedded"), tmp_path)
        return Loop(setup, gate or Gate(), now=lambda: 5.0)

    return loop


@pytest.fixture
def short_epochs(monkeypatch: pytest.MonkeyPatch) -> None:
    """Epochs of 60 samples."""
    monkeypatch.setattr("mpstui.domain.config.EPOCH_SAMPLES", 60)


def of(events: Sequence[AnyEvent], kind: type[E]) -> list[E]:
    return [event for event in events if isinstance(event, kind)]


def losses(events: Sequence[AnyEvent]) -> list[float]:
    """Every step's loss; checks on the way that no step is missing or told twice."""
    read: list[float] = []
    for event in of(events, StepsCompleted):
        assert event.first_step == len(read) + 1
        read += np.frombuffer(event.losses, "<f4").tolist()
    return read


def names(events: Sequence[AnyEvent]) -> list[str]:
    """The events' types in order, neighbours of one type as one."""
    types = [type(event).__name__ for event in events]
    return [name for place, name in enumerate(types) if types[place - 1 : place] != [name]]


def spoil(
    monkeypatch: pytest.MonkeyPatch, name: str, at: int, change: Callable[[Any], Any]
) -> None:
    """Change a workload's objective at one training step."""
    workload = BUILT_IN[name]
    objective, step = type(workload).objective, 0

    def spoiled(self: Any, model: nn.Module, images: Any, labels: Any) -> torch.Tensor:
        nonlocal step
        step += model.training
        value = objective(self, model, images, labels)
        changed: torch.Tensor = change(value) if model.training and step == at else value
        return changed

    monkeypatch.setattr(type(workload), "objective", spoiled)


class Ticking:
    """A clock that moves a quarter of a second each time it is read."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        self.now += 0.25
        return self.now


def test_a_run_tells_its_facts_in_order(make: Make) -> None:
    events = list(make(steps=25).events())
    order = names(events)
    assert order[:4] == ["RunStarted", "StepsCompleted", "WorkCounted", "WarmupFinished"]
    assert order[-4:] == ["EpochCompleted", "EvaluationCompleted", "SampleSaved", "RunFinished"]
    assert set(order[4:-4]) == {"StepsCompleted"}
    assert events[-1] == RunFinished(at=5.0, step=25)
    assert {event.at for event in events} == {5.0}


def test_the_start_says_what_runs_and_where(make: Make) -> None:
    started = next(make(steps=3, seed=2).events())
    assert isinstance(started, RunStarted)
    assert (started.workload, started.device, started.dataset) == ("vae", "cpu", "few digits")
    assert (started.train_samples, started.test_samples) == (500, 50)
    assert started.parameters == 652_824
    assert (started.steps_per_epoch, started.total_steps) == (3750, 3)
    assert started.torch == torch.__version__
    assert started.threads == torch.get_num_threads()
    assert started.notes == ()


def test_notes_name_the_pipeline_and_why_there_is_no_full_set(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mpstui.engine.set_up.load_digits", lambda dataset, folder: few_digits(50))
    config = make_config({"pipeline": "reference", "precision": "bf16"})
    setup = set_up(config, Dataset(source="embedded", reason="no network"), tmp_path)
    assert len(setup.notes) == 3
    for note, word in zip(setup.notes, ("bf16", "no network", "DataLoader"), strict=True):
        assert word in note


def test_steps_and_samples_are_complete_over_the_flushes(make: Make) -> None:
    events = list(make(steps=33).events())
    steps = of(events, StepsCompleted)
    (epoch,) = of(events, EpochCompleted)
    assert len(losses(events)) == 33
    assert sum(event.samples for event in steps) == epoch.samples == 33 * 16
    assert [event.epoch_samples for event in steps] == np.cumsum(
        [event.samples for event in steps]
    ).tolist()
    assert epoch.mean_loss == pytest.approx(np.mean(losses(events)))


def test_the_first_ten_steps_stand_outside_the_clock(make: Make) -> None:
    events = list(make(steps=33).events())
    untimed = [event for event in of(events, StepsCompleted) if not event.timed]
    (warm,) = of(events, WarmupFinished)
    (epoch,) = of(events, EpochCompleted)
    assert [len(event.losses) // 4 for event in untimed] == [WARMUP_STEPS] == [warm.steps]
    assert epoch.timed_samples == (33 - WARMUP_STEPS) * 16
    assert epoch.timed_seconds == pytest.approx(
        sum(event.seconds for event in of(events, StepsCompleted) if event.timed)
    )


@pytest.mark.usefixtures("short_epochs")
def test_a_warm_up_over_several_epochs_tells_all_its_seconds(make: Make) -> None:
    events = list(make(batch_size=15, epochs=4).events())  # 4 steps an epoch
    (warm,) = of(events, WarmupFinished)
    before = of(events[: events.index(warm)], StepsCompleted)
    assert (warm.steps, len(before)) == (12, 3)
    told = sum(event.seconds for event in before)  # rounded, in the log
    assert warm.seconds == pytest.approx(told, abs=1e-6)
    assert [event.timed_samples for event in of(events, EpochCompleted)] == [0, 0, 0, 60]


@pytest.mark.usefixtures("short_epochs")
def test_evaluation_stands_outside_the_clock(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Ticking()
    loop = make(batch_size=10, epochs=4)  # 6 steps an epoch
    loop._meter = Meter(loop._setup.backend, True, clock)
    score = Setup.score

    def slow(*arguments: Any) -> Any:
        clock.now += 1000.0
        return score(*arguments)

    monkeypatch.setattr(Setup, "score", slow)
    events = list(loop.events())
    assert clock.now > 12_000
    assert sum(event.seconds for event in of(events, StepsCompleted)) < 24
    assert of(events, EpochCompleted)[-1].timed_samples == 60


@pytest.mark.parametrize("workload", list(BUILT_IN))
def test_losses_go_down(make: Make, workload: str) -> None:
    told = losses(list(make(workload=workload, steps=50).events()))
    assert np.mean(told[-10:]) < 0.8 * np.mean(told[:10])


@pytest.mark.parametrize("workload", list(BUILT_IN))
def test_the_seed_decides_the_losses(make: Make, workload: str) -> None:
    one, same, other = (
        list(make(workload=workload, steps=8, seed=seed).events()) for seed in (7, 7, 8)
    )
    assert losses(one) == losses(same)
    assert losses(one)[0] != losses(other)[0]
    assert [event.loss for event in of(one, EvaluationCompleted)] == [
        event.loss for event in of(same, EvaluationCompleted)
    ]


@pytest.mark.parametrize("workload", list(BUILT_IN))
def test_the_pipelines_agree_over_whole_runs(make: Make, workload: str) -> None:
    resident, reference = (
        list(make(workload=workload, steps=10, pipeline=pipeline).events())
        for pipeline in ("resident", "reference")
    )
    assert losses(resident) == losses(reference)
    assert of(resident, EvaluationCompleted)[0].loss == of(reference, EvaluationCompleted)[0].loss


def test_who_watches_does_not_move_the_training(make: Make) -> None:
    told = losses(list(make(steps=30).events()))
    loop = make(steps=30)
    loop._meter = Meter(loop._setup.backend, True, Ticking())  # flushes at nearly every step
    assert losses(list(loop.events())) == told


def test_who_takes_an_event_keeps_gradients(make: Make) -> None:
    assert all(torch.is_grad_enabled() for _ in make(steps=2).events())


def test_a_dry_run_is_one_step_and_one_test_batch(make: Make) -> None:
    events = list(make(dry_run=True, epochs=3).events())
    (evaluation,) = of(events, EvaluationCompleted)
    assert len(losses(events)) == 1
    assert evaluation.samples == 20
    assert events[-1] == RunFinished(at=5.0, step=1)


@pytest.mark.usefixtures("short_epochs")
def test_a_cap_inside_an_epoch_still_evaluates(make: Make) -> None:
    events = list(make(batch_size=20, epochs=5, steps=4).events())
    assert [event.samples for event in of(events, EpochCompleted)] == [60, 20]
    assert [(event.epoch, event.step) for event in of(events, EvaluationCompleted)] == [
        (1, 3),
        (2, 4),
    ]
    assert events[-1] == RunFinished(at=5.0, step=4)


@pytest.mark.usefixtures("short_epochs")
def test_an_epochs_mean_weighs_each_sample_alike(make: Make) -> None:
    events = list(make(batch_size=45, epochs=1).events())
    big, small = losses(events)
    (epoch,) = of(events, EpochCompleted)
    assert epoch.samples == 60
    assert epoch.mean_loss == pytest.approx((45 * big + 15 * small) / 60)


@pytest.mark.usefixtures("short_epochs")
def test_the_rate_decays_by_gamma_each_epoch(make: Make) -> None:
    events = list(make(batch_size=30, epochs=3, lr=0.5, gamma=0.1).events())
    rates = {event.epoch: event.lr for event in of(events, StepsCompleted)}
    assert rates == pytest.approx({1: 0.5, 2: 0.05, 3: 0.005})


@pytest.mark.usefixtures("short_epochs")
def test_epochs_have_orders_of_their_own(make: Make) -> None:
    seen: list[list[float]] = []
    loop = make(workload="mnist", batch_size=60, epochs=2, lr=1e-9)
    pipeline = loop._setup.pipeline
    assert isinstance(pipeline, IndexedPipeline)
    training = pipeline.training

    def watched(order: torch.Tensor, batch_size: int) -> Feed:
        seen.append(order.tolist())
        return training(order, batch_size)

    pipeline.training = watched  # type: ignore[method-assign]
    list(loop.events())
    assert len(seen) == 2
    assert seen[0] != seen[1]


def test_an_evaluation_is_the_mean_over_the_test_set(make: Make) -> None:
    loop = make(workload="mnist", steps=2)
    (evaluation,) = of(list(loop.events()), EvaluationCompleted)
    setup = loop._setup
    setup.model.eval()
    with torch.no_grad():
        (batch,) = setup.pipeline.test(50)
        score = setup.score(batch)
    assert evaluation.samples == 50  # in batches of 20, 20 and 10
    assert evaluation.correct == int(score["accuracy"][0])
    assert evaluation.loss == pytest.approx(float(score["loss"][0]) / 50, rel=1e-4)


def test_pictures_lie_where_their_events_say(make: Make, tmp_path: Path) -> None:
    saved = of(list(make(steps=2).events()), SampleSaved)
    assert [event.kind for event in saved] == ["reconstruction", "sample"]
    for event in saved:
        with Image.open(tmp_path / event.path) as image:
            assert image.size == (242, 62 if event.kind == "reconstruction" else 242)


def test_a_saved_model_can_be_loaded(make: Make, tmp_path: Path) -> None:
    loop = make(steps=2, save_model=True)
    list(loop.events())
    model = BUILT_IN["vae"].model()
    state = torch.load(tmp_path / "checkpoints" / "model.pt", weights_only=True)
    model.load_state_dict(state)
    for name, parameter in loop._setup.model.state_dict().items():
        assert torch.equal(model.state_dict()[name], parameter)


def test_no_model_is_saved_unasked(make: Make, tmp_path: Path) -> None:
    list(make(steps=2).events())
    assert not (tmp_path / "checkpoints").exists()


@pytest.mark.parametrize("at", [1, 7, 10, 11, 18])
def test_a_nan_is_told_once_at_its_step(
    make: Make, monkeypatch: pytest.MonkeyPatch, at: int
) -> None:
    spoil(monkeypatch, "mnist", at, lambda value: value * math.nan)
    events = list(make(workload="mnist", steps=20).events())
    told = losses(events)
    (diverged,) = of(events, DivergenceDetected)
    assert diverged.step == at
    assert diverged.value == "nan"
    assert diverged.last_finite == (told[at - 2] if at > 1 else None)
    assert np.isfinite(told).tolist() == [step < at for step in range(1, 21)]
    assert events[-1] == RunFinished(at=5.0, step=20)
    assert of(events, EpochCompleted)[0].mean_loss is None
    assert of(events, EvaluationCompleted)[0].loss is None
    before = events[events.index(diverged) - 1]
    assert isinstance(before, (StepsCompleted, WarmupFinished))


def test_a_divergence_is_told_even_if_torch_then_refuses_to_go_on(
    make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On the CPU torch's BCE raises an error at the step after the NaN."""
    spoil(monkeypatch, "vae", 14, lambda value: value * math.nan)
    events: list[AnyEvent] = []
    with pytest.raises(RuntimeError, match="between 0 and 1"):
        events.extend(make(steps=20).events())
    (diverged,) = of(events, DivergenceDetected)
    told = losses(events)
    assert (diverged.step, diverged.last_finite) == (14, told[12])
    assert len(told) == 14


def test_a_single_infinite_loss_is_told_once_and_training_goes_on(
    make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    spoil(monkeypatch, "vae", 12, lambda value: value - math.inf)
    events = list(make(steps=20).events())
    (diverged,) = of(events, DivergenceDetected)
    assert (diverged.step, diverged.value) == (12, "-inf")
    assert [step + 1 for step, loss in enumerate(losses(events)) if not math.isfinite(loss)] == [12]
    assert of(events, EvaluationCompleted)[0].loss is not None


@pytest.mark.parametrize("workload", list(BUILT_IN))
def test_bf16_trains_near_float32_but_not_on_it(make: Make, workload: str) -> None:
    full, half = (
        list(make(workload=workload, steps=6, precision=precision, lr=1e-3).events())
        for precision in ("float32", "bf16")
    )
    assert losses(full) != losses(half)
    assert losses(half) == pytest.approx(losses(full), rel=0.05)
    (start,) = of(half, RunStarted)
    assert any("bf16" in note for note in start.notes)
    (evaluation,) = of(half, EvaluationCompleted)
    assert evaluation.loss == pytest.approx(of(full, EvaluationCompleted)[0].loss, rel=0.05)


def test_weights_stay_float32_under_bf16(make: Make) -> None:
    loop = make(steps=1, precision="bf16")
    list(loop.events())
    assert {parameter.dtype for parameter in loop._setup.model.parameters()} == {torch.float32}


def test_the_first_steps_after_a_pause_stand_outside_the_clock(make: Make) -> None:
    gate, events = Gate(), list[AnyEvent]()
    for event in make(gate, steps=80).events():
        events.append(event)
        if isinstance(event, StepsCompleted) and event.timed and not of(events, RunPaused):
            gate.request("pause")
        if isinstance(event, RunPaused):
            gate.request("run")
    after = events[next(i for i, e in enumerate(events) if isinstance(e, RunResumed)) :]
    first, second, *_ = of(after, StepsCompleted)
    assert (first.timed, len(first.values())) == (False, SETTLE_STEPS)
    assert second.timed
    assert len(of(events, WarmupFinished)) == 1


def test_a_stop_before_the_first_step_is_a_stop_at_nought(make: Make) -> None:
    gate = Gate()
    gate.stop("no time")
    events = list(make(gate=gate, steps=5).events())
    assert names(events) == ["RunStarted", "RunStopped"]
    assert events[-1] == RunStopped(at=5.0, step=0, reason="no time")


def test_a_stop_in_the_evaluation_ends_the_run_there(
    make: Make, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    gate = Gate()
    score = Setup.score

    def stopping(*arguments: Any) -> Any:
        gate.request("stop")
        return score(*arguments)

    monkeypatch.setattr(Setup, "score", stopping)
    events = list(make(gate=gate, steps=12, save_model=True).events())
    assert names(events)[-2:] == ["EpochCompleted", "RunStopped"]
    assert events[-1] == RunStopped(at=5.0, step=12, reason="requested by the user")
    assert (tmp_path / "checkpoints" / "model.pt").is_file()
    assert torch.is_grad_enabled()

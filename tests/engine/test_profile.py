from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from mpstui.backends import Backend
from mpstui.domain.anatomy import LAUNCH, OTHER, TIMED_PHASES
from mpstui.domain.config import make_config
from mpstui.domain.devices import parse_device
from mpstui.domain.events import (
    AnyEvent,
    EpochCompleted,
    EvaluationCompleted,
    RunStopped,
    StepProfiled,
    StepsCompleted,
)
from mpstui.engine import profile as module
from mpstui.engine.gate import Gate
from mpstui.engine.loop import Loop
from mpstui.engine.meter import PROFILE_STEPS, SETTLE_STEPS, WARMUP_STEPS
from mpstui.engine.profile import Profiler, profile_steps
from mpstui.engine.set_up import set_up
from mpstui.engine.setup import Setup
from mpstui.runs.rundir import Dataset
from tests.builders.batches import training_feed
from tests.builders.digits import few_digits

Make = Callable[..., Loop]
AFTER = 6
"""Timed steps before the profile in these tests, which are short."""


@pytest.fixture(autouse=True)
def short(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """One thread; a window at each step; a profile early on."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    monkeypatch.setattr("mpstui.engine.set_up.load_digits", lambda dataset, folder: few_digits(20))
    monkeypatch.setattr("mpstui.engine.meter.FLUSH_STEPS", 1)
    monkeypatch.setattr(module, "PROFILE_AFTER", AFTER)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def ready(tmp_path: Path) -> Callable[..., Setup]:
    def make(**values: Any) -> Setup:
        asked = {"workload": "vae", "batch_size": 16, "test_batch_size": 20, **values}
        return set_up(make_config(asked), Dataset(source="embedded"), tmp_path)

    return make


@pytest.fixture
def make(ready: Callable[..., Setup]) -> Make:
    def loop(gate: Gate | None = None, **values: Any) -> Loop:
        return Loop(ready(**values), gate or Gate(), now=lambda: 5.0)

    return loop


def profiles(events: list[AnyEvent]) -> list[StepProfiled]:
    return [event for event in events if isinstance(event, StepProfiled)]


def steps(events: list[AnyEvent]) -> list[StepsCompleted]:
    return [event for event in events if isinstance(event, StepsCompleted)]


def losses(events: list[AnyEvent]) -> list[float]:
    read: list[float] = []
    for event in steps(events):
        assert event.first_step == len(read) + 1  # none is missing or told twice
        read += np.frombuffer(event.losses, "<f4").tolist()
    return read


class Counted(Backend):
    """An accelerator for all that the stopwatch knows; its clock moves at each look at it."""

    is_asynchronous = True

    def __init__(self) -> None:
        super().__init__(parse_device("cpu"))
        self.now = 0.0

    def synchronize(self) -> None:
        self.now += 100.0

    def clock(self) -> float:
        self.now += 1.0
        return self.now


def test_a_run_is_profiled_once_after_its_first_timed_steps(make: Make) -> None:
    events = list(make(steps=40).events())
    (told,) = profiles(events)
    assert told.steps == PROFILE_STEPS
    assert told.step == WARMUP_STEPS + AFTER + PROFILE_STEPS
    # no launching on the CPU, and no script of the user's
    assert set(told.seconds) == set(TIMED_PHASES) - {OTHER}
    for phase in ("data", "forward", "backward", "optimizer"):
        assert told.seconds[phase] > 0
    assert told.seconds["transfer"] == 0
    timed = [event for event in steps(events[: events.index(told)]) if event.timed]
    assert told.unsynchronised == pytest.approx(sum(event.seconds for event in timed) / AFTER)


@pytest.mark.parametrize("workload", ["mnist", "vae"])
@pytest.mark.parametrize("pipeline", ["resident", "reference"])
def test_a_profile_does_not_move_the_training(
    make: Make, monkeypatch: pytest.MonkeyPatch, workload: str, pipeline: str
) -> None:
    values = {"workload": workload, "pipeline": pipeline, "steps": 26}
    with_it = list(make(**values).events())
    monkeypatch.setattr(module, "PROFILE_AFTER", 10**9)
    without = list(make(**values).events())
    assert (len(profiles(with_it)), len(profiles(without))) == (1, 0)
    assert losses(with_it) == losses(without)
    evaluated = [
        [event.loss for event in events if isinstance(event, EvaluationCompleted)]
        for events in (with_it, without)
    ]
    assert evaluated[0] == evaluated[1]


def test_the_clock_leaves_profiled_steps_and_a_settling_out(make: Make) -> None:
    events = list(make(steps=40).events())
    (epoch,) = [event for event in events if isinstance(event, EpochCompleted)]
    untimed = WARMUP_STEPS + PROFILE_STEPS + SETTLE_STEPS
    assert [len(event.losses) // 4 for event in steps(events) if not event.timed] == [
        WARMUP_STEPS,
        PROFILE_STEPS,
        SETTLE_STEPS,
    ]
    assert epoch.timed_samples == (40 - untimed) * 16
    assert epoch.samples == 40 * 16


@pytest.mark.parametrize("pipeline", ["reference", "resident", "streamed"])
def test_making_a_batch_is_told_from_copying_it_and_none_is_lost(
    ready: Callable[..., Setup], monkeypatch: pytest.MonkeyPatch, pipeline: str
) -> None:
    setup = ready(pipeline=pipeline)
    laps: list[str] = []
    lap = module._Stopwatch.lap

    def noted(self: Any, phase: str, launches: bool = False) -> None:
        laps.append(phase)
        lap(self, phase, launches)

    monkeypatch.setattr(module._Stopwatch, "lap", noted)
    batches = training_feed(setup, torch.arange(64), 16)
    first = next(batches)
    found = profile_steps(setup, batches, 2, lambda objective, samples: None, lambda: True)
    copied = "transfer" if pipeline == "reference" else "data"
    assert laps[:6] == ["data", copied, "optimizer", "forward", "backward", "optimizer"]
    assert all(one["data"] > 0 for one in found)
    whole = list(training_feed(setup, torch.arange(64), 16))
    assert torch.equal(first.content[0], whole[0].content[0])
    (last,) = batches
    assert torch.equal(last.content[0], whole[3].content[0])


def test_laps_are_synchronised_and_launching_ends_before_the_wait() -> None:
    backend = Counted()
    watch = module._Stopwatch(backend, backend.clock)
    watch.lap("data")
    watch.lap("forward", launches=True)
    assert watch.seconds["data"] == watch.seconds["forward"] == 102.0
    assert watch.seconds[LAUNCH] == 1.0
    assert watch.seconds["backward"] == 0.0


def test_the_fault_of_a_run_wraps_its_profiled_steps(
    ready: Callable[..., Setup], monkeypatch: pytest.MonkeyPatch
) -> None:
    setup = ready()
    inside: list[bool] = []

    class Fault:
        on = False

        def __enter__(self) -> None:
            self.on = True

        def __exit__(self, *error: object) -> None:
            self.on = False

    fault = Fault()
    object.__setattr__(setup, "fault", fault)
    objective, step = setup.workload.objective, setup.optimizer.step

    def watched(*arguments: Any) -> Any:
        inside.append(fault.on)
        return objective(*arguments)

    def stepped() -> None:
        inside.append(fault.on)
        step()

    # In the instance's own dict, so that undoing it leaves nothing on the shared workload.
    monkeypatch.setitem(vars(setup.workload), "objective", watched)
    monkeypatch.setattr(setup.optimizer, "step", stepped)
    batches = training_feed(setup, torch.arange(64), 16)
    profile_steps(setup, batches, 2, lambda objective, samples: None, lambda: True)
    assert inside == [True] * 4
    assert not fault.on


def test_a_turn_that_ends_within_the_profile_goes_on_with_it_later(
    make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    said: list[str] = []
    gate = Gate(takes_turns=True, send=said.append)
    gate.turn(True)
    gate.wait_for_turn = lambda: gate.turn(True)  # type: ignore[method-assign]
    loop = make(gate=gate, steps=45)
    take, seen = loop._count_steps, 0

    def taken(objective: torch.Tensor, samples: int) -> None:
        nonlocal seen
        take(objective, samples)
        seen += 1
        if seen == WARMUP_STEPS + AFTER + 2:  # in the profile
            gate.turn(False)

    monkeypatch.setattr(loop, "_count_steps", taken)
    events = list(loop.events())
    (told,) = profiles(events)
    assert said.count("yielded") == 1
    assert told.steps == PROFILE_STEPS
    assert told.step == WARMUP_STEPS + AFTER + 2 + SETTLE_STEPS + 3
    assert len(losses(events)) == 45


def test_a_stop_within_the_profile_keeps_its_steps(
    make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    gate = Gate()
    loop = make(gate=gate, steps=45)
    take = loop._count_steps

    def taken(objective: torch.Tensor, samples: int) -> None:
        take(objective, samples)
        if loop.step == WARMUP_STEPS + AFTER + 2:
            gate.request("stop")

    monkeypatch.setattr(loop, "_count_steps", taken)
    events = list(loop.events())
    assert profiles(events) == []
    assert isinstance(events[-1], RunStopped)
    assert len(losses(events)) == events[-1].step == WARMUP_STEPS + AFTER + 2


def test_a_short_run_is_not_profiled(make: Make) -> None:
    events = list(make(steps=WARMUP_STEPS + AFTER + PROFILE_STEPS).events())
    assert profiles(events) == []


@pytest.mark.parametrize(
    ("left", "epoch", "wanted"),
    [(100, 938, 5), (6, 938, 5), (5, 938, 0), (0, 938, 0), (3, 4, 2), (2, 4, 0), (1, 1, 0)],
)
def test_an_epochs_last_batch_is_never_profiled(left: int, epoch: int, wanted: int) -> None:
    profiler = Profiler()
    profiler._steps = AFTER
    assert profiler.steps_due(left, epoch) == wanted
    profiler._steps = AFTER - 1
    assert profiler.steps_due(left, epoch) == 0


def test_medians_are_told() -> None:
    profiler = Profiler()
    profiler._steps, profiler._seconds = 50, 5.0
    one = [{"forward": value, "data": 1.0} for value in (1.0, 2.0, 9.0)]
    assert profiler.add(5.0, 70, one[:1], False) is None
    told = profiler.add(5.0, 72, one[1:], True)
    assert told == StepProfiled(
        at=5.0, step=72, steps=3, seconds={"forward": 2.0, "data": 1.0}, unsynchronised=0.1
    )
    assert profiler.steps_due(100, 938) == 0

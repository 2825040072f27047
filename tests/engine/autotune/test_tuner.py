"""The tuner in a run: the race, the log's lines and the saved plans."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from mpstui.domain.events import (
    AnyEvent,
    EpochCompleted,
    EvaluationCompleted,
    PlanChosen,
    PreparationAdvanced,
    StepsCompleted,
    WarmupFinished,
)
from mpstui.domain.history import RunHistory, RunState
from mpstui.domain.plan import PLAIN, Plan
from mpstui.engine.autotune import allocator
from mpstui.engine.autotune.apply import apply_plan
from mpstui.engine.autotune.others import OtherProcesses
from mpstui.engine.autotune.race import BUSY, TOO_SHORT
from mpstui.engine.autotune.tuner import DRIFT_WINDOWS, RACE_SHARE, Tuner
from mpstui.engine.gate import Gate
from mpstui.engine.loop import Loop
from mpstui.engine.setup import Setup
from tests.builders.machines import LINUX, M4

from .conftest import Ready, started

pytestmark = pytest.mark.usefixtures("one_thread", "memory_as_it_is")


@pytest.fixture(autouse=True)
def others(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The share of the processors' time that other processes use: none, until a test says so."""
    shares = [0.0]
    monkeypatch.setattr(OtherProcesses, "share", lambda _: shares[-1])
    return shares


def cost(plan: Plan) -> float:
    """A machine on which the for-loop is twice as fast as anything else."""
    return 0.05 if plan.optimizer == "as built" else 0.1


@pytest.fixture
def paced(monkeypatch: pytest.MonkeyPatch) -> None:
    """Blocks are trained, and take what ``cost`` says; other steps have no pace."""
    monkeypatch.setattr("mpstui.engine.autotune.tuner.DRIFT", 1e9)
    train = Loop._train_block

    def trained(self: Loop, batches: Any, steps: int) -> float | None:
        seconds = train(self, batches, min(steps, 2))
        return None if seconds is None else cost(self._setup.plan)

    monkeypatch.setattr(Loop, "_train_block", trained)


@pytest.fixture
def mostly_racing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Plans may alternate in most of a run's steps, so that a short run compares all of them."""
    monkeypatch.setattr("mpstui.engine.autotune.tuner.RACE_SHARE", 0.9)


def events_of(setup: Setup, previous: Plan | None = None, **how: Any) -> list[AnyEvent]:
    tuner = Tuner(how.pop("machine", M4), previous, now=lambda: 3.0)
    return list(Loop(setup, Gate(), tuner=tuner).events())


def choices(events: list[AnyEvent]) -> list[PlanChosen]:
    return [event for event in events if isinstance(event, PlanChosen)]


def steps(events: list[AnyEvent]) -> list[StepsCompleted]:
    return [event for event in events if isinstance(event, StepsCompleted)]


def losses(events: list[AnyEvent]) -> list[float]:
    values: list[float] = np.concatenate(
        [np.frombuffer(event.losses, "<f4") for event in steps(events)]
    ).tolist()
    return values


@pytest.mark.usefixtures("paced")
def test_a_run_tunes_on_its_own_steps(ready: Ready) -> None:
    setup = ready(steps=1000)
    events = events_of(setup)
    first, last = choices(events)
    assert first.line == "fused Adam: usual on this type of device"
    assert first.plan == Plan(optimizer="fused")
    assert last.plan == PLAIN
    assert last.line.startswith("plain loop: nothing was faster (autotuned in steps 11 to ")
    assert last.gain == 1.0
    # Each step of the race is one of the run's, and none is timed.
    assert len(losses(events)) == 1000
    timed = [event.first_step for event in steps(events) if event.timed]
    assert timed[0] >= last.first_step
    assert last.first_step - 1 <= RACE_SHARE * 1000 + 50
    trials = {event.trial for event in steps(events)}
    assert {"", "foreach optimizer", "flat optimizer", "as built optimizer"} <= trials
    (warm,) = [event for event in events if isinstance(event, WarmupFinished)]
    assert warm.steps == last.first_step - 1
    assert setup.optimizer.state, "the run's own optimizer trained"


@pytest.mark.usefixtures("paced")
@pytest.mark.parametrize("optimizer", ["fused", "flat", "foreach"])
def test_a_run_that_tunes_learns_what_a_plain_run_learns(
    ready: Ready, monkeypatch: pytest.MonkeyPatch, optimizer: str
) -> None:
    monkeypatch.setattr("mpstui.engine.autotune.usual.USUAL_OPTIMIZERS", (optimizer,))
    tuned, plain = losses(events_of(ready(steps=200))), ready(steps=200, autotune="off")
    expected = losses(list(Loop(plain, Gate()).events()))
    assert tuned[:20] == pytest.approx(expected[:20], rel=1e-3)
    assert np.mean(tuned[-50:]) == pytest.approx(np.mean(expected[-50:]), rel=0.05)


@pytest.mark.usefixtures("paced")
def test_plans_alternate_over_the_end_of_an_epoch(ready: Ready) -> None:
    events = events_of(ready(steps=400, batch_size=16, epochs=14, dataset="embedded"))
    epochs = [event for event in events if isinstance(event, EpochCompleted)]
    assert sum(epoch.samples for epoch in epochs) == 400 * 16
    history = RunHistory()
    for event in events:
        history.apply(event)
    assert history.state is RunState.FINISHED
    assert history.plan == choices(events)[-1]


@pytest.mark.usefixtures("paced", "mostly_racing")
def test_the_choice_is_saved_for_its_circumstances(ready: Ready) -> None:
    events_of(ready(steps=300))
    again = started(ready())
    assert (again.plan, again.gain) == (PLAIN, 1.0)
    assert again.line == "plain loop: nothing was faster (as an earlier run measured)"
    for other in (
        {"batch_size": 32},
        {"workload": "mnist"},
        {"precision": "bf16"},
        {"device": "cpu@threads=1"},
        {"autotune": "again"},
    ):
        assert "usual on this type of device" in started(ready(**other)).line
    assert "usual on this type of device" in started(ready(), machine=LINUX).line


@pytest.mark.usefixtures("paced")
def test_the_next_run_tries_what_one_was_too_short_for(
    ready: Ready, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = choices(events_of(ready(steps=120, autotune="again")))[-1]
    monkeypatch.setattr("mpstui.engine.autotune.tuner.RACE_SHARE", 0.9)
    left = [line.removesuffix(f": {TOO_SHORT}") for line in first.untried]
    assert left
    events = events_of(ready(steps=300))
    start_choice, end = choices(events)[:2]
    assert start_choice.line.endswith("(as an earlier run measured)")
    tried = {event.trial for event in steps(events)} - {"", "the plain loop"}
    assert tried == set(left)
    assert end.untried == ()


@pytest.mark.usefixtures("paced", "mostly_racing")
def test_numbers_of_threads_wait_for_a_run_without_other_work_beside_it(
    ready: Ready, monkeypatch: pytest.MonkeyPatch, others: list[float]
) -> None:
    monkeypatch.setattr("mpstui.engine.autotune.usual.thread_counts", lambda: (2,))
    others.append(0.2)
    assert choices(events_of(ready(steps=300)))[-1].untried == (f"2 threads: {BUSY}",)
    others.append(0.05)
    events = events_of(ready(steps=300))
    assert {event.trial for event in steps(events)} >= {"2 threads"}
    assert choices(events)[-1].untried == ()


def test_a_short_run_trains_under_the_usual_plan(
    ready: Ready, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mpstui.engine.autotune.tuner.SHORTEST_RUN", 1e9)
    first, last = choices(events_of(ready(steps=150)))
    assert first.plan == last.plan == Plan(optimizer="fused")
    assert last.line == (
        "fused Adam: usual on this type of device; not compared with others: the run is too short"
    )
    assert "not autotuned: 99 steps are too few" in started(ready(steps=99)).line


def test_a_pace_that_drifts_starts_another_race(ready: Ready) -> None:
    tuner = Tuner(M4)
    setup = ready(steps=4000)
    assert [*tuner.start(setup)]
    tuner.race(10)
    while (block := tuner.block) is not None:
        tuner.timed(cost(block.plan), 10)
    for _ in range(DRIFT_WINDOWS - 1):
        tuner.watch(0.2)
    tuner.watch(0.05)  # as it was chosen: the count begins again
    for _ in range(DRIFT_WINDOWS - 1):
        tuner.watch(0.2)
    assert not tuner.is_racing
    tuner.watch(0.2)
    assert tuner.is_racing
    assert tuner.block is None, "the loop goes on under its plan until it opens the race"
    tuner.race(600)
    choice = None
    while (block := tuner.block) is not None:
        choice = tuner.timed(cost(block.plan), 650)
    assert choice is not None
    assert choice.line.endswith("(autotuned in steps 601 to 650)")


@pytest.mark.usefixtures("paced")
def test_a_run_beside_busy_processes_keeps_the_usual_plan(
    ready: Ready, others: list[float]
) -> None:
    others.append(0.5)
    events = events_of(ready(steps=300, autotune="again"))
    first, last = choices(events)
    assert (last.plan, last.gain) == (first.plan, None)
    assert last.line == f"{first.line}; not compared with others: {BUSY}"
    assert not any(event.trial for event in steps(events))
    assert any(event.timed for event in steps(events))
    assert started(ready()).line == first.line, "nothing is saved"


def test_plans_are_compared_once_the_other_processes_end(ready: Ready, others: list[float]) -> None:
    tuner = Tuner(M4)
    others.append(0.5)
    assert [*tuner.start(ready(steps=4000))]

    def choice(step: int) -> PlanChosen:
        tuner.race(step)
        chosen = None
        while (block := tuner.block) is not None:
            chosen = tuner.timed(cost(block.plan), step)
        assert chosen is not None
        return chosen

    assert choice(10).line.endswith(f"not compared with others: {BUSY}")
    others.append(0.0)
    for _ in range(DRIFT_WINDOWS):
        tuner.watch(0.01)
    assert tuner.is_racing
    compared = choice(600)
    assert compared.plan == PLAIN
    others.append(0.5)
    for _ in range(DRIFT_WINDOWS):
        tuner.watch(1.0)
    again = choice(1200)
    assert (again.plan, again.gain) == (PLAIN, compared.gain)
    assert again.line == f"{compared.line}; not compared again: {BUSY}"


def test_a_race_whose_blocks_never_end_is_given_up(
    ready: Ready, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Steps may take longer than a turn; the run must have timed steps even so."""
    train = Loop._train_block

    def interrupted(self: Loop, batches: Any, steps: int) -> None:
        train(self, batches, 1)

    monkeypatch.setattr(Loop, "_train_block", interrupted)
    events = events_of(ready(steps=200))
    last = choices(events)[-1]
    assert last.plan == Plan(optimizer="fused")
    assert any(event.timed for event in steps(events))


@pytest.mark.usefixtures("paced")
def test_a_stop_during_the_race_ends_the_run_with_all_steps(ready: Ready) -> None:
    gate = Gate()
    tuner = Tuner(M4)
    events = []
    for event in Loop(ready(steps=400), gate, tuner=tuner).events():
        events.append(event)
        if isinstance(event, StepsCompleted) and event.trial:
            gate.stop("the user")
    assert len(losses(events)) == sum(event.count for event in steps(events))
    assert type(events[-1]).__name__ == "RunStopped"


def test_a_run_under_a_plan_goes_on_where_it_was(ready: Ready) -> None:
    """Losses, learning rate and test are the plain run's, dropout's draws included."""
    plan = Plan(optimizer="flat", rewrites=("pool-first",), eval_chunk=7)

    def trained(plan: Plan) -> list[AnyEvent]:
        setup = ready(workload="mnist", steps=12)
        setup.optimizer.param_groups[0]["lr"] = 0.3
        return list(Loop(apply_plan(plan, setup), Gate()).events())

    ours, theirs = trained(plan), trained(PLAIN)
    torch.testing.assert_close(losses(ours)[:5], losses(theirs)[:5], rtol=1e-3, atol=1e-4)
    (test,) = [event for event in ours if isinstance(event, EvaluationCompleted)]
    assert test.samples == 50
    assert steps(ours)[0].lr == 0.3


@pytest.fixture
def many_tests(monkeypatch: pytest.MonkeyPatch) -> None:
    """Evaluations whose chunks of ten are fastest."""
    monkeypatch.setattr("mpstui.engine.autotune.chunks.CHUNKS", (10,))
    monkeypatch.setattr("mpstui.engine.autotune.chunks.LEAST_TIMES", 1)
    from mpstui.engine.autotune.chunks import TestChunks

    def timed(self: TestChunks, seconds: float, samples: int) -> None:
        self._paces[self._size()].append(0.1 if self._size() == 10 else 1.0)

    monkeypatch.setattr(TestChunks, "timed", timed)


@pytest.mark.usefixtures("many_tests")
def test_test_chunks_are_chosen_in_an_evaluation(ready: Ready) -> None:
    events = events_of(ready(steps=110))
    last = choices(events)[-1]
    assert last.plan.eval_chunk == 10
    assert "test in chunks of 10: compared in an evaluation" in last.line
    (test,) = [event for event in events if isinstance(event, EvaluationCompleted)]
    assert test.samples == 50


def test_a_race_is_no_preparation(ready: Ready) -> None:
    events = events_of(ready(steps=110))
    stages = [event.stage for event in events if isinstance(event, PreparationAdvanced)]
    assert stages == ["autotuning: the plan to start with"]


def test_keeping_freed_memory_asks_glibc(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    if not allocator.available():
        pytest.skip("another C library")
    allocator.keep(True)
    block = torch.ones(9_000_000)
    assert float(block.sum()) == 9_000_000
    del block
    allocator.keep(False)

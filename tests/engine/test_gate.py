"""The gate alone, then the loop behind it: driven by a script, and by another thread."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from mpstui.domain.config import make_config
from mpstui.domain.events import (
    AnyEvent,
    RunFinished,
    RunPaused,
    RunResumed,
    RunStarted,
    RunStopped,
    StepsCompleted,
)
from mpstui.engine.data.feed import Feed
from mpstui.engine.data.source import IndexedPipeline
from mpstui.engine.gate import Gate
from mpstui.engine.loop import Loop
from mpstui.engine.meter import SETTLE_STEPS
from mpstui.engine.set_up import set_up
from mpstui.engine.setup import Setup
from mpstui.runs.rundir import Dataset
from tests.builders.digits import few_digits

PATIENCE = 600.0
Make = Callable[..., Loop]
Told = AnyEvent | str


pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture
def make(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Make:
    monkeypatch.setattr("mpstui.engine.set_up.load_digits", lambda dataset, folder: few_digits(20))

    def loop(gate: Gate, **values: Any) -> Loop:
        config = make_config({"workload": "vae", "batch_size": 8, **values})
        return Loop(set_up(config, Dataset(source="embedded"), tmp_path), gate)

    return loop


def last_step(event: StepsCompleted) -> int:
    return event.first_step + len(event.losses) // 4 - 1


# The gate alone.


def test_a_gate_without_a_supervisor_is_open() -> None:
    gate = Gate()
    assert not gate.shut
    gate.wait_for_turn()
    gate.wait_while_paused()


def test_a_gate_under_a_supervisor_waits_for_the_first_turn() -> None:
    gate = Gate(takes_turns=True)
    assert gate.shut
    gate.turn(True)
    assert not gate.shut
    gate.turn(False)
    assert gate.shut


def test_the_newest_request_wins_but_a_stop_stays() -> None:
    gate = Gate()
    gate.request("pause")
    assert gate.shut
    gate.request("run")
    assert not gate.shut
    gate.request("stop")
    gate.request("run")
    assert gate.stop_reason == "requested by the user"


def test_the_first_reason_to_stop_stays() -> None:
    gate = Gate()
    gate.stop("the supervisor exited")
    gate.request("stop")
    gate.stop("something else")
    assert gate.stop_reason == "the supervisor exited"


@pytest.mark.parametrize("takes_turns", [False, True])
def test_a_stop_opens_whatever_is_shut(takes_turns: bool) -> None:
    gate = Gate(takes_turns=takes_turns)
    gate.request("pause")
    gate.stop("enough")
    assert not gate.shut
    gate.wait_while_paused()
    gate.wait_for_turn()


def test_a_turn_granted_while_pausing_is_void() -> None:
    said: list[str] = []
    gate = Gate(said.append, takes_turns=True)
    gate.ready()
    gate.turn(True)
    gate.request("pause")
    gate.pausing()
    gate.turn(True)  # was on its way when "paused" was said
    gate.request("run")
    gate.resumed()
    assert gate.shut
    assert said == ["ready", "paused", "resumed"]


def test_without_a_supervisor_a_pause_costs_no_turn() -> None:
    gate = Gate()
    gate.request("pause")
    gate.pausing()
    gate.request("run")
    gate.resumed()
    assert not gate.shut


def test_a_turn_is_given_back_once() -> None:
    said: list[str] = []
    gate = Gate(said.append, takes_turns=True)
    gate.turn(True)
    gate.turn(False)
    gate.hand_back()
    gate.hand_back()
    assert said == ["yielded"]


def test_a_turn_never_had_is_not_given_back() -> None:
    said: list[str] = []
    gate = Gate(said.append, takes_turns=True)
    gate.hand_back()
    gate.turn(True)
    gate.hand_back()  # nobody wants it back
    gate.pausing()
    gate.hand_back()
    assert said == ["paused"]


# The loop behind it, in one thread: this gate grants a turn whenever the loop waits for one.


class Scripted(Gate):
    def __init__(self) -> None:
        self.words: list[str] = []
        super().__init__(self.words.append, takes_turns=True)

    def wait_for_turn(self) -> None:
        self.words.append("(waits)")
        self.turn(True)
        super().wait_for_turn()


def drive(loop: Loop, on_steps: Callable[[int], None]) -> list[AnyEvent]:
    events = []
    for event in loop.events():
        events.append(event)
        if isinstance(event, StepsCompleted):
            on_steps(last_step(event))
    return events


def test_a_turn_taken_back_is_yielded_and_waited_for(make: Make) -> None:
    gate = Scripted()
    events = drive(make(gate, steps=20), lambda step: gate.turn(False) if step == 10 else None)
    assert gate.words == ["ready", "(waits)", "yielded", "(waits)"]
    assert events[-1] == RunFinished(at=events[-1].at, step=20)


def test_each_turn_begins_with_steps_outside_the_clock(make: Make) -> None:
    gate = Scripted()
    events = drive(make(gate, steps=20), lambda step: gate.turn(False) if step == 10 else None)
    untimed = [event for event in events if isinstance(event, StepsCompleted) and not event.timed]
    spans = [(event.first_step, last_step(event)) for event in untimed]
    assert spans == [(1, 10), (11, 10 + SETTLE_STEPS)]


def test_a_turn_taken_back_before_the_first_step_is_yielded(make: Make) -> None:
    gate = Scripted()
    loop = make(gate, steps=3)
    pipeline = loop._setup.pipeline
    assert isinstance(pipeline, IndexedPipeline)
    training = pipeline.training

    def slow_to_start(order: Any, batch_size: int) -> Feed:
        gate.turn(False)  # the first batch took longer than the turn
        return training(order, batch_size)

    pipeline.training = slow_to_start  # type: ignore[method-assign]
    drive(loop, lambda step: None)
    assert gate.words == ["ready", "(waits)", "yielded", "(waits)"]


def test_after_a_pause_the_turn_is_not_given_back_twice(make: Make) -> None:
    """A second word would take back, in the supervisor's eyes, the turn it grants on the first."""
    gate = Scripted()
    events = []
    for event in make(gate, steps=20).events():
        events.append(event)
        if isinstance(event, StepsCompleted) and last_step(event) == 10:
            gate.request("pause")
        elif isinstance(event, RunPaused):
            gate.turn(True)  # void
            gate.request("run")
    assert gate.words == ["ready", "(waits)", "paused", "resumed", "(waits)"]
    names = [type(event).__name__ for event in events]
    paused = names.index("RunPaused")
    assert names[paused + 1 : paused + 3] == ["RunResumed", "StepsCompleted"]


def test_a_pause_during_evaluation_loses_nothing(
    make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    gate = Gate()
    score = Setup.score

    def pausing(*arguments: Any) -> Any:
        gate.request("pause")
        return score(*arguments)

    monkeypatch.setattr(Setup, "score", pausing)
    names = []
    for event in make(gate, steps=12, test_batch_size=10).events():
        names.append(type(event).__name__)
        if isinstance(event, RunPaused):
            gate.request("run")
    assert names[-7:] == [
        "EpochCompleted",
        "RunPaused",
        "RunResumed",
        "EvaluationCompleted",
        "SampleSaved",
        "SampleSaved",
        "RunFinished",
    ]


# The loop in a thread of its own, its gate held by this one.


class Running:
    """A loop at work in a thread; its events and its words to a supervisor come in one queue."""

    def __init__(self, make: Make, takes_turns: bool = False) -> None:
        self.told: queue.Queue[Told] = queue.Queue()
        self.gate = Gate(self.told.put, takes_turns)
        self._loop = make(self.gate)
        self.thread = threading.Thread(target=self._work, daemon=True)
        self.thread.start()

    def _work(self) -> None:
        for event in self._loop.events():
            self.told.put(event)

    def next(self) -> Told:
        return self.told.get(timeout=PATIENCE)

    def until(self, wanted: type[AnyEvent] | str) -> list[Told]:
        """What is told up to and with an event of a type, or a word."""
        got: list[Told] = []
        while True:
            got.append(self.next())
            if got[-1] == wanted or (isinstance(wanted, type) and isinstance(got[-1], wanted)):
                return got

    def end(self) -> None:
        self.thread.join(PATIENCE)
        assert not self.thread.is_alive()


@pytest.fixture
def run(make: Make) -> Iterator[Callable[..., Running]]:
    started: list[Running] = []

    def start(takes_turns: bool = False) -> Running:
        started.append(Running(make, takes_turns))
        return started[-1]

    yield start
    for running in started:
        running.gate.stop("the test is over")
        running.end()


def test_a_pause_flushes_first_and_a_resume_goes_on(run: Callable[..., Running]) -> None:
    running = run()
    running.until(StepsCompleted)
    running.gate.request("pause")
    *before, paused = running.until(RunPaused)
    steps = [event for event in before if isinstance(event, StepsCompleted)]
    assert isinstance(paused, RunPaused)
    assert not steps or last_step(steps[-1]) == paused.step
    running.gate.request("run")
    *_, resumed = running.until(RunResumed)
    assert isinstance(resumed, RunResumed)
    assert resumed.step == paused.step
    *_, after = running.until(StepsCompleted)
    assert isinstance(after, StepsCompleted)
    assert after.first_step == paused.step + 1


def test_a_stop_ends_a_run_with_its_reason(run: Callable[..., Running]) -> None:
    running = run()
    running.until(StepsCompleted)
    running.gate.request("stop")
    told = running.until(RunStopped)
    running.end()
    stopped = told[-1]
    steps = [event for event in told if isinstance(event, StepsCompleted)]
    assert isinstance(stopped, RunStopped)
    assert stopped.reason == "requested by the user"
    assert not steps or last_step(steps[-1]) == stopped.step
    assert running.told.empty()


def test_a_paused_run_can_be_stopped(run: Callable[..., Running]) -> None:
    running = run()
    running.until(StepsCompleted)
    running.gate.request("pause")
    running.until(RunPaused)
    running.gate.request("stop")
    *_, stopped = running.until(RunStopped)
    running.end()
    assert isinstance(stopped, RunStopped)


def test_a_run_without_a_turn_can_be_paused_and_stopped(run: Callable[..., Running]) -> None:
    running = run(takes_turns=True)
    assert [type(told) for told in running.until("ready")] == [RunStarted, str]
    running.gate.request("pause")
    assert running.next() == "paused"
    paused = running.next()
    assert isinstance(paused, RunPaused)
    assert paused.step == 0
    running.gate.stop("the supervisor exited")
    *_, stopped = running.until(RunStopped)
    assert isinstance(stopped, RunStopped)
    assert (stopped.step, stopped.reason) == (0, "the supervisor exited")


def test_a_refereed_run_trains_in_its_turns_only(run: Callable[..., Running]) -> None:
    running = run(takes_turns=True)
    running.until("ready")
    running.gate.turn(True)
    running.until(StepsCompleted)
    running.gate.turn(False)
    running.until("yielded")
    running.told.put("(granted anew)")
    running.gate.turn(True)
    assert running.next() == "(granted anew)"
    assert isinstance(running.next(), StepsCompleted)

    running.gate.request("pause")
    running.until("paused")
    assert isinstance(running.next(), RunPaused)
    running.gate.turn(True)  # void
    running.gate.request("run")
    assert running.next() == "resumed"
    assert isinstance(running.next(), RunResumed)
    running.told.put("(granted anew)")
    running.gate.turn(True)
    assert running.next() == "(granted anew)"
    assert isinstance(running.next(), StepsCompleted)

"""A training thread that records nothing, and where it is then."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from mpstui.domain.events import PreparationAdvanced, WarmupFinished
from mpstui.engine.event_recorder import EventRecorder
from mpstui.engine.stall import OTHER_CHECKS, STEP_CHECKS, USUAL_FACTOR, StallWatch, place_of_thread
from mpstui.runs.log import LogWriter
from mpstui.runs.module_copies import SOURCE
from mpstui.runs.rundir import RunDir


@pytest.fixture
def recorder(tmp_path: Path) -> Iterator[EventRecorder]:
    run = RunDir(tmp_path)
    with LogWriter(run.events) as log:
        yield EventRecorder(run, log)


def progress(recorder: EventRecorder) -> None:
    recorder.record(WarmupFinished(at=1.0, steps=1, seconds=1.0))


def checks_until_stall(watch: StallWatch) -> int:
    for number in range(1, 10_000):
        if watch.check(False) is not None:
            return number
    raise AssertionError("no stall")


def test_training_is_stalled_after_a_while_and_once(recorder: EventRecorder) -> None:
    progress(recorder)
    watch = StallWatch(recorder, lambda: None)
    assert watch.check(False) is None  # the first check begins the count
    assert checks_until_stall(watch) == STEP_CHECKS
    assert watch.check(False) is None
    progress(recorder)
    assert watch.check(False) is None
    assert checks_until_stall(watch) == USUAL_FACTOR * (STEP_CHECKS + 1)  # it has stalled before


def test_preparation_may_take_longer(recorder: EventRecorder) -> None:
    recorder.record(PreparationAdvanced(at=1.0, stage="building model and data"))
    watch = StallWatch(recorder, lambda: None)
    watch.check(False)
    assert checks_until_stall(watch) == OTHER_CHECKS


def test_slow_steps_are_usual(recorder: EventRecorder) -> None:
    progress(recorder)
    watch = StallWatch(recorder, lambda: None)
    for _ in range(20):
        watch.check(False)
    progress(recorder)
    watch.check(False)
    assert checks_until_stall(watch) == USUAL_FACTOR * 19


def test_waiting_for_a_turn_or_in_a_pause_is_no_stall(recorder: EventRecorder) -> None:
    progress(recorder)
    watch = StallWatch(recorder, lambda: None)
    for _ in range(1000):
        assert watch.check(True) is None
    assert checks_until_stall(watch) == STEP_CHECKS


def test_what_a_wait_interrupts_was_not_the_longest_time(recorder: EventRecorder) -> None:
    progress(recorder)
    watch = StallWatch(recorder, lambda: None)
    for _ in range(STEP_CHECKS):
        assert watch.check(False) is None
    assert watch.check(True) is None
    assert checks_until_stall(watch) == STEP_CHECKS


def test_the_place_is_the_users_line_or_a_librarys() -> None:
    entered, leave = threading.Event(), threading.Event()
    own: dict[str, object] = {"entered": entered, "leave": leave, SOURCE: "here"}
    code = "def objective():\n    entered.set()\n    leave.wait()\n"
    exec(compile(code, "/somewhere/my_model.py", "exec"), own)
    for run, place in (
        (own["objective"], "my_model.py:3, in objective"),
        (leave.wait, "threading"),
    ):
        thread = threading.Thread(target=run)  # type: ignore[arg-type]
        entered.clear()
        leave.clear()
        thread.start()
        if run is own["objective"]:
            entered.wait()
        shown = place_of_thread(thread.ident)
        leave.set()
        thread.join()
        assert place in shown
    assert place_of_thread(None) == ""

from __future__ import annotations

import struct
import sys
from datetime import datetime
from pathlib import Path

import pytest

from mpstui.domain.config import make_config
from mpstui.domain.devices import parse_devices
from mpstui.domain.events import AlarmRaised, RunFinished, RunStarted, StepsCompleted
from mpstui.domain.history import RunState
from mpstui.runs import supervisor, workers
from mpstui.runs.log import LogReader, LogWriter
from mpstui.runs.rundir import Dataset, Exit, RunDir
from mpstui.runs.store import RunStore
from mpstui.runs.turns import HANG_SECONDS, TURN_SECONDS, Turns
from mpstui.runs.view import RunView
from mpstui.telemetry.machine import read_machine


class Talker:
    """A worker as the turns see it, without a process."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.state = "starting"
        self.heard: list[str] = []
        self.seconds_used = 0.0
        self.run = RunDir(Path(name))

    def cpu_seconds(self) -> float:
        return self.seconds_used

    def send(self, word: str) -> None:
        self.heard.append(word)
        self.state = {"go": "running", "wait": "yielding"}[word]


def make(*names: str, exclusive: bool = True) -> tuple[Turns, list[Talker]]:
    workers = [Talker(name) for name in names]
    return Turns(workers, exclusive), workers  # type: ignore[arg-type]


def test_nobody_starts_before_all_are_ready() -> None:
    turns, (a, b) = make("a", "b")
    a.state = "ready"
    turns.grant(0.0)
    assert a.heard == []
    b.state = "ready"
    turns.grant(0.0)
    assert (a.heard, b.heard) == (["go"], [])


def test_one_trains_at_a_time_and_they_alternate() -> None:
    turns, (a, b) = make("a", "b")
    a.state = b.state = "ready"
    order: list[str] = []
    now = 0.0
    for _ in range(6):
        turns.grant(now)
        active = [worker for worker in (a, b) if worker.state == "running"]
        assert len(active) == 1
        order.append(active[0].name)
        turns.grant(now + TURN_SECONDS / 2)
        assert active[0].state == "running"
        now += TURN_SECONDS
        turns.grant(now)
        assert active[0].state == "yielding"
        turns.grant(now)
        assert [worker for worker in (a, b) if worker.state == "running"] == []
        active[0].state = "ready"
    assert order == ["a", "b", "a", "b", "a", "b"]


@pytest.mark.parametrize("exclusive", [True, False])
def test_the_others_go_on_without_one_that_hangs_in_its_set_up(exclusive: bool) -> None:
    turns, (hung, *others) = make("hung", "b", "c", exclusive=exclusive)
    for worker in others:
        worker.state = "ready"
    for now in range(int(HANG_SECONDS)):
        turns.grant(float(now))
    assert [worker.heard for worker in others] == [[], []]
    turns.grant(HANG_SECONDS)
    assert [worker.state for worker in others] == ["running", "ready" if exclusive else "running"]
    hung.state = "ready"  # it was only slow, and queues for its turn
    turns.grant(HANG_SECONDS + TURN_SECONDS)
    for worker in others:
        worker.state = "gone"
    turns.grant(HANG_SECONDS + TURN_SECONDS)
    assert hung.heard == ["go"]


def test_a_worker_that_works_in_its_set_up_is_awaited_for_longer() -> None:
    turns, (slow, other) = make("slow", "b")
    other.state = "ready"
    for now in range(2 * int(HANG_SECONDS)):
        slow.seconds_used = float(now)
        turns.grant(float(now))
    assert other.heard == []


def test_a_hang_is_counted_from_when_another_waits_and_by_the_second() -> None:
    turns, (hung, other) = make("hung", "b")
    for tenth in range(20 * int(HANG_SECONDS)):  # nobody waits for it
        turns.grant(tenth / 10)
    other.state = "ready"
    now = 2 * HANG_SECONDS
    for tenth in range(10 * int(HANG_SECONDS) - 10):
        turns.grant(now + tenth / 10)
    assert other.heard == []
    hung.state = "ready"
    turns.grant(3 * HANG_SECONDS)
    assert hung.heard == ["go"]
    turns.grant(3 * HANG_SECONDS + TURN_SECONDS)
    for second in range(int(HANG_SECONDS) - 1):  # its turn has a time of its own
        turns.grant(3 * HANG_SECONDS + TURN_SECONDS + second)
    assert (hung.state, other.heard) == ("yielding", [])


def test_one_that_hangs_in_its_turn_does_not_keep_the_others_from_theirs() -> None:
    turns, (hung, other) = make("hung", "b")
    hung.state = other.state = "ready"
    for now in range(int(HANG_SECONDS + TURN_SECONDS)):
        turns.grant(float(now))
    assert (hung.heard, other.heard) == (["go", "wait"], [])
    turns.grant(HANG_SECONDS + TURN_SECONDS)
    turns.grant(HANG_SECONDS + TURN_SECONDS + 1)
    assert other.heard == ["go"]


def test_a_paused_or_gone_run_is_passed_over_and_the_last_one_is_not_interrupted() -> None:
    turns, (a, b, c) = make("a", "b", "c")
    a.state, b.state, c.state = "ready", "paused", "gone"
    for now in (0.0, TURN_SECONDS, 5 * TURN_SECONDS):
        turns.grant(now)
    assert a.heard == ["go"]
    b.state = "ready"  # resumed
    turns.grant(6 * TURN_SECONDS)
    assert a.heard == ["go", "wait"]


def test_together_all_go_at_once() -> None:
    turns, (a, b) = make("a", "b", exclusive=False)
    a.state = b.state = "ready"
    turns.grant(0.0)
    turns.grant(100.0)
    assert a.heard == b.heard == ["go"]


class Training:
    """A worker as a watch sees it, without a process."""

    def __init__(self, run: RunDir, state: str) -> None:
        self.run, self.state = run, state
        self.heard: list[str] = []

    def cpu_seconds(self) -> float:
        return 0.0

    def send(self, word: str) -> None:
        self.heard.append(word)


@pytest.fixture
def pair(tmp_path: Path) -> list[RunDir]:
    return create(tmp_path, "cpu,cpu@threads=1")


def create(root: Path, devices: str) -> list[RunDir]:
    config, specs = make_config({"dataset": "embedded"}), parse_devices(devices)
    return RunStore(root).create(config, specs, read_machine(), datetime.now())


def log_losses(run: RunDir, loss: float, count: int = 40, finished: bool = False) -> None:
    losses = struct.pack(f"<{count}f", *[loss] * count)
    with LogWriter(run.events) as log:
        log.append(
            StepsCompleted(
                at=2.0,
                epoch=1,
                first_step=1,
                losses=losses,
                samples=64 * count,
                epoch_samples=64 * count,
                seconds=0.5,
                timed=True,
                lr=0.1,
            )
        )
        if finished:
            log.append(RunFinished(at=3.0, step=count))


@pytest.mark.parametrize("who_is_first", ["the reference", "the run"])
def test_an_alarm_of_a_run_that_is_over_is_not_lost(pair: list[RunDir], who_is_first: str) -> None:
    first, second = pair
    worker = Training(second, "running")
    watch = supervisor.GapWatch(first, worker)  # type: ignore[arg-type]
    view = RunView(second)
    if who_is_first == "the reference":
        log_losses(first, 1.0)
        watch.check(0.0)
    log_losses(second, 9.0, finished=True)
    view.catch_up()
    second.write_summary(view.summary())
    worker.state = "gone"
    watch.check(10.0)
    log_losses(first, 1.0)
    watch.check(20.0)
    assert worker.heard == []
    view.catch_up()
    assert view.history.alarm is not None
    assert (view.history.state, view.history.alarm.step) == (RunState.FINISHED, 20)
    assert view.history.last_at == 3.0  # the run itself ended then
    summary = second.summary()
    assert summary is not None
    assert (summary.parted_at, summary.parted_from) == (20, "cpu")


def test_an_alarm_that_a_worker_did_not_live_to_hear_is_logged_once(pair: list[RunDir]) -> None:
    first, second = pair
    worker = Training(second, "running")
    watch = supervisor.GapWatch(first, worker)  # type: ignore[arg-type]
    log_losses(first, 1.0)
    log_losses(second, 9.0)
    for now in (0.0, 10.0):
        watch.check(now)
    (word,) = worker.heard
    assert word.startswith("alarm ")
    worker.state = "gone"
    for now in (20.0, 30.0):
        watch.check(now)
    alarms = [e for e in LogReader(second.events).rest() if isinstance(e, AlarmRaised)]
    assert [alarm.step for alarm in alarms] == [20]


def log_alarm(run: RunDir) -> None:
    alarm = AlarmRaised(
        at=2.5, step=20, value=9.0, other=1.0, gap=8.0, against="cpu", policy="continue"
    )
    with LogWriter(run.events) as log:
        log.append(alarm)


def test_an_alarm_that_the_worker_has_logged_is_not_sent_again(pair: list[RunDir]) -> None:
    first, second = pair
    worker = Training(second, "running")
    watch = supervisor.GapWatch(first, worker)  # type: ignore[arg-type]
    log_losses(first, 1.0)
    log_losses(second, 9.0)
    log_alarm(second)
    watch.check(0.0)
    assert worker.heard == []


def test_an_alarm_logged_by_a_worker_that_then_exits_is_logged_once(pair: list[RunDir]) -> None:
    first, second = pair

    class Exits(Training):
        """It logs its alarm and exits while the supervisor looks."""

        state = property(lambda self: self.look(), lambda self, state: None)

        def look(self) -> str:
            log_alarm(second)
            return "gone"

    watch = supervisor.GapWatch(first, Exits(second, ""))  # type: ignore[arg-type]
    log_losses(first, 1.0)
    log_losses(second, 9.0)
    watch.check(0.0)
    alarms = [e for e in LogReader(second.events).rest() if isinstance(e, AlarmRaised)]
    assert len(alarms) == 1


def test_a_log_that_cannot_be_read_ends_no_supervisor(capsys: pytest.CaptureFixture[str]) -> None:
    class Unreadable:
        def check(self, now: float) -> None:
            raise PermissionError(13, "denied")

    supervisor._check([Unreadable()], 0.0)  # type: ignore[list-item]
    assert "no check for an alarm: [Errno 13] denied" in capsys.readouterr().err


def test_a_run_is_only_watched_against_a_run_with_the_same_settings(tmp_path: Path) -> None:
    devices = "cpu@set.lr=0.1,cpu@threads=1@set.lr=0.1,cpu@set.lr=0.2,cpu@threads=1@set.lr=0.2"
    runs = create(tmp_path, devices)
    workers = [Training(run, "running") for run in runs]
    watches = supervisor.watches_of(workers)  # type: ignore[arg-type]
    for run, loss in zip(runs, (1.0, 1.0, 9.0, 90.0), strict=True):
        log_losses(run, loss)
    for watch in watches:
        watch.check(0.0)
    assert [len(worker.heard) for worker in workers] == [0, 0, 0, 1]
    assert '"cpu@set.lr=0.2"' in workers[3].heard[0]


def test_a_line_that_a_process_died_in_does_not_swallow_the_next(run: RunDir) -> None:
    log_losses(run, 1.0)
    with run.events.open("ab") as file:
        file.write(b'{"event":"StepsCom')
    log_losses(run, 2.0, finished=True)
    reader = LogReader(run.events)
    assert [type(event).__name__ for event in reader.rest()] == [
        "StepsCompleted",
        "StepsCompleted",
        "RunFinished",
    ]
    assert reader.unreadable == 1


@pytest.fixture
def run(tmp_path: Path) -> RunDir:
    config = make_config({"dataset": "embedded"})
    made = RunStore(tmp_path).create(config, parse_devices("cpu"), read_machine(), datetime.now())
    made[0].write_dataset(Dataset(source="embedded"))
    return made[0]


def log_some(run: RunDir, finished: bool = False) -> None:
    with LogWriter(run.events) as log:
        log.append(
            RunStarted(
                at=1.0,
                workload="mnist",
                device="cpu",
                device_name="CPU",
                torch="2",
                dataset="d",
                train_samples=1,
                test_samples=1,
                parameters=1,
                steps_per_epoch=938,
                total_steps=938,
                threads=1,
            )
        )
        log.append(
            StepsCompleted(
                at=2.0,
                epoch=1,
                first_step=1,
                losses=b"\0" * 4 * 412,
                samples=412,
                epoch_samples=412,
                seconds=1.0,
                timed=True,
                lr=1.0,
            )
        )
        if finished:
            log.append(RunFinished(at=3.0, step=412))


ABORTS = "import os, sys; sys.stderr.write('failed assertion\\n'); sys.stderr.flush(); os.abort()"
SLEEPS = "import sys; print('ready', flush=True); sys.stdin.read()"


def worker_is(monkeypatch: pytest.MonkeyPatch, code: str) -> None:
    monkeypatch.setattr(workers, "module_command", lambda *_: [sys.executable, "-c", code])


@pytest.mark.skipif(sys.platform == "win32", reason="no signals there")
def test_a_worker_that_aborts_is_a_fact(run: RunDir, monkeypatch: pytest.MonkeyPatch) -> None:
    worker_is(monkeypatch, ABORTS)
    log_some(run)
    supervisor.keep([run])
    assert run.exit() == Exit(code=-6)
    view = RunView(run)
    view.refresh()
    assert view.history.state is RunState.CRASHED
    assert view.history.message.startswith("crashed (SIGABRT) at step 412")
    assert "failed assertion" in view.history.message


def test_a_request_to_kill_ends_the_worker(run: RunDir, monkeypatch: pytest.MonkeyPatch) -> None:
    worker_is(monkeypatch, SLEEPS)
    log_some(run)
    run.write_request("kill")
    supervisor.keep([run])
    exit = run.exit()
    assert exit is not None
    assert exit.killed
    view = RunView(run)
    view.refresh()
    assert view.history.state is RunState.KILLED


def test_an_end_that_was_logged_counts_more_than_how_the_process_ended(run: RunDir) -> None:
    log_some(run, finished=True)
    run.write_exit(Exit(code=1))
    view = RunView(run)
    view.refresh()
    assert view.history.state is RunState.FINISHED


def test_a_run_that_nobody_looks_after_has_vanished(run: RunDir) -> None:
    log_some(run)
    view = RunView(run)
    view.refresh()
    assert view.history.state is RunState.CRASHED
    assert "exited without a message" in view.history.message


def test_a_run_that_is_looked_after_goes_on(run: RunDir) -> None:
    import os

    log_some(run)
    run.record_supervisor(os.getpid())
    view = RunView(run)
    view.refresh()
    assert view.history.state is RunState.WARMING_UP

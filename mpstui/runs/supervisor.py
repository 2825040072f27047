"""The supervisor: starts the workers of a run or a comparison, assigns turns and records exits.

``python -m mpstui.runs.supervisor RUN_DIR…``. It doesn't import torch and sleeps most of the time.
With ``--warm N`` instead of runs it prestarts N workers, which import torch. Their runs
follow as a line on stdin; if stdin is closed instead, all workers exit. With ``--facts`` behind it,
it prints a line with torch's facts, which the last of these workers knows.
"""

from __future__ import annotations

import contextlib
import json
import math
import os
import queue
import sys
import time
from collections.abc import Iterable, Sequence
from pathlib import Path

import msgspec

from mpstui.domain.errors import LogError
from mpstui.domain.events import AlarmRaised, AnyEvent, StartHashed, StepsCompleted
from mpstui.domain.loss_gap import LossGapMonitor
from mpstui.domain.same_settings import references
from mpstui.domain.start_gap import describe_start_gap
from mpstui.processes.command import FACTS_FLAG
from mpstui.processes.stdio import print_error

from .control import GapAlarm
from .dataset import settle_dataset
from .log import LogReader, LogWriter
from .rundir import RunDir
from .turns import Turns
from .workers import RunWorker, SpareWorker

POLL_SECONDS = 0.1
WATCH_SECONDS = 0.5


class GapWatch:
    """Follows two logs of a comparison and raises the alarm when a run diverges from its reference.

    The supervisor does this, since no worker sees another's losses. The worker logs the alarm,
    since a log has one writer; once the worker has exited, its supervisor is that writer. So no
    alarm is lost if a run ends before the first run, or between two checks.
    """

    def __init__(self, first: RunDir, worker: RunWorker) -> None:
        self._course = LossGapMonitor()
        self._worker = worker
        self._against = first.config().device
        self._first, self._second = LogReader(first.events), LogReader(worker.run.events)
        self._next_check = 0.0
        self._sent = self._logged = False
        self._starts: list[StartHashed | None] = [None, None]

    def check(self, now: float) -> None:
        """Read new events a few times a second until the alarm is logged. ``now`` is monotonic."""
        if now < self._next_check or self._logged:
            return
        self._next_check = now + WATCH_SECONDS
        worker_exited = (
            self._worker.state == "gone"
        )  # read before the log, so that the log is complete if True
        events = list(self._second.rest())
        self._logged = any(isinstance(event, AlarmRaised) for event in events)
        first_events = list(self._first.rest())
        self._course.add(_losses(events), _losses(first_events))
        self._starts = [
            _start_in(own) or start
            for own, start in zip((events, first_events), self._starts, strict=True)
        ]
        block = self._course.diverged
        if block is None or self._logged or describe_start_gap(*self._starts):
            return
        alarm = GapAlarm(self._against, block.step, block.value, block.reference, block.gap)
        if worker_exited:
            _log_alarm(self._worker.run, alarm)
            self._logged = True
        elif not self._sent:
            self._worker.send(f"alarm {msgspec.json.encode(alarm).decode()}")
            self._sent = True


def watches_of(workers: Sequence[RunWorker]) -> list[GapWatch]:
    """Return a watch for each run that has a reference: an earlier run with the same settings."""
    runs = [worker.run for worker in workers]
    places = references([run.config().set_values for run in runs])
    return [
        GapWatch(runs[place], worker)
        for place, worker in zip(places, workers, strict=True)
        if place is not None
    ]


def _start_in(events: Iterable[AnyEvent]) -> StartHashed | None:
    return next((event for event in events if isinstance(event, StartHashed)), None)


def _losses(events: Iterable[AnyEvent]) -> list[float]:
    steps = (event for event in events if isinstance(event, StepsCompleted) and event.has_loss)
    return [loss for event in steps for loss in event.values()]


def _log_alarm(run: RunDir, alarm: GapAlarm) -> None:
    """Log the alarm of a run whose worker has exited, and update its summary if it has one."""
    from mpstui.domain.summarise import summarise  # imports numpy, which a supervisor seldom needs

    from .view import RunView

    with LogWriter(run.events) as log:
        log.append(alarm.event(time.time(), run.config().on_alarm))
    if run.summary() is not None:
        view = RunView(run)
        view.catch_up()
        run.write_summary(summarise(run.id, view.config, view.machine, view.history))


def keep(runs: Sequence[RunDir], spares: Sequence[SpareWorker] = ()) -> None:
    """Supervise runs until every worker has exited.

    Args:
        runs: The runs to train.
        spares: Prestarted workers for the first of them; surplus ones are killed.
    """
    for spare in spares[len(runs) :]:
        spare.end()
    settle_dataset(runs)
    messages: queue.Queue[tuple[RunWorker, str]] = queue.Queue()
    spare_per_run = [*spares, *(None for _ in runs)]
    workers = [
        RunWorker(run, messages, spare) for run, spare in zip(runs, spare_per_run, strict=False)
    ]
    exclusive = len(runs) > 1 and runs[0].config().mode == "turns"
    turns = Turns(workers, exclusive)
    watches = watches_of(workers)
    while any(worker.state != "gone" for worker in workers):
        try:
            worker, message = messages.get(timeout=POLL_SECONDS)
        except queue.Empty:
            pass
        else:
            worker.receive(message)
        for worker in workers:
            worker.kill_if_requested()
        turns.grant(time.monotonic())
        _check(watches, time.monotonic())
    _check(watches, math.inf)


def _check(watches: Sequence[GapWatch], now: float) -> None:
    """Check for alarms; a log that cannot be read or written ends no run."""
    for watch in watches:
        try:
            watch.check(now)
        except (OSError, LogError) as error:
            print_error(f"no check for an alarm: {error}")


def wait_for_runs(count: int, asks_facts: bool) -> None:
    """Prestart workers, then supervise the runs that the starting process sends.

    Args:
        count: The number of workers.
        asks_facts: Print torch's facts. The last worker may open an accelerator for them: in a
            comparison, the CPU is the first.
    """
    spares = [SpareWorker() for _ in range(count - 1)]
    spares.append(SpareWorker(_print_facts if asks_facts else None))
    line = sys.stdin.readline()
    if not line.endswith("\n"):  # the app has exited without starting runs
        for spare in spares:
            spare.end()
        return
    runs = [RunDir(Path(path)) for path in json.loads(line)]
    with (runs[0].path / "supervisor.log").open("ab") as log:
        for stream in (1, 2):
            os.dup2(log.fileno(), stream)
    keep(runs, spares)


def _print_facts(line: str) -> None:
    with contextlib.suppress(OSError):  # the command that asked has ended
        sys.stdout.write(line.strip() + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    if sys.argv[1] == "--warm":
        wait_for_runs(int(sys.argv[2]), FACTS_FLAG in sys.argv)
    else:
        keep([RunDir(Path(argument)) for argument in sys.argv[1:]])

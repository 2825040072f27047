"""The keeper: starts the workers of a run or a comparison, gives them turns, writes how they ended.

``python -m mpstui.runs.supervisor RUN_DIR…``. It imports no torch and sleeps most of the time.
``--warm N`` in place of the runs starts N workers that import torch ahead of their runs, which come
as a line on stdin; when stdin is closed instead, nobody wants any and all end.
"""

from __future__ import annotations

import json
import math
import os
import queue
import struct
import sys
import time
from collections.abc import Iterable, Sequence
from pathlib import Path

import msgspec

from mpstui.domain.events import AlarmRaised, AnyEvent, StepsCompleted
from mpstui.domain.loss_gap import LossGapMonitor

from .control import GapAlarm
from .dataset import settle_dataset
from .log import LogReader, LogWriter
from .rundir import RunDir
from .workers import RunWorker, SpareWorker

TURN_SECONDS = 2.0
"""Long enough that the steps left out at a turn's start are few, short enough to look alive."""

POLL_SECONDS = 0.1
WATCH_SECONDS = 0.5


class Turns:
    """Decides who may train.

    Nobody starts before all are ready, so that no run is timed while another one imports torch.
    """

    def __init__(self, workers: Sequence[RunWorker], exclusive: bool) -> None:
        self._ring = list(workers)
        self._exclusive = exclusive
        self._deadline = 0.0

    def grant(self, now: float) -> None:
        """Hand out and take back turns as the states ask for it. ``now`` is monotonic, seconds."""
        if any(worker.state == "starting" for worker in self._ring):
            return
        ready = [worker for worker in self._ring if worker.state == "ready"]
        if not self._exclusive:
            for worker in ready:
                worker.tell("go")
            return
        active = [worker for worker in self._ring if worker.state in ("running", "yielding")]
        if not active and ready:
            chosen = ready[0]
            self._ring.remove(chosen)
            self._ring.append(chosen)  # last in line for the next turn
            chosen.tell("go")
            self._deadline = now + TURN_SECONDS
        elif ready and active[0].state == "running" and now >= self._deadline:
            active[0].tell("wait")


class GapWatch:
    """Follows two logs of a comparison, and has the alarm logged when a run leaves the first's.

    The keeper does it, since no worker sees another's losses. The worker logs the alarm, since a
    log has one writer; once the worker is gone, its keeper is that writer. So a run that ends
    before the first one does, or within one look, loses no alarm.
    """

    def __init__(self, first: RunDir, worker: RunWorker) -> None:
        self._course = LossGapMonitor()
        self._worker = worker
        self._against = first.config().device
        self._first, self._second = LogReader(first.events), LogReader(worker.run.events)
        self._next = 0.0
        self._sent = self._logged = False

    def look(self, now: float) -> None:
        """Read on, a few times a second, until the alarm is in the log. ``now`` is monotonic."""
        if now < self._next or self._logged:
            return
        self._next = now + WATCH_SECONDS
        gone = self._worker.state == "gone"  # looked up first: then the log below is whole
        events = list(self._second.rest())
        self._logged = any(isinstance(event, AlarmRaised) for event in events)
        self._course.take(_losses(events), _losses(self._first.rest()))
        block = self._course.parted
        if block is None or self._logged:
            return
        alarm = GapAlarm(self._against, block.step, block.value, block.other, block.gap)
        if gone:
            _log_alarm(self._worker.run, alarm)
            self._logged = True
        elif not self._sent:
            self._worker.tell(f"alarm {msgspec.json.encode(alarm).decode()}")
            self._sent = True


def _losses(events: Iterable[AnyEvent]) -> list[float]:
    steps = (event for event in events if isinstance(event, StepsCompleted))
    return [loss for event in steps for (loss,) in struct.iter_unpack("<f", event.losses)]


def _log_alarm(run: RunDir, alarm: GapAlarm) -> None:
    """Log the alarm of a run whose worker is gone, and renew its summary if there is one."""
    from mpstui.domain.summarise import summarise  # with numpy, which a keeper seldom needs

    from .view import RunView

    with LogWriter(run.events) as log:
        log.append(alarm.event(time.time(), run.config().on_alarm))
    if run.summary() is not None:
        view = RunView(run)
        view.catch_up()
        run.write_summary(summarise(run.id, view.config, view.machine, view.history))


def keep(runs: Sequence[RunDir], spares: Sequence[SpareWorker] = ()) -> None:
    """Look after some runs until each worker is gone.

    Args:
        runs: What to train.
        spares: Warm workers for the first of them; those that are too many are ended.
    """
    for spare in spares[len(runs) :]:
        spare.end()
    settle_dataset(runs)
    said: queue.Queue[tuple[RunWorker, str]] = queue.Queue()
    warm = [*spares, *(None for _ in runs)]
    workers = [RunWorker(run, said, spare) for run, spare in zip(runs, warm, strict=False)]
    exclusive = len(runs) > 1 and runs[0].config().mode == "turns"
    turns = Turns(workers, exclusive)
    watches = [GapWatch(runs[0], worker) for worker in workers[1:]]
    while any(worker.state != "gone" for worker in workers):
        try:
            worker, word = said.get(timeout=POLL_SECONDS)
        except queue.Empty:
            pass
        else:
            worker.hear(word)
        for worker in workers:
            worker.obey()
        turns.grant(time.monotonic())
        for watch in watches:
            watch.look(time.monotonic())
    for watch in watches:
        watch.look(math.inf)


def wait_for_runs(count: int) -> None:
    """Warm some workers, and keep the runs that whoever started this hands over."""
    spares = [SpareWorker() for _ in range(count)]
    line = sys.stdin.readline()
    if not line.endswith("\n"):  # the app is gone, and nobody wants to train
        for spare in spares:
            spare.end()
        return
    runs = [RunDir(Path(path)) for path in json.loads(line)]
    with (runs[0].path / "keeper.log").open("ab") as log:
        for stream in (1, 2):
            os.dup2(log.fileno(), stream)
    keep(runs, spares)


if __name__ == "__main__":
    if sys.argv[1] == "--warm":
        wait_for_runs(int(sys.argv[2]))
    else:
        keep([RunDir(Path(argument)) for argument in sys.argv[1:]])

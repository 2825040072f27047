"""The keeper: starts the workers of a run or a comparison, gives them turns, writes how they ended.

``python -m mpstui.runs.keeper RUN_DIR…``. It imports no torch and sleeps most of the time. Between
it and a worker go single words, one a line: ``go``, ``wait`` and ``alarm …`` one way; ``ready``,
``yielded``, ``paused`` and ``resumed`` the other.
"""

from __future__ import annotations

import queue
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from pathlib import Path

import msgspec

from mpstui.domain.course import Course
from mpstui.domain.events import StepsCompleted

from .child import environment, module_command
from .control import Parted
from .dataset import settle_dataset
from .log import LogReader
from .rundir import Exit, RunDir

TURN_SECONDS = 2.0
"""Long enough that the steps left out at a turn's start are few, short enough to look alive."""

POLL_SECONDS = 0.1
WATCH_SECONDS = 0.5


class Worker:
    """A worker process as its keeper knows it."""

    def __init__(self, run: RunDir, said: queue.Queue[tuple[Worker, str]]) -> None:
        self.run = run
        self.state = "starting"
        """``starting``, ``ready``, ``running``, ``yielding``, ``paused`` or ``gone``."""
        self._killed = False
        with run.worker_log.open("ab") as log:
            self._process = subprocess.Popen(
                module_command("mpstui.engine.worker", str(run.path)),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
                bufsize=1,
                errors="replace",
                env=environment(),
            )
        threading.Thread(target=self._listen, args=(said,), daemon=True).start()

    def _listen(self, said: queue.Queue[tuple[Worker, str]]) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            said.put((self, line.strip()))
        code = self._process.wait()
        self.run.write_exit(Exit(code=code, killed=self._killed))
        said.put((self, "gone"))

    def tell(self, word: str) -> None:
        """Say a word to the worker; one that is gone does not hear it."""
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(f"{word}\n")
            self._process.stdin.flush()
        except (BrokenPipeError, OSError):
            pass
        else:
            self.state = {"go": "running", "wait": "yielding"}.get(word, self.state)

    def hear(self, word: str) -> None:
        """Take in what the worker said."""
        states = {
            "ready": "ready",
            "yielded": "ready",
            "resumed": "ready",
            "paused": "paused",
            "gone": "gone",
        }
        self.state = states.get(word, self.state)

    def obey(self) -> None:
        """End the process if a person asks for that."""
        if not self._killed and self.state != "gone" and self.run.wish() == "kill":
            self._killed = True
            self._process.kill()


class Turns:
    """Decides who may train.

    Nobody starts before all are ready, so that no run is timed while another one imports torch.
    """

    def __init__(self, workers: Sequence[Worker], exclusive: bool) -> None:
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


class Watch:
    """Follows two logs of a comparison, and tells a worker when its run leaves the first's.

    The keeper does it, since no worker sees another's losses; the worker logs the alarm, since a
    log has one writer.
    """

    def __init__(self, first: RunDir, worker: Worker) -> None:
        self._course = Course()
        self._worker = worker
        self._against = first.config().device
        self._first, self._second = LogReader(first.events), LogReader(worker.run.events)
        self._next = 0.0

    def look(self, now: float) -> None:
        """Read on, a few times a second, until the alarm was raised. ``now`` is monotonic."""
        if now < self._next or self._course.parted is not None or self._worker.state == "gone":
            return
        self._next = now + WATCH_SECONDS
        self._course.take(_losses(self._second), _losses(self._first))
        if (block := self._course.parted) is not None:
            alarm = Parted(self._against, block.step, block.value, block.other, block.gap)
            self._worker.tell(f"alarm {msgspec.json.encode(alarm).decode()}")


def _losses(log: LogReader) -> list[float]:
    steps = (event for event in log.read() if isinstance(event, StepsCompleted))
    return [loss for event in steps for (loss,) in struct.iter_unpack("<f", event.losses)]


def keep(runs: Sequence[RunDir]) -> None:
    """Look after some runs until each worker is gone."""
    settle_dataset(runs)
    said: queue.Queue[tuple[Worker, str]] = queue.Queue()
    workers = [Worker(run, said) for run in runs]
    exclusive = len(runs) > 1 and runs[0].config().mode == "turns"
    turns = Turns(workers, exclusive)
    watches = [Watch(runs[0], worker) for worker in workers[1:]]
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


if __name__ == "__main__":
    keep([RunDir(Path(argument)) for argument in sys.argv[1:]])

"""The worker: ``python -m mpstui.engine.worker RUN_DIR``. One process for each run.

A training thread does everything of the run that touches torch (two threads would open two OpenMP
pools, and two threads on MPS crash); the main thread obeys control.json and samples psutil. A
process, because a Metal assertion aborts it and cannot be caught.
"""

from __future__ import annotations

import contextlib
import os
import sys
import threading
import time
import traceback
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, TextIO

import msgspec

from mpstui.domain.errors import MpstuiError
from mpstui.domain.events import (
    AlarmRaised,
    AnyEvent,
    DivergenceDetected,
    PreparationAdvanced,
    RunFailed,
    SystemSampled,
)
from mpstui.domain.history import RunHistory
from mpstui.domain.summarise import summarise
from mpstui.runs.control import Parted
from mpstui.runs.log import LogReader, LogWriter
from mpstui.runs.rundir import Dataset, RunDir
from mpstui.telemetry.energy import EnergyMeter, find_sources, open_cpu_power, together
from mpstui.telemetry.gpu import open_gpu
from mpstui.telemetry.system import SystemSampler

from .gate import Gate

if TYPE_CHECKING:  # torch is imported by the training thread, when its time has come
    from .setup import Setup
    from .snapshots import Progress

POLL_SECONDS = 0.1
SAMPLE_SECONDS = 1.0


class Diary:
    """The run's log, and the history that goes with it; every thread of the worker tells it."""

    def __init__(self, run: RunDir, log: LogWriter) -> None:
        self.history = RunHistory()
        self._log = log
        self._lock = threading.Lock()
        # What the keeper did before there was a worker, and the steps of a run that is resumed.
        reader = LogReader(run.events)
        while events := reader.read():
            for told in events:
                self.history.apply(told)

    def tell(self, event: AnyEvent) -> None:
        """Take one fact in, and write it down."""
        with self._lock:
            self.history.apply(event)
            self._log.append(event)


def train_run(
    run: RunDir, gate: Gate, diary: Diary, energy: Callable[[], float | None] | None = None
) -> None:
    """Train a run from its directory, in the calling thread, to its end.

    What goes wrong becomes a ``RunFailed`` event, with the traceback on stderr.

    Args:
        run: Where it is described, and kept.
        gate: What may hold it.
        diary: What it tells.
        energy: Joules since some moment that stays the same; None where unknown.

    Raises:
        LogError: When config.toml cannot be read.
    """
    tell, step = diary.tell, diary.history.step
    config = run.config()
    try:
        tell(PreparationAdvanced(at=time.time(), stage="importing torch"))
        from .loop import Loop
        from .setup import set_up
        from .snapshot_budget import Snapshots

        tell(PreparationAdvanced(at=time.time(), stage="building model and data"))
        setup = set_up(config, run.dataset() or Dataset(source="embedded"), run.path)
        setup, resume = _resumed(run, setup)
        snapshots = Snapshots(run.path, frozen=lambda: diary.history.alarm is not None)
        loop = Loop(setup, gate, energy=energy, snapshots=snapshots, resume=resume)
        for event in loop.events():
            tell(event)
            step = loop.step
            if isinstance(event, DivergenceDetected):
                act_on_alarm(run, gate, config.on_alarm, f"loss {event.value} at step {event.step}")
    except Exception as error:  # noqa: BLE001 - whatever it was, the log has to say so
        traceback.print_exc()
        line = str(error).splitlines()[0] if str(error) else ""
        shown = line if isinstance(error, MpstuiError) else f"{type(error).__name__}: {line}"
        tell(RunFailed(at=time.time(), step=step, error=shown))
    run.write_summary(summarise(run.id, config, run.machine(), diary.history))


def _resumed(run: RunDir, setup: Setup) -> tuple[Setup, Progress | None]:
    """Put the state of the run into it that it goes on from, where it does.

    Raises:
        LogError: When that snapshot cannot be read.
    """
    resumed = run.resumed()
    if resumed is None:
        return setup, None
    from .snapshots import load_snapshot

    snapshot = load_snapshot(run.snapshot(resumed.step))
    snapshot.restore(setup)
    notes = (*setup.notes, f"resumed from {resumed.run} at step {resumed.step}")
    return replace(setup, notes=notes), snapshot.progress


def main(path: Path) -> None:
    """Be a worker under a keeper."""
    words, keeper = _take_pipes()
    run = RunDir(path)
    gate = Gate(say=_teller(words), refereed=True)
    with LogWriter(run.events) as log:
        diary = Diary(run, log)
        alarms = Alarms(run, gate, diary)
        threading.Thread(target=_hear, args=(keeper, gate, alarms), daemon=True).start()
        energy = EnergyMeter()
        told = (run, gate, diary, energy.joules)
        training = threading.Thread(target=train_run, args=told, name="training")
        training.start()
        try:
            _attend(run, gate, diary, training, energy)
        finally:
            training.join()  # what goes wrong with watching must not cost the run its end


def _take_pipes() -> tuple[TextIO, int]:
    """The pipes to and from the keeper, taken out of stdout's and stdin's place.

    What libraries print must not mix with our words. And a DataLoader's forked process closes its
    ``sys.stdin`` first of all: it would wait for ever for the lock of a thread that reads there.
    """
    words, keeper = os.fdopen(os.dup(1), "w", buffering=1), os.dup(0)
    os.dup2(2, 1)
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.close(nothing)
    return words, keeper


def _teller(words: TextIO) -> Callable[[str], None]:
    def say(word: str) -> None:
        with contextlib.suppress(OSError):  # the keeper is gone, and _hear stops the run
            words.write(f"{word}\n")
            words.flush()

    return say


class Alarms:
    """What a run does when it is off its course, as its config says."""

    def __init__(self, run: RunDir, gate: Gate, diary: Diary) -> None:
        self._run, self._gate, self._diary = run, gate, diary
        self._policy = run.config().on_alarm

    def parted(self, told: Parted) -> None:
        """Log that the run left another's course, and act."""
        self._diary.tell(
            AlarmRaised(
                at=time.time(),
                step=told.step,
                value=told.value,
                other=told.other,
                gap=told.gap,
                against=told.against,
                policy=self._policy,
            )
        )
        why = f"off the course of {told.against} at step {told.step}"
        act_on_alarm(self._run, self._gate, self._policy, why)


def act_on_alarm(run: RunDir, gate: Gate, policy: str, why: str) -> None:
    """Pause a run through its control file, so that a person can let it go on; or stop it."""
    if policy == "pause" and run.wish() == "run":
        run.ask("pause")
        gate.wish("pause")
    elif policy == "stop":
        gate.stop(f"alarm: {why}")


def _hear(keeper: int, gate: Gate, alarms: Alarms) -> None:
    # Plain reads: a thread inside a buffered file would hold its lock when the process ends.
    rest = b""
    while block := os.read(keeper, 64):
        *words, rest = (rest + block).split(b"\n")
        for word in words:
            if word.startswith(b"alarm "):
                alarms.parted(msgspec.json.decode(word.removeprefix(b"alarm "), type=Parted))
            else:
                gate.turn(word.strip() == b"go")
    gate.stop("the keeper is gone")


def _attend(
    run: RunDir, gate: Gate, diary: Diary, training: threading.Thread, energy: EnergyMeter
) -> None:
    sampler = SystemSampler(os.getpid())
    sampler.sample()  # the first reading of psutil has no interval to speak of
    device = run.config().spec
    # Drivers may take their time to open; here the training thread does not wait for them.
    energy.open(*find_sources(device.type, device.index))
    gpu, processor = open_gpu(device.type, device.index), open_cpu_power()
    next_sample = time.monotonic() + SAMPLE_SECONDS
    while training.is_alive():
        gate.wish(run.wish())
        if time.monotonic() >= next_sample:
            next_sample = time.monotonic() + SAMPLE_SECONDS
            reading, gpus, watts = sampler.sample(), gpu.read(), processor.watts()
            diary.tell(
                SystemSampled(
                    at=time.time(),
                    cores=reading.cores,
                    memory_used=reading.memory_used,
                    memory_total=reading.memory_total,
                    swap_used=reading.swap_used,
                    process_cpu=reading.process_cpu,
                    process_rss=reading.process_rss,
                    swap_total=reading.swap_total,
                    gpus=gpus,
                    cpu_watts=watts,
                    power_reason=together(gpu.reason, processor.reason, energy.reason),
                )
            )
        training.join(POLL_SECONDS)


if __name__ == "__main__":
    main(Path(sys.argv[1]))

"""The worker: ``python -m mpstui.engine.worker [RUN_DIR]``. One process for each run.

Without a run it is a warm one: it imports torch, and its supervisor tells it the run later.

A training thread does everything of the run that touches torch (two threads would open two OpenMP
pools, and two threads on MPS crash); the main thread obeys control.json and samples psutil. A
process, because a Metal assertion aborts it and cannot be caught.
"""

from __future__ import annotations

import contextlib
import os
import queue
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import msgspec

from mpstui.domain.alarm import describe_check, fails
from mpstui.domain.errors import MpstuiError
from mpstui.domain.events import (
    AnyEvent,
    DivergenceDetected,
    EvaluationChecked,
    PreparationAdvanced,
    RunFailed,
    StepChecked,
    SystemSampled,
)
from mpstui.domain.history import RunHistory
from mpstui.domain.summarise import summarise
from mpstui.runs.control import GapAlarm
from mpstui.runs.log import LogReader, LogWriter
from mpstui.runs.rundir import Dataset, RunDir
from mpstui.telemetry.energy import EnergyMeter, find_sources, join_reasons, open_cpu_power
from mpstui.telemetry.gpu import open_gpu
from mpstui.telemetry.system import SystemSampler

from .gate import Gate
from .supervisor_pipes import supervisor_words, take_pipes, wait_for_run, word_sender

if TYPE_CHECKING:  # torch is imported by the training thread, when its time has come
    from .loop import SelectPlan
    from .progress import Progress
    from .setup import Setup

POLL_SECONDS = 0.1
SAMPLE_SECONDS = 1.0


class EventRecorder:
    """The run's log, and the history that goes with it; every thread of the worker tells it."""

    def __init__(self, run: RunDir, log: LogWriter) -> None:
        self.history = RunHistory()
        self._log = log
        self._lock = threading.Lock()
        # What the supervisor did before there was a worker, and the steps of a run that is resumed.
        for told in LogReader(run.events).rest():
            self.history.apply(told)

    def tell(self, event: AnyEvent) -> None:
        """Take one fact in, and write it down."""
        with self._lock:
            self.history.apply(event)
            self._log.append(event)


def train_run(
    run: RunDir, gate: Gate, diary: EventRecorder, energy: Callable[[], float | None] | None = None
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
        from .checks.schedule import CheckSchedule
        from .loop import Loop
        from .setup import set_up
        from .snapshot_budget import Snapshots
        from .workloads.check import check_contract

        tell(PreparationAdvanced(at=time.time(), stage="building model and data"))
        setup = set_up(config, run.dataset() or Dataset(source="embedded"), run.path)
        check_contract(setup)
        setup, resume = _resumed(run, setup)
        snapshots = Snapshots(run.path, frozen=lambda: diary.history.alarm is not None)
        chooser = _chooser(run, diary) if config.autotune != "off" else None
        loop = Loop(
            setup,
            gate,
            energy=energy,
            snapshots=snapshots,
            resume=resume,
            select_plan=chooser,
            checks=CheckSchedule() if config.checked else None,
        )
        for event in loop.events():
            tell(event)
            step = loop.step
            if isinstance(event, DivergenceDetected):
                act_on_alarm(run, gate, config.on_alarm, f"loss {event.value} at step {event.step}")
            elif isinstance(event, (StepChecked, EvaluationChecked)) and fails(event):
                act_on_alarm(run, gate, config.on_alarm, describe_check(event))
    except Exception as error:  # noqa: BLE001 - whatever it was, the log has to say so
        traceback.print_exc()
        line = str(error).splitlines()[0] if str(error) else ""
        shown = line if isinstance(error, MpstuiError) else f"{type(error).__name__}: {line}"
        tell(RunFailed(at=time.time(), step=step, error=shown))
    run.write_summary(summarise(run.id, config, run.machine(), diary.history))


def _chooser(run: RunDir, diary: EventRecorder) -> SelectPlan | None:
    """What settles the run's plan; where it is resumed, that of the run that it goes on from."""
    from .autotune.select import PlanSelector

    machine, before = run.machine(), diary.history.plan
    return PlanSelector(machine, before.plan if before else None) if machine else None


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


def main(path: Path | None) -> None:
    """Be a worker under a supervisor: of a run, or with None a warm one, of the run that it is told."""
    said, supervisor = take_pipes()
    words = supervisor_words(supervisor)
    begin: queue.SimpleQueue[WorkerStart] = queue.SimpleQueue()
    told = (begin, path is None)
    # A daemon, lest it wait for ever where what comes before the run's start fails in this thread.
    training = threading.Thread(target=_train, args=told, name="training", daemon=True)
    if path is None:
        training.start()
        path = wait_for_run(words)
    run = RunDir(path)
    gate = Gate(say=word_sender(said), refereed=True)
    with LogWriter(run.events) as log:
        diary = EventRecorder(run, log)
        alarms = Alarms(run, gate, diary)
        threading.Thread(target=_hear, args=(words, gate, alarms), daemon=True).start()
        energy = EnergyMeter()
        begin.put(WorkerStart(run, gate, diary, energy.joules))
        if not training.is_alive():
            training.start()
        try:
            _attend(run, gate, diary, training, energy)
        finally:
            training.join()  # what goes wrong with watching must not cost the run its end


class WorkerStart(NamedTuple):
    """What the training thread is given to begin with: the arguments of ``train_run``."""

    run: RunDir
    gate: Gate
    diary: EventRecorder
    energy: Callable[[], float | None]


def _train(begin: queue.SimpleQueue[WorkerStart], warm: bool) -> None:
    """The training thread, from its start to the run's end."""
    if warm:
        with contextlib.suppress(Exception):  # train_run meets it again, and the run's log tells it
            _import_ahead()
    train_run(*begin.get())


def _import_ahead() -> None:
    """Import what a run needs. No tensor is made and no device opened: that is the run's choice."""
    # Torch imports this one when the first optimizer is made, and it takes as long as torch itself.
    import torch._dynamo  # noqa: F401

    from . import loop, setup, snapshot_budget  # noqa: F401


class Alarms:
    """What a run does when it is off its course, as its config says."""

    def __init__(self, run: RunDir, gate: Gate, diary: EventRecorder) -> None:
        self._run, self._gate, self._diary = run, gate, diary
        self._policy = run.config().on_alarm

    def parted(self, told: GapAlarm) -> None:
        """Log that the run left another's course, and act."""
        self._diary.tell(told.event(time.time(), self._policy))
        why = f"diverged from {told.against} at step {told.step}"
        act_on_alarm(self._run, self._gate, self._policy, why)


def act_on_alarm(run: RunDir, gate: Gate, policy: str, why: str) -> None:
    """Pause a run through its control file, so that the user can let it go on; or stop it."""
    if policy == "pause" and run.request() == "run":
        run.write_request("pause")
        gate.request("pause")
    elif policy == "stop":
        gate.stop(f"alarm: {why}")


def _hear(words: Iterator[bytes], gate: Gate, alarms: Alarms) -> None:
    for word in words:
        if word.startswith(b"alarm "):
            alarms.parted(msgspec.json.decode(word.removeprefix(b"alarm "), type=GapAlarm))
        else:
            gate.turn(word.strip() == b"go")
    gate.stop("the supervisor is gone")


def _attend(
    run: RunDir, gate: Gate, diary: EventRecorder, training: threading.Thread, energy: EnergyMeter
) -> None:
    sampler = SystemSampler(os.getpid())
    sampler.sample()  # the first reading of psutil has no interval to speak of
    device = run.config().spec
    # Drivers may take their time to open; here the training thread does not wait for them.
    energy.open(*find_sources(device.type, device.index))
    gpu, processor = open_gpu(device.type, device.index), open_cpu_power()
    next_sample = time.monotonic() + SAMPLE_SECONDS
    while training.is_alive():
        gate.request(run.request())
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
                    power_reason=join_reasons(gpu.reason, processor.reason, energy.reason),
                )
            )
        training.join(POLL_SECONDS)


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else None)

"""The worker process: ``python -m mpstui.engine.worker [RUN_DIR]``. One for each run.

Without a run directory it is a warm worker: it imports torch, and the supervisor sends the run
later. With ``--facts`` instead, it tells the supervisor first which devices torch has.

A training thread does everything that touches torch (two threads would open two OpenMP pools, and
two threads on MPS crash); the main thread obeys control.json and samples psutil. A run needs its
own process because a Metal assertion aborts the process and can't be caught.
"""

from __future__ import annotations

import contextlib
import queue
import sys
import threading
import time
import traceback
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import msgspec

from mpstui.domain.alarm import describe_check, fails
from mpstui.domain.errors import LogError, MpstuiError
from mpstui.domain.events import (
    DivergenceDetected,
    EvaluationChecked,
    PreparationAdvanced,
    RunFailed,
    StepChecked,
)
from mpstui.processes.command import FACTS_FLAG
from mpstui.processes.parent import die_with_parent
from mpstui.runs.log import LogWriter
from mpstui.runs.own_code import code_notes
from mpstui.runs.rundir import Dataset, RunDir
from mpstui.runs.user_code import USER_ERRORS, describe_error, place_of
from mpstui.telemetry.energy import EnergyMeter

from .alarms import Alarms, act_on_alarm, follow_supervisor
from .event_recorder import EventRecorder, describe_full_disk
from .gate import Gate
from .sampling import poll_until
from .supervisor_pipes import message_sender, supervisor_messages, take_pipes, wait_for_run

if TYPE_CHECKING:  # the training thread imports torch, later
    from .autotune.tuner import Tuner
    from .progress import Progress
    from .setup import Setup


def train_run(
    run: RunDir,
    gate: Gate,
    recorder: EventRecorder,
    energy: Callable[[], float | None] | None = None,
) -> None:
    """Train a run from its directory to its end, in the calling thread.

    Errors become a ``RunFailed`` event, with the traceback on stderr.

    Args:
        run: The run's directory.
        gate: Pauses, stops and turns.
        recorder: Receives the run's events.
        energy: Joules since a fixed moment; None where unknown.

    Raises:
        LogError: When config.toml can't be read.
    """
    record, loop = recorder.record, None
    config = run.config()
    try:
        record(PreparationAdvanced(at=time.time(), stage="importing torch"))
        from .checks.schedule import CheckSchedule
        from .loop import Loop
        from .set_up import set_up
        from .snapshot_budget import Snapshots
        from .workloads.check import check_contract

        record(PreparationAdvanced(at=time.time(), stage="building model and data"))
        setup = set_up(config, run.dataset() or Dataset(source="embedded"), run.path)
        setup = replace(setup, notes=(*setup.notes, *code_notes(run.path)))
        check_contract(setup)
        setup, resume = _load_resumed_state(run, setup)
        snapshots = Snapshots(run.path, frozen=lambda: recorder.history.alarm is not None)
        tuner = _tuner(run, recorder) if config.autotune != "off" else None
        loop = Loop(
            setup,
            gate,
            energy=energy,
            snapshots=snapshots,
            resume=resume,
            tuner=tuner,
            checks=CheckSchedule() if config.checked else None,
        )
        for event in loop.events():
            record(event)
            if isinstance(event, DivergenceDetected):
                act_on_alarm(run, gate, config.on_alarm, f"loss {event.value} at step {event.step}")
            elif isinstance(event, (StepChecked, EvaluationChecked)) and fails(event):
                act_on_alarm(run, gate, config.on_alarm, describe_check(event))
    except USER_ERRORS as error:  # the log must record any error
        with contextlib.suppress(OSError):  # worker.log may be on a full disk
            traceback.print_exc()
        step = recorder.history.step if loop is None else loop.step
        record(RunFailed(at=time.time(), step=step, error=_describe(error, run)))
    recorder.write_summary(config)


def _describe(error: BaseException, run: RunDir) -> str:
    """Return an error's line for the log, and where its traceback is, unless it is mpstui's own."""
    if full := describe_full_disk(error, run.path):
        return full
    if not isinstance(error, MpstuiError):
        return f"{describe_error(error)}; full traceback: {run.worker_log}"
    line = str(error).partition("\n")[0]
    return f"{line}; full traceback: {run.worker_log}" if place_of(error) else line


def _tuner(run: RunDir, recorder: EventRecorder) -> Tuner | None:
    """Return the tuner of a run; a resumed run keeps the plan of its original."""
    from .autotune.tuner import Tuner

    machine, previous = run.machine(), recorder.history.plan
    return Tuner(machine, previous.plan if previous else None) if machine else None


def _load_resumed_state(run: RunDir, setup: Setup) -> tuple[Setup, Progress | None]:
    """Load the snapshot that the run resumes from, if it is a resumed run.

    Raises:
        LogError: When the snapshot can't be read, or does not fit the user's code any more.
    """
    resumed = run.resumed()
    if resumed is None:
        return setup, None
    from .snapshots import load_snapshot

    snapshot = load_snapshot(run.snapshot(resumed.step))
    try:
        losses = snapshot.restore(setup)
    except (RuntimeError, ValueError, KeyError) as error:  # torch lists the keys, one in a line
        lines = " ".join(str(error).split())
        problem = f"the snapshot of {resumed.run} does not fit {setup.config.workload}: {lines}"
        raise LogError(f"{problem}; allowed: a model and optimizers with the same state") from error
    notes = (*setup.notes, f"resumed from {resumed.run} at step {resumed.step}", *losses)
    if resumed.replaced:
        notes += (resumed.replaced,)
    return replace(setup, notes=notes), snapshot.progress


def main(arguments: Sequence[str]) -> None:
    """Work for a supervisor.

    Args:
        arguments: The run's directory; none for a warm worker, which waits for the supervisor to
            send one, or ``--facts``.
    """
    die_with_parent()
    output, input_fd = take_pipes()
    send, messages = message_sender(output), supervisor_messages(input_fd)
    start_queue: queue.SimpleQueue[WorkerStart] = queue.SimpleQueue()
    path = None if not arguments or arguments[0] == FACTS_FLAG else Path(arguments[0])
    prepare = None if path else partial(_import_ahead, send if arguments else None)
    args = (start_queue, prepare)
    # A daemon: it would wait forever if this thread failed before the run's start.
    training = threading.Thread(target=_train, args=args, name="training", daemon=True)
    if path is None:
        training.start()
        path = wait_for_run(messages)
    run = RunDir(path)
    gate = Gate(send=send, takes_turns=True)
    with LogWriter(run.events) as log:
        recorder = EventRecorder(run, log)
        alarms = Alarms(run, gate, recorder)
        follow_supervisor(messages, gate, alarms)
        energy = EnergyMeter()
        start_queue.put(WorkerStart(run, gate, recorder, energy.joules))
        if not training.is_alive():
            training.start()
        try:
            device = run.config().spec
            poll_until(
                *(_end_of(training), run, gate, recorder, energy),
                device=lambda: device,
                thread=lambda: training.ident,
            )
        finally:
            training.join()  # an error while sampling must not end the run


def _end_of(thread: threading.Thread) -> Callable[[float], bool]:
    """Return a function that waits for a thread's end, and returns whether it has ended."""

    def ended(seconds: float) -> bool:
        thread.join(seconds)
        return not thread.is_alive()

    return ended


class WorkerStart(NamedTuple):
    """The arguments of ``train_run``, sent to the training thread."""

    run: RunDir
    gate: Gate
    recorder: EventRecorder
    energy: Callable[[], float | None]


def _train(start_queue: queue.SimpleQueue[WorkerStart], prepare: Callable[[], None] | None) -> None:
    """Run as the training thread, until the run's end."""
    if prepare:
        with contextlib.suppress(Exception):  # it recurs in train_run, which logs it
            prepare()
    train_run(*start_queue.get())


def _import_ahead(send_facts: Callable[[str], None] | None) -> None:
    """Import what a run needs. No tensor is created, and without facts no device is opened.

    Args:
        send_facts: Receives torch's facts as JSON as soon as they are known, or an empty text if
            there are none; None if nothing asks for them.
    """
    if send_facts:
        answer = ""
        try:
            answer = _facts()
        finally:
            send_facts(answer)
    from . import loop, set_up, snapshot_budget  # noqa: F401


def _facts() -> str:
    from mpstui.doctor.torch_probe.types import facts

    return msgspec.json.encode(facts()).decode()


if __name__ == "__main__":
    main(sys.argv[1:])

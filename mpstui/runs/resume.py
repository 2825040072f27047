"""Resumes a run that ended early, from its newest snapshot.

The resumed run has its own directory, since a log has one writer and one end. Its log begins with
the earlier run's steps, epochs and evaluations, so that the curve is complete.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any

import msgspec

from mpstui.domain.class_path import class_path
from mpstui.domain.config import RunConfig, as_started, make_config
from mpstui.domain.errors import FieldError, UsageError
from mpstui.domain.events import (
    AnyEvent,
    EpochCompleted,
    EvaluationCompleted,
    PreparationAdvanced,
    SnapshotSaved,
    StepsCompleted,
)
from mpstui.domain.history import RunState
from mpstui.domain.machine import Machine

from .log import LogWriter
from .rundir import Resumed, RunDir
from .store import RunStore
from .view import RunView

CHANGEABLE = ("steps", "epochs", "workload")
"""Settings that may change: the length of the run, and the user's file, which may be mended."""


def resume_run(
    store: RunStore, earlier: RunDir, changes: Mapping[str, Any], machine: Machine, now: datetime
) -> RunDir:
    """Create a run that resumes an earlier one; it is launched like any other.

    Args:
        store: The store for the new run.
        earlier: Stopped, killed, crashed or failed; or finished, to train it longer.
        changes: Changed settings by name, out of ``CHANGEABLE``. A workload is a mended file, which
            is read instead of the earlier run's copy.
        machine: The machine of the new run.
        now: The time for the new run's id.

    Raises:
        UsageError: If the earlier run is still running, has no snapshot or no steps remain, or
            its files cannot be copied; then nothing is created.
        FieldError: If another setting changes, or the run would end before the snapshot.
        LogError: If the earlier run's files cannot be read.
    """
    view = RunView(earlier)
    events = view.catch_up()
    config, started = _apply_changes(earlier.config(), changes), view.history.started
    if started is not None:
        config = as_started(config, started)  # the order of its samples depends on an epoch's
    _check(view, config)
    point = _newest_snapshot(earlier, events)
    if config.total_steps < point.step:
        problem = (
            f"it would end at step {config.total_steps}, but its snapshot is from step {point.step}"
        )
        raise FieldError("steps" if "steps" in changes else "epochs", problem, "a longer run")
    mended = "workload" in changes
    (run,) = store.create(config, [config.spec], machine, now, earlier=earlier, mended=mended)
    if mended:
        problem = f"the workload file was replaced: {run.config().workload}"
        point = msgspec.structs.replace(point, replaced=problem)
    try:
        run.record_supervisor(os.getpid())  # until it has its own: a copy may take long
        run.snapshot(point.step).parent.mkdir()
        shutil.copyfile(earlier.snapshot(point.step), run.snapshot(point.step))
        run.write_resumed(point)
        if not mended and (dataset := earlier.dataset()) is not None:
            run.write_dataset(dataset)
        with LogWriter(run.events) as log:
            stage = f"resumed from {earlier.id} at step {point.step}"
            log.append(PreparationAdvanced(at=now.timestamp(), stage=stage))
            if point.replaced:
                log.append(PreparationAdvanced(at=now.timestamp(), stage=point.replaced))
            for event in _events_until(events, point, config.batch_size):
                log.append(event)
            log.append(PreparationAdvanced(at=now.timestamp(), stage="starting a worker"))
    except OSError as error:
        shutil.rmtree(run.path, ignore_errors=True)
        raise UsageError(f"{run.path}: {error.strerror}; allowed: a writable folder") from error
    return run


def _apply_changes(config: RunConfig, changes: Mapping[str, Any]) -> RunConfig:
    is_own = class_path(config.workload) is not None
    mended = is_own and class_path(changes.get("workload")) is not None
    changeable = [name for name in CHANGEABLE if name != "workload" or mended]
    fixed_name = next((name for name in changes if name not in changeable), None)
    if fixed_name is not None:
        file = "; --workload FILE:CLASS, a mended file" if is_own else ""
        allowed = f"--steps, --epochs, to train longer{file}"
        raise FieldError(fixed_name, "a resumed run keeps its own", allowed)
    # The comparison does not continue: its other runs have ended.
    # A changed setting of the run's device spec would replace the change.
    unchanged = {k: v for k, v in config.spec.settings.items() if k not in changes}
    device = str(config.spec.with_settings(unchanged))
    values = {**msgspec.structs.asdict(config), **changes, "device": device, "comparison": ""}
    return make_config(values)


def _check(view: RunView, config: RunConfig) -> None:
    run, history = view.run, view.history
    if not history.state.over:
        raise UsageError(f"{run.id} is {history.state.value}; allowed: a run that has ended")
    if history.state is RunState.FINISHED and config.total_steps <= history.step:
        raise UsageError(
            f"{run.id} has finished: no steps remain after step {history.step}; "
            "allowed: --epochs or --steps, to train longer"
        )


def _newest_snapshot(run: RunDir, events: Sequence[AnyEvent]) -> Resumed:
    """Return the newest existing snapshot that is recorded in the log or resumed.json."""
    resumed = run.resumed()
    epochs = {resumed.step: resumed.epoch} if resumed else {}
    # The newest event of a step wins: it may have been saved before and after an evaluation.
    epochs |= {event.step: event.epoch for event in events if isinstance(event, SnapshotSaved)}
    steps = [step for step, _ in run.snapshots() if step in epochs]
    if not steps:
        raise UsageError(
            f"{run.id} has no snapshot: it ended before the first one, which short runs never "
            "reach; allowed: a run with one in its folder checkpoints"
        )
    return Resumed(run=run.id, step=steps[-1], epoch=epochs[steps[-1]])


def _events_until(
    events: Sequence[AnyEvent], point: Resumed, batch_size: int
) -> Iterator[AnyEvent]:
    """Yield a log's events of the training up to a snapshot.

    The end and evaluation of the snapshot's own epoch are omitted: they are still to come.
    """
    for event in events:
        match event:
            case StepsCompleted():
                yield from _cut(event, point.step, batch_size)
            case EpochCompleted() | EvaluationCompleted() if event.epoch < point.epoch:
                yield event
            case _:
                pass


def _cut(event: StepsCompleted, last: int, batch_size: int) -> Iterator[StepsCompleted]:
    losses = event.losses[: max(last + 1 - event.first_step, 0) * 4]
    if len(losses) == len(event.losses):
        yield event
    elif losses:
        steps, kept_steps = len(event.losses) // 4, len(losses) // 4
        # Only an epoch's last batch may be smaller, and that one is among the removed steps; the
        # batches of the user's loaders have other sizes.
        is_usual = 0 <= steps * batch_size - event.samples < batch_size
        mean = event.samples / steps
        samples = kept_steps * batch_size if is_usual else round(kept_steps * mean)
        removed_samples = event.samples - samples
        yield msgspec.structs.replace(
            event,
            losses=losses,
            samples=event.samples - removed_samples,
            epoch_samples=event.epoch_samples - removed_samples,
            seconds=event.seconds * len(losses) / len(event.losses),
            timed=False,  # the duration of the remaining steps was not measured
            joules=None,
            grad_norm=None,
        )

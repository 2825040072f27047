"""Go on with a run that ended early, from its newest snapshot.

It goes on in a directory of its own: a log has one writer and one end. The new log begins with the
old one's steps, epochs and evaluations, so that the whole curve is there.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any

import msgspec

from mpstui.domain.config import RunConfig, make_config
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

CHANGEABLE = ("steps", "epochs")
"""Settings that may differ: they say how long the run is to be."""


def resume_run(
    store: RunStore, old: RunDir, changes: Mapping[str, Any], machine: Machine, now: datetime
) -> RunDir:
    """Make the run that goes on with another one; it is to be launched like any.

    Args:
        store: Where it is made.
        old: Stopped, killed, crashed or failed; or finished, where it is to train longer.
        changes: Settings by name, of ``CHANGEABLE``.
        machine: Where the new run will train.
        now: Names the new run.

    Raises:
        UsageError: When the old run is still under way, kept no snapshot or has nothing left, or
            its files cannot be copied; nothing was made then.
        FieldError: When another setting is to change, or the run would end before the snapshot.
        LogError: When the old run's files cannot be read.
    """
    config = _changed(old.config(), changes)
    view = RunView(old)
    events = view.catch_up()
    _check(view, config)
    point = _newest(old, events)
    if config.total_steps < point.step:
        problem = f"it would end at step {config.total_steps}, its snapshot is of {point.step}"
        raise FieldError("steps" if "steps" in changes else "epochs", problem, "a longer run")
    (run,) = store.create(config, [config.spec], machine, now, old=old)
    try:
        run.snapshot(point.step).parent.mkdir()
        shutil.copyfile(old.snapshot(point.step), run.snapshot(point.step))
        run.write_resumed(point)
        if (dataset := old.dataset()) is not None:
            run.write_dataset(dataset)
        with LogWriter(run.events) as log:
            stage = f"resumed from {old.id} at step {point.step}"
            log.append(PreparationAdvanced(at=now.timestamp(), stage=stage))
            for event in _until(events, point, config.batch_size):
                log.append(event)
            log.append(PreparationAdvanced(at=now.timestamp(), stage="starting a worker"))
    except OSError as error:
        shutil.rmtree(run.path, ignore_errors=True)
        raise UsageError(
            f"{run.path}: {error.strerror}; allowed: a folder that can be written"
        ) from error
    return run


def _changed(config: RunConfig, changes: Mapping[str, Any]) -> RunConfig:
    stray = next((name for name in changes if name not in CHANGEABLE), None)
    if stray is not None:
        allowed = ", ".join(f"--{name}" for name in CHANGEABLE)
        raise FieldError(stray, "a run is resumed with its own", f"{allowed}, to train longer")
    # The comparison is not gone on with: its other runs are over.
    return make_config({**msgspec.structs.asdict(config), **changes, "comparison": ""})


def _check(view: RunView, config: RunConfig) -> None:
    run, history = view.run, view.history
    if not history.state.over:
        raise UsageError(f"{run.id} is {history.state.value}; allowed: a run that is over")
    if history.state is RunState.FINISHED and config.total_steps <= history.step:
        raise UsageError(
            f"{run.id} has finished: nothing is left after step {history.step}; "
            "allowed: --epochs or --steps, to train longer"
        )


def _newest(run: RunDir, events: Sequence[AnyEvent]) -> Resumed:
    """The newest snapshot that is there and that the log, or resumed.json, tells of."""
    first = run.resumed()
    epochs = {first.step: first.epoch} if first else {}
    # The newest event of a step wins: it may have been saved before and after an evaluation.
    epochs |= {event.step: event.epoch for event in events if isinstance(event, SnapshotSaved)}
    steps = [step for step, _ in run.snapshots() if step in epochs]
    if not steps:
        raise UsageError(
            f"{run.id} kept no snapshot: it ended before the first one, which short runs never "
            "get to; allowed: a run with one in its folder checkpoints"
        )
    return Resumed(run=run.id, step=steps[-1], epoch=epochs[steps[-1]])


def _until(events: Sequence[AnyEvent], point: Resumed, batch_size: int) -> Iterator[AnyEvent]:
    """What a log tells of the training up to a snapshot.

    Of the snapshot's own epoch, end and evaluation are left out: they are still to come.
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
        # Only an epoch's last batch may be smaller, and that one is not among those that are left.
        gone = event.samples - len(losses) // 4 * batch_size
        yield msgspec.structs.replace(
            event,
            losses=losses,
            samples=event.samples - gone,
            epoch_samples=event.epoch_samples - gone,
            seconds=event.seconds * len(losses) / len(event.losses),
            timed=False,  # how long the steps took that are left was not measured
            joules=None,
            grad_norm=None,
        )

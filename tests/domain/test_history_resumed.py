"""A resumed run's log begins with what an earlier run did; and snapshots in history and log."""

from __future__ import annotations

import numpy as np
import pytest

from mpstui.domain.article import ArticleLog
from mpstui.domain.config import make_config
from mpstui.domain.events import (
    AnyEvent,
    EpochCompleted,
    EvaluationCompleted,
    PreparationAdvanced,
    RunStarted,
    SnapshotSaved,
    StepsCompleted,
    WarmupFinished,
)
from mpstui.domain.history import RunHistory, RunState
from mpstui.domain.summarise import summarise

CONFIG = make_config({"workload": "vae", "device": "cpu"})

SAVED = SnapshotSaved(
    at=50.0,
    step=123,
    epoch=2,
    path="checkpoints/step-000123.pt",
    bytes=14_413_440,
    seconds=0.034,
    share=0.0084,
)


def steps(at: float, first: int, count: int, seconds: float, timed: bool = True) -> StepsCompleted:
    return StepsCompleted(
        at=at,
        epoch=1,
        first_step=first,
        losses=np.ones(count, "<f4").tobytes(),
        samples=count * 10,
        epoch_samples=count * 10,
        seconds=seconds,
        timed=timed,
        lr=0.1,
    )


def started(at: float) -> RunStarted:
    return RunStarted(
        at=at,
        workload="vae",
        device="cpu",
        device_name="CPU",
        torch="2.14.1",
        dataset="embedded",
        train_samples=5000,
        test_samples=2000,
        parameters=1,
        steps_per_epoch=40,
        total_steps=100,
        threads=2,
        notes=("resumed from old at step 60",),
    )


def epoch() -> tuple[AnyEvent, AnyEvent]:
    return (
        EpochCompleted(
            at=15.0,
            epoch=1,
            mean_loss=1.0,
            samples=400,
            timed_samples=300,
            timed_seconds=3.0,
            wall_seconds=4.0,
        ),
        EvaluationCompleted(
            at=16.0, epoch=1, step=40, loss=0.5, samples=10, correct=None, seconds=1.0
        ),
    )


def resumed() -> RunHistory:
    """60 steps of an earlier run, long ago; then 20 of this one, a second each, from 1010 on."""
    history = RunHistory()
    for event in (
        PreparationAdvanced(at=1000.0, stage="resumed from old at step 60"),
        steps(10.0, 1, 40, seconds=4.0),
        *epoch(),
        steps(20.0, 41, 20, seconds=2.0),
        PreparationAdvanced(at=1000.0, stage="starting a worker"),
    ):
        history.apply(event)
    return history


def test_before_its_worker_has_begun_a_resumed_run_is_starting_with_its_curve_there() -> None:
    history = resumed()
    assert (history.state, history.message) == (RunState.STARTING, "starting a worker")
    assert (history.step, history.samples) == (60, 600)
    assert [event.epoch for event in history.epochs] == [1]
    assert history.eta(1005.0) is None
    assert summarise("new", CONFIG, None, history).started_at == 1000.0


def test_the_eta_of_a_resumed_run_counts_its_own_steps() -> None:
    history = resumed()
    history.apply(started(at=1010.0))
    assert (history.state, history.progress) == (RunState.WARMING_UP, 0.6)
    assert history.eta(1011.0) is None
    history.apply(steps(1020.0, 61, 10, seconds=10.0, timed=False))
    history.apply(WarmupFinished(at=1020.0, steps=10, seconds=10.0))
    history.apply(steps(1030.0, 71, 10, seconds=10.0))
    assert history.state is RunState.TRAINING
    assert history.eta(1030.0) == pytest.approx(20.0)  # 20 steps in 20 s; 20 are left
    assert history.elapsed == 20.0


def test_the_time_of_an_earlier_run_goes_on_in_the_charts() -> None:
    history = resumed()
    history.apply(started(at=1010.0))
    history.apply(steps(1020.0, 61, 10, seconds=10.0))
    at, seconds = history.elapsed_by_step.points(100)
    assert list(at) == [40, 60, 70]
    assert list(seconds) == [4.0, 6.0, 16.0]


def test_the_newest_snapshot_is_kept_and_its_cost_is_told() -> None:
    history = RunHistory()
    assert history.snapshot is None
    history.apply(SAVED)
    assert history.snapshot == SAVED
    assert list(ArticleLog(CONFIG).lines(SAVED)) == [
        "saved checkpoints/step-000123.pt (14.4 MB in 0.034 s; snapshots took 0.8% so far)"
    ]

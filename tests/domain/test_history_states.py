from __future__ import annotations

import math
from typing import get_args

import msgspec
import numpy as np
import pytest

from mpstui.domain.events import (
    AlarmRaised,
    AnyEvent,
    DivergenceDetected,
    EpochCompleted,
    EvaluationChecked,
    EvaluationCompleted,
    EvaluationTimed,
    MatmulMeasured,
    ParametersHashed,
    PlanChosen,
    PreparationAdvanced,
    ProgressStalled,
    RanksDiffered,
    RunFailed,
    RunFinished,
    RunPaused,
    RunResumed,
    RunStarted,
    RunStopped,
    SampleSaved,
    SeriesRecorded,
    SnapshotSaved,
    StartHashed,
    StepChecked,
    StepProfiled,
    StepsCompleted,
    SystemSampled,
    WarmupFinished,
    WorkCounted,
)
from mpstui.domain.history import MAX_WINDOWS, RunHistory, RunState
from mpstui.domain.plan import Plan
from mpstui.domain.series import NonFinite


def started(at: float = 0.0, total_steps: int = 100) -> RunStarted:
    return RunStarted(
        at=at,
        workload="mnist",
        device="cpu",
        device_name="a chip",
        torch="2.9",
        dataset="embedded",
        train_samples=5000,
        test_samples=2000,
        parameters=10,
        steps_per_epoch=50,
        total_steps=total_steps,
        threads=2,
    )


def steps(
    first: int,
    losses: list[float],
    at: float = 0.0,
    timed: bool = True,
    seconds: float = 1.0,
    samples: int = 64,
) -> StepsCompleted:
    return StepsCompleted(
        at=at,
        epoch=1,
        first_step=first,
        losses=np.array(losses, "<f4").tobytes(),
        samples=samples,
        epoch_samples=samples * first,
        seconds=seconds,
        timed=timed,
        lr=0.5,
    )


def epoch(number: int, timed_samples: int, timed_seconds: float) -> EpochCompleted:
    return EpochCompleted(
        at=6.0,
        epoch=number,
        mean_loss=None,
        samples=60_000,
        timed_samples=timed_samples,
        timed_seconds=timed_seconds,
        wall_seconds=9.0,
    )


def test_a_whole_log_goes_through_its_states() -> None:
    evaluation = EvaluationCompleted(
        at=7.0, epoch=1, step=3, loss=0.5, samples=2000, correct=1500, seconds=1.0
    )
    system = SystemSampled(
        at=7.5,
        cores=(1.0, 99.0),
        memory_used=1,
        memory_total=2,
        swap_used=0,
        process_cpu=None,
        process_rss=None,
    )
    profiled = StepProfiled(at=3.1, step=3, steps=5, seconds={"forward": 0.1}, unsynchronised=0.2)
    alarm = AlarmRaised(
        at=3.2, step=3, value=9.0, other=1.0, gap=8.0, against="cpu", policy="continue"
    )
    snapshot = SnapshotSaved(
        at=7.8, step=3, epoch=2, path="step-000003.pt", bytes=9, seconds=0.1, share=0.01
    )
    log: list[tuple[AnyEvent, RunState]] = [
        (PreparationAdvanced(at=1.0, stage="downloading", fraction=0.5), RunState.STARTING),
        (StartHashed(at=1.5, weights="0a", batch=""), RunState.STARTING),
        (started(at=2.0, total_steps=6), RunState.WARMING_UP),
        (PlanChosen(at=2.0, plan=Plan(), line="plain loop"), RunState.WARMING_UP),
        (PreparationAdvanced(at=2.0, stage="checking a step"), RunState.STARTING),
        (StepChecked(at=2.0, step=1, loss_gap=0.0), RunState.WARMING_UP),
        (steps(1, [2.0], timed=False), RunState.WARMING_UP),
        (WorkCounted(at=2.4, samples=64, flops=9), RunState.WARMING_UP),
        (RunPaused(at=2.5, step=1), RunState.PAUSED),
        (RunResumed(at=2.6, step=1), RunState.WARMING_UP),
        (WarmupFinished(at=3.0, steps=1, seconds=1.0), RunState.TRAINING),
        (steps(2, [1.0, math.inf]), RunState.TRAINING),
        (DivergenceDetected(at=3.0, step=3, value="inf", last_finite=1.0), RunState.TRAINING),
        (
            SeriesRecorded(
                at=3.0, name="loss_D", steps=(2, 3), values=np.array([5, 6], "<f8").tobytes()
            ),
            RunState.TRAINING,
        ),
        (ProgressStalled(at=3.1, step=3, seconds=40.0, place=""), RunState.TRAINING),
        (MatmulMeasured(at=3.1, flops_per_second=1e9, dtype="float32"), RunState.TRAINING),
        (EvaluationTimed(at=3.1, epoch=1, step=3, seconds=2.0), RunState.TRAINING),
        (
            ParametersHashed(at=3.1, step=3, digest="a", synchronised=True),
            RunState.TRAINING,
        ),
        (RanksDiffered(at=3.1, step=3, rank=1, agreed_at=None), RunState.TRAINING),
        (profiled, RunState.TRAINING),
        (alarm, RunState.TRAINING),
        (RunPaused(at=4.0, step=3), RunState.PAUSED),
        (RunResumed(at=5.0, step=3), RunState.TRAINING),
        (epoch(1, 60_000, 30.0), RunState.EVALUATING),
        (StepChecked(at=7.0, step=3, loss_gap=0.0), RunState.EVALUATING),
        (evaluation, RunState.TRAINING),
        (EvaluationChecked(at=7.0, epoch=1, step=3, loss_gap=0.0), RunState.TRAINING),
        (SampleSaved(at=7.0, epoch=1, kind="sample", path="samples/1.png"), RunState.TRAINING),
        (system, RunState.TRAINING),
        (snapshot, RunState.TRAINING),
        (RunStopped(at=8.0, step=3, reason="requested by the user"), RunState.STOPPED),
        (RunFailed(at=8.0, step=3, error="RuntimeError: no"), RunState.FAILED),
        (RunFinished(at=8.0, step=3), RunState.FINISHED),
    ]
    assert {type(event) for event, _ in log} == set(get_args(AnyEvent))
    history = RunHistory()
    for count, (event, status) in enumerate(log, 1):
        history.apply(event)
        assert history.state is status, event
        assert history.revision >= count
    assert (history.step, history.epoch, history.samples, history.lr) == (3, 1, 128, 0.5)
    assert history.loss == math.inf
    assert history.finite_loss is None
    assert history.recorded_series["loss_D"].last() == 6.0
    assert history.losses.non_finite == [NonFinite(3.0, math.inf, "inf")]
    assert history.diverged is not None
    assert history.diverged.step == 3
    assert history.progress == 0.5
    assert history.accuracy == 0.75
    assert history.evaluation is evaluation
    assert history.system is system
    assert [picture.path for picture in history.pictures] == ["samples/1.png"]
    assert (history.first_at, history.last_at, history.elapsed) == (1.0, 8.0, 6.0)


def test_the_end_says_why() -> None:
    history = RunHistory()
    history.apply(PreparationAdvanced(at=1.0, stage="importing torch", fraction=0.25))
    assert (history.message, history.fraction) == ("importing torch", 0.25)
    history.apply(started())
    assert (history.message, history.fraction) == ("", None)
    history.apply(RunFailed(at=2.0, step=0, error="DataError: torn"))
    assert (history.message, history.state.over) == ("DataError: torn", True)


@pytest.mark.parametrize("status", RunState)
def test_only_ends_are_over(status: RunState) -> None:
    ends = ("finished", "stopped", "failed", "crashed", "killed")
    assert status.over == (status.value in ends)


def test_nothing_is_known_before_the_start() -> None:
    history = RunHistory()
    assert history.eta(10.0) is None
    assert history.rate_now() is None
    assert history.rate() is None
    assert history.epoch_seconds() is None
    assert history.elapsed is None
    assert history.accuracy is None
    assert history.progress == 0.0


def test_the_eta_counts_running_time_only() -> None:
    history = RunHistory()
    history.apply(started(at=100.0))
    assert history.eta(100.0) is None
    history.apply(steps(1, [1.0] * 25, at=110.0))
    assert history.eta(110.0) == pytest.approx(30.0)
    history.apply(RunPaused(at=110.0, step=25))
    history.apply(RunResumed(at=1000.0, step=25))
    history.apply(steps(26, [1.0] * 25, at=1030.0))
    assert history.eta(1030.0) == pytest.approx(40.0)  # 10 s and 30 s for half of the steps
    history.apply(RunPaused(at=1030.0, step=50))
    assert history.eta(9000.0) == pytest.approx(40.0)
    history.apply(RunResumed(at=9000.0, step=50))
    history.apply(steps(51, [1.0] * 50, at=9010.0))
    assert history.eta(9010.0) == 0.0


def test_epochs_are_scaled_and_untimed_ones_left_out() -> None:
    history = RunHistory()
    for event in (epoch(1, 0, 0.0), epoch(2, 30_000, 10.0), epoch(3, 60_000, 24.0)):
        history.apply(event)
    measured = history.epoch_seconds()
    assert measured is not None
    assert (measured.median, measured.spread, measured.count) == (22.0, 2.0, 2)


def test_the_rate_now_looks_at_the_newest_seconds() -> None:
    history = RunHistory()
    for index, samples in enumerate([10, 10, 10, 50, 60, 70], 1):
        history.apply(steps(index, [1.0], samples=samples))
    assert history.rate_now(3.0) == 60.0
    assert history.rate_now(1e9) == 35.0


def test_of_ten_thousand_windows_none_is_lost() -> None:
    history = RunHistory()
    for index in range(1, 10_001):
        history.apply(steps(index, [1.0], samples=index))
        if index in (MAX_WINDOWS - 1, MAX_WINDOWS, MAX_WINDOWS + 1):
            assert history.rate_now(1e9) == pytest.approx((index + 1) / 2)
    measured = history.rate()
    assert measured is not None
    assert measured.count <= MAX_WINDOWS
    assert history.rate_now(1e9) == pytest.approx(10_001 / 2)
    assert history.losses.buckets <= 2048


def test_autotuning_is_no_part_of_the_time_that_a_run_trains() -> None:
    history = RunHistory()
    history.apply(started(at=2.0, total_steps=6))
    history.apply(PreparationAdvanced(at=2.1, stage="autotuning: channels_last"))
    history.apply(PlanChosen(at=6.0, plan=Plan(layout="channels_last"), line="faster", gain=2.0))
    assert history.state is RunState.WARMING_UP
    history.apply(steps(1, [2.0, 1.0], at=6.5, timed=False))
    assert history.elapsed == 0.5
    assert history.plan is not None
    assert history.plan.gain == 2.0


def test_plans_that_race_are_part_of_the_warm_up_and_named() -> None:
    history = RunHistory()
    history.apply(started(at=2.0, total_steps=600))
    trial = msgspec.structs.replace(steps(1, [2.0], timed=False), trial="channels_last")
    history.apply(trial)
    assert (history.state, history.message) == (
        RunState.WARMING_UP,
        "autotuning: channels_last",
    )
    history.apply(steps(2, [1.9], timed=False))
    assert history.message == "autotuning: channels_last", "blocks alternate; the line stays"
    history.apply(PlanChosen(at=6.0, plan=Plan(), line="plain loop", first_step=3))
    assert (history.state, history.message) == (RunState.WARMING_UP, "")
    history.apply(WarmupFinished(at=6.0, steps=2, seconds=1.0))
    assert history.state is RunState.TRAINING
    assert (history.elapsed or 0.0) > 0, "its steps train"

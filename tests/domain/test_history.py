from __future__ import annotations

import numpy as np
import pytest
from msgspec.structs import replace

from mpstui.domain.article import ArticleLog
from mpstui.domain.config import RunConfig, make_config
from mpstui.domain.events import (
    AlarmRaised,
    AnyEvent,
    DivergenceDetected,
    EpochCompleted,
    EvaluationCompleted,
    PreparationAdvanced,
    RanksDiffered,
    RunFailed,
    RunFinished,
    RunPaused,
    RunResumed,
    RunStarted,
    RunStopped,
    SampleSaved,
    StepChecked,
    StepsCompleted,
    SystemSampled,
    WarmupFinished,
)
from mpstui.domain.history import RunHistory, RunState


def started(at: float = 0.0, total: int = 938) -> RunStarted:
    return RunStarted(
        at=at,
        workload="mnist",
        device="cpu",
        device_name="CPU",
        torch="2.14.1",
        dataset="embedded",
        train_samples=5000,
        test_samples=2000,
        parameters=1,
        steps_per_epoch=938,
        total_steps=total,
        threads=2,
    )


def steps(
    first: int, losses: list[float], at: float = 1.0, seconds: float = 1.0, timed: bool = True
) -> StepsCompleted:
    return StepsCompleted(
        at=at,
        epoch=1,
        first_step=first,
        losses=np.asarray(losses, "<f4").tobytes(),
        samples=64 * len(losses),
        epoch_samples=64 * (first + len(losses) - 1),
        seconds=seconds,
        timed=timed,
        lr=1.0,
    )


def told(*events: AnyEvent) -> RunHistory:
    history = RunHistory()
    for event in events:
        history.apply(event)
    return history


def epoch(timed_samples: int = 30_000, timed_seconds: float = 10.0) -> EpochCompleted:
    return EpochCompleted(
        at=3.0,
        epoch=1,
        mean_loss=0.5,
        samples=60_000,
        timed_samples=timed_samples,
        timed_seconds=timed_seconds,
        wall_seconds=20.0,
    )


EVALUATED = EvaluationCompleted(
    at=4.0, epoch=1, step=938, loss=0.05, samples=2000, correct=1970, seconds=0.3
)
SAMPLED = SystemSampled(
    at=2.0,
    cores=(1.0,),
    memory_used=1,
    memory_total=2,
    swap_used=0,
    process_cpu=None,
    process_rss=None,
)


@pytest.mark.parametrize(
    ("event", "status"),
    [
        (PreparationAdvanced(at=0.0, stage="importing torch"), RunState.STARTING),
        (started(), RunState.WARMING_UP),
        (WarmupFinished(at=0.0, steps=10, seconds=1.0), RunState.TRAINING),
        (steps(1, [1.0]), RunState.TRAINING),
        (epoch(), RunState.EVALUATING),
        (EVALUATED, RunState.TRAINING),
        (SampleSaved(at=0.0, epoch=1, kind="sample", path="a.png"), RunState.STARTING),
        (SAMPLED, RunState.STARTING),
        (DivergenceDetected(at=0.0, step=3, value="nan", last_finite=None), RunState.STARTING),
        (RunPaused(at=0.0, step=1), RunState.PAUSED),
        (RunResumed(at=0.0, step=1), RunState.WARMING_UP),
        (RunFinished(at=0.0, step=1), RunState.FINISHED),
        (RunStopped(at=0.0, step=1, reason="asked"), RunState.STOPPED),
        (RunFailed(at=0.0, step=1, error="E: x"), RunState.FAILED),
    ],
    ids=lambda value: type(value).__name__ if not isinstance(value, RunState) else "",
)
def test_each_event_and_where_it_leaves_the_run(event: AnyEvent, status: RunState) -> None:
    history = told(event)
    assert history.state is status
    assert history.revision > 0


def test_an_epoch_that_was_timed_in_part_is_scaled_to_60_000_samples() -> None:
    measured = told(started(), epoch()).epoch_seconds()
    assert measured is not None
    assert measured.median == 20.0
    assert measured.spread is None
    assert told(started(), epoch(timed_samples=0)).epoch_seconds() is None


def test_windows_outside_the_clock_do_not_count() -> None:
    history = told(started(), steps(1, [2.0] * 10, timed=False), steps(11, [1.0], seconds=0.5))
    rate = history.rate()
    assert rate is not None
    assert (rate.median, rate.count) == (128.0, 1)
    assert history.series["throughput"].count == 1
    assert history.losses.count == 11


def test_the_eta_leaves_pauses_out() -> None:
    history = told(
        started(at=0.0, total=100),
        steps(1, [1.0] * 20, at=10.0),
        RunPaused(at=10.0, step=20),
    )
    assert history.eta(now=500.0) == pytest.approx(40.0)
    history.apply(RunResumed(at=500.0, step=20))
    assert history.eta(now=500.0) == pytest.approx(40.0)
    history.apply(RunFinished(at=600.0, step=100))
    assert history.eta(now=700.0) is None


def test_memory_stays_bounded_and_the_rate_right() -> None:
    history = told(started(total=10**6))
    for index in range(10_000):
        history.apply(steps(index + 1, [0.5], seconds=0.5))
    rate = history.rate()
    assert rate is not None
    assert rate.count <= 4096
    assert rate.median == pytest.approx(128.0)


def lines(config: RunConfig, *events: AnyEvent) -> list[str]:
    log = ArticleLog(config)
    return [line for event in events for line in log.lines(event)]


def test_the_articles_lines() -> None:
    config = make_config({"dataset": "embedded"})
    losses = [2.3] + [0.0] * 9 + [0.812345]
    found = lines(config, steps(1, losses), steps(939, [0.5]), epoch(), EVALUATED)
    assert found == [
        "Train Epoch: 1 [0/60000 (0%)]\tLoss: 2.300000",
        "Train Epoch: 1 [640/60000 (1%)]\tLoss: 0.812345",
        "Train Epoch: 1 [0/60000 (0%)]\tLoss: 0.500000",
        "time_cost: 20.000 s an epoch of 60000 samples",
        "Test set: Average loss: 0.0500, Accuracy: 1970/2000 (98.5%)",
    ]


def test_the_vaes_lines() -> None:
    config = make_config({"workload": "vae"})
    test = EvaluationCompleted(
        at=1.0, epoch=1, step=9, loss=None, samples=2000, correct=None, seconds=0.1
    )
    found = lines(config, epoch(timed_samples=0), test)
    assert found[0] == "====> Epoch: 1 Average loss: 0.5000"
    assert "—" in found[1]
    assert found[2] == "====> Test set loss: not finite"


def diverged(step: int) -> AlarmRaised:
    return AlarmRaised(
        at=5.0, step=step, value=9.0, other=1.0, gap=8.0, against="cpu", policy="continue"
    )


def test_the_first_alarm_of_a_kind_stays() -> None:
    history = told(started(), steps(1, [1.0] * 9), diverged(3), diverged(7))
    for step in (4, 8):
        history.apply(RanksDiffered(at=5.0, step=step, rank=1, agreed_at=None))
        history.apply(StepChecked(at=5.0, step=step, gradient_gap=0.5, phase="backward"))
    assert [alarm.step for alarm in history.alarms] == [3, 4, 4]
    assert history.step_check is not None
    assert history.step_check.step == 8


def test_readings_before_the_first_step_are_in_no_series() -> None:
    sampled = replace(SAMPLED, process_cpu=9.0)
    assert told(started(), sampled).series["cpu"].count == 0
    assert told(started(), steps(1, [1.0]), sampled).series["cpu"].count == 1


def test_a_clock_that_steps_back_leaves_no_negative_time() -> None:
    history = told(started(at=100.0), steps(1, [1.0], at=40.0))
    assert history.elapsed == 0.0


def test_what_follows_the_end_leaves_its_time() -> None:
    history = told(started(at=1.0), RunFinished(at=9.0, step=1), diverged(1))
    assert history.last_at == 9.0


def test_the_progress_of_an_epoch_counts_its_own_steps() -> None:
    history = told(started(total=2 * 938), steps(1, [1.0] * 938))
    assert history.epoch_progress == 1.0
    history.apply(replace(steps(939, [1.0] * 469), epoch=2))
    assert history.epoch_progress == 0.5


def test_energy_is_summed_over_the_windows_that_have_it() -> None:
    history = told(started(), WarmupFinished(at=1.0, steps=1, seconds=1.0))
    for first in (2, 12, 22):
        history.apply(replace(steps(first, [1.0] * 10), joules=64.0))
    history.apply(steps(32, [1.0] * 10))
    assert history.joules_per_epoch == 60_000 * 3 * 64.0 / (3 * 640)

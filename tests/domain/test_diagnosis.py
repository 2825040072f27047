from __future__ import annotations

import numpy as np
import pytest

from mpstui.domain.config import make_config
from mpstui.domain.diagnosis import diagnose
from mpstui.domain.events import (
    DivergenceDetected,
    RunFailed,
    StepProfiled,
    StepsCompleted,
    WarmupFinished,
)
from mpstui.domain.history import RunHistory
from mpstui.domain.recorded_log import RecordedLog, log_of


def window(first: int, data_seconds: float | None, seconds: float = 2.0) -> StepsCompleted:
    return StepsCompleted(
        at=float(first),
        epoch=1,
        first_step=first,
        losses=np.ones(10, "<f4").tobytes(),
        samples=640,
        epoch_samples=640,
        seconds=seconds,
        timed=True,
        lr=0.1,
        data_seconds=data_seconds,
    )


def history(data_seconds: float | None = None, **seconds: float) -> RunHistory:
    history = RunHistory()
    history.apply(window(1, None))
    history.apply(WarmupFinished(at=1.0, steps=10, seconds=1.0))
    history.apply(window(11, data_seconds))
    if seconds:
        profile = StepProfiled(at=2.0, step=20, steps=5, seconds=seconds, unsynchronised=0.01)
        history.apply(profile)
    return history


BALANCED = {"data": 0.01, "forward": 0.4, "backward": 0.4, "optimizer": 0.1, "other": 0.02}


@pytest.mark.parametrize(
    ("record", "kind", "evidence"),
    [
        (history(1.5, **BALANCED), "data", "waiting for data 38% of the time"),
        (history(**{**BALANCED, "launch": 0.85}), "launch", "takes the host 94% of a step"),
        (history(**{**BALANCED, "transfer": 0.5}), "copies", "copies to the device take 35%"),
        (history(**{**BALANCED, "other": 0.9}), "other", "own code takes 50% of a step"),
        (history(0.1, **BALANCED), "healthy", "healthy: data 1%, forward 43%"),
    ],
)
def test_the_diagnosis_names_what_takes_the_time(
    record: RunHistory, kind: str, evidence: str
) -> None:
    (finding,) = diagnose(record)
    assert finding.kind == kind
    assert evidence in finding.text
    assert bool(finding.advice) == (kind != "healthy")


def test_a_loss_that_is_not_finite_comes_first() -> None:
    record = history(1.5, **BALANCED)
    record.apply(DivergenceDetected(at=3.0, step=17, value="nan", last_finite=2.0))
    assert [finding.kind for finding in diagnose(record)] == ["diverging", "data"]
    assert diagnose(record)[0].evidence == "diverging: loss nan at step 17"


def test_a_run_that_failed_is_not_called_healthy() -> None:
    record = history(0.1, **BALANCED)
    record.apply(RunFailed(at=3.0, step=20, error="ValueError: mine (train.py:3)"))
    (finding,) = diagnose(record)
    assert finding.text == "failed: ValueError: mine (train.py:3)"


def test_a_short_run_is_not_judged() -> None:
    record = RunHistory()
    record.apply(window(1, 0.09, seconds=0.1))
    (finding,) = diagnose(record)
    assert finding.kind == "unknown"


def test_a_scripts_steps_become_a_line_every_two_seconds_unless_its_output_is_there() -> None:
    config = make_config({"workload": "script:/x/train.py"})
    log = log_of(config)
    lines = [line for at in (1, 2, 3, 4) for line in log.lines(window(at, None))]
    assert lines == ["epoch 1  step 10  loss 1.0000", "epoch 1  step 12  loss 1.0000"]
    assert isinstance(log, RecordedLog)
    quiet = log_of(config, has_output=True)
    assert list(quiet.lines(window(1, None))) == []

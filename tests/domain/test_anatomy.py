from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mpstui.domain.anatomy import LAUNCH, TIME_PARTS, SweepPoint, anatomy, explanation, launch_share
from mpstui.domain.events import (
    AnyEvent,
    EvaluationCompleted,
    RunStarted,
    RunStopped,
    StepProfiled,
    StepsCompleted,
)
from mpstui.domain.history import RunHistory
from mpstui.domain.summary import MedianSpread, RunSummary

MS = {"data": 1e-3, "transfer": 0.0, "forward": 2e-3, "backward": 4e-3, "optimizer": 1e-3}


def profile(seconds: dict[str, float] | None = None, pace: float = 8e-3) -> StepProfiled:
    return StepProfiled(
        at=4.0, step=70, steps=5, seconds=MS if seconds is None else seconds, unsynchronised=pace
    )


def history(
    wall: float = 20.0, evaluation: float = 2.0, told: StepProfiled | None = None
) -> RunHistory:
    """A run of 100 samples a second that trained 800: eight seconds."""
    events: list[AnyEvent] = [
        RunStarted(
            at=100.0,
            workload="mnist",
            device="cpu",
            device_name="CPU",
            torch="2.14.1",
            dataset="embedded",
            train_samples=5000,
            test_samples=2000,
            parameters=1,
            steps_per_epoch=938,
            total_steps=938,
            threads=2,
        ),
        StepsCompleted(
            at=101.0,
            epoch=1,
            first_step=1,
            losses=np.zeros(4, "<f4").tobytes(),
            samples=800,
            epoch_samples=800,
            seconds=8.0,
            timed=True,
            lr=1.0,
        ),
        EvaluationCompleted(
            at=102.0, epoch=1, step=4, loss=1.0, samples=10, correct=1, seconds=evaluation
        ),
    ]
    made = RunHistory()
    for event in (*events, *([told] if told else [])):
        made.apply(event)
    made.apply(RunStopped(at=100.0 + wall, step=4, reason=""))
    return made


def summary(device: str = "cpu", rate: float = 100.0, **values: Any) -> RunSummary:
    asked = {
        "run_id": device,
        "workload": "mnist",
        "device": device,
        "device_name": "",
        "machine": "",
        "memory_bytes": 0,
        "torch": "",
        "dataset": "",
        "pipeline": "resident",
        "precision": "float32",
        "mode": "turns",
        "comparison": "c",
        "batch_size": 64,
        "seed": 1,
        "state": "finished",
        "message": "",
        "started_at": 0.0,
        "ended_at": 1.0,
        "steps": 100,
        "epoch_seconds": None,
        "samples_per_second": MedianSpread(median=rate, spread=1.0, count=9),
        "train_loss": 1.0,
        "test_loss": 1.0,
        "accuracy": None,
        "diverged_at": None,
        "notes": (),
        **values,
    }
    return RunSummary(**asked)


def test_a_runs_wall_time_is_cut_up() -> None:
    cut = anatomy(history(told=profile()))
    assert cut is not None
    assert cut.wall == 20.0
    assert cut.seconds == pytest.approx(
        {
            "data": 1.0,
            "transfer": 0.0,
            "forward": 2.0,
            "backward": 4.0,
            "optimizer": 1.0,
            "other": 0.0,
            "evaluation": 2.0,
            "waiting": 10.0,
        }
    )
    assert cut.shares["waiting"] == pytest.approx(0.5)


@given(
    wall=st.floats(0.01, 1e6),
    evaluation=st.floats(0, 1e6),
    phases=st.lists(st.floats(0, 10), min_size=4, max_size=4).filter(lambda all: sum(all) > 1e-9),
)
def test_the_parts_add_up_and_none_is_negative(
    wall: float, evaluation: float, phases: list[float]
) -> None:
    told = profile(dict(zip(("data", "forward", "backward", "optimizer"), phases, strict=True)))
    cut = anatomy(history(wall, evaluation, told))
    assert cut is not None
    assert list(cut.seconds) == list(TIME_PARTS)
    assert min(cut.seconds.values()) >= 0
    assert sum(cut.shares.values()) == pytest.approx(1.0)


def test_launching_is_no_part_of_its_own() -> None:
    plain = anatomy(history(told=profile()))
    assert anatomy(history(told=profile({**MS, LAUNCH: 6e-3}))) == plain


def test_there_is_no_anatomy_before_a_profile() -> None:
    assert anatomy(history()) is None
    assert anatomy(RunHistory()) is None
    assert anatomy(history(told=profile({"forward": 0.0}))) is None


@pytest.mark.parametrize(
    ("launch", "pace", "share"),
    [(6.3e-3, 5e-3, 0.9), (7e-3, 10e-3, 0.7), (3.5e-3, 7e-3, 0.5)],
)
def test_the_launch_share_is_over_the_longer_of_both_steps(
    launch: float, pace: float, share: float
) -> None:
    assert launch_share(profile({**MS, LAUNCH: launch}, pace)) == pytest.approx(share)


def test_the_launch_share_of_a_cpu_is_not_known() -> None:
    assert launch_share(profile()) is None


def bound(share: float) -> StepProfiled:
    return profile({**MS, LAUNCH: share * 8e-3})


def sentence(told: StepProfiled | None, sweep: tuple[SweepPoint, ...] = (), **values: Any) -> str:
    run = summary("cuda", 156.0, **values)
    return explanation([(summary(), profile()), (run, told)], sweep)


def test_where_launching_sets_the_pace_a_larger_batch_is_suggested() -> None:
    text = sentence(bound(0.85))
    assert text.startswith("at batch 64 cuda is 1.56× as fast as cpu: launching takes the host 85%")
    assert text.endswith("try batch 512 (mpstui sweep measures it)")
    assert "batch 4096 (" in sentence_at(1024)
    assert "try" not in sentence_at(4096)


def sentence_at(batch: int) -> str:
    pair = (summary(batch_size=batch), profile()), (summary("cuda", batch_size=batch), bound(0.9))
    return explanation(pair)


def test_a_sweep_that_was_measured_takes_the_suggestions_place() -> None:
    points = [
        SweepPoint(device=device, batch_size=size, samples_per_second=rate)
        for device, size, rate in (
            ("cuda", 64, 10.0),
            ("cuda", 256, 1000.0),
            ("cuda", 512, 900.0),
            ("cpu", 1024, 9e9),
        )
    ]
    points.append(SweepPoint(device="cuda", batch_size=4096, error="out of memory"))
    text = sentence(bound(0.9), tuple(points))
    assert text.endswith("batch 256 was the fastest in the sweep, 1,000 samples/s")


@pytest.mark.parametrize("share", [0.1, 0.49, 0.5, 0.79])
def test_no_batch_is_suggested_where_launching_does_not_set_the_pace(share: float) -> None:
    text = sentence(bound(share))
    assert "try batch" not in text
    assert ("the device's work" in text) == (share < 0.5)


def test_without_a_launch_time_the_phase_that_changes_most_is_named() -> None:
    faster = profile({**MS, "backward": 1e-3})
    text = explanation([(summary(), profile()), (summary("cpu@threads=2", 150.0), faster)])
    assert "backward changes most, 4.00 to 1.00 ms a step" in text
    assert "mpstui sweep" in text
    assert "try batch" not in text


def test_loading_that_takes_most_of_a_step_is_named_first() -> None:
    loading = profile({**MS, "data": 20e-3, LAUNCH: 8e-3})
    assert "data and transfer take 74%" in sentence(loading)
    assert "pipeline=resident" not in sentence(loading)
    assert sentence(loading, pipeline="reference").endswith("; try pipeline=resident")


def test_nothing_is_claimed_that_was_not_measured() -> None:
    assert "the reason is unknown" in sentence(None)
    pair = [(summary(), None), (summary("cpu@threads=2"), profile())]
    assert "cannot be located" in explanation(pair)
    assert "do not compare" in sentence(bound(0.9), batch_size=128)
    assert "not for timing" in sentence(bound(0.9), mode="together")
    assert explanation([(summary(), profile())]) == ""
    assert explanation([]) == ""
    assert sentence(bound(0.9), samples_per_second=None) == ""


def test_the_fastest_of_several_is_explained_and_epochs_come_before_rates() -> None:
    first = summary(epoch_seconds=MedianSpread(median=30.0, spread=None, count=1))
    second = summary("cuda", epoch_seconds=MedianSpread(median=3.0, spread=None, count=1))
    third = summary("mps", epoch_seconds=MedianSpread(median=10.0, spread=None, count=1))
    text = explanation([(first, profile()), (third, bound(0.9)), (second, bound(0.9))])
    assert text.startswith("at batch 64 cuda is 10.00× as fast as cpu")

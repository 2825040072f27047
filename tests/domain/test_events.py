from __future__ import annotations

import math
from typing import get_args

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mpstui.domain import events
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
    decode,
    encode,
)
from mpstui.domain.plan import Plan

KINDS: tuple[type[AnyEvent], ...] = get_args(AnyEvent)
FINITE = st.floats(allow_nan=False, allow_infinity=False)
TEXT = st.text(st.characters(exclude_categories=["Cs"]))
COUNT = st.integers(0, 2**63 - 1)
LOSSES = st.lists(st.floats(width=32), min_size=1).map(lambda v: np.array(v, "<f4").tobytes())

BUILT: dict[type[AnyEvent], st.SearchStrategy[AnyEvent]] = {
    PreparationAdvanced: st.builds(
        PreparationAdvanced, at=FINITE, stage=TEXT, fraction=st.none() | FINITE
    ),
    RunStarted: st.builds(
        RunStarted,
        at=FINITE,
        workload=TEXT,
        device=TEXT,
        device_name=TEXT,
        torch=TEXT,
        dataset=TEXT,
        train_samples=COUNT,
        test_samples=COUNT,
        parameters=COUNT,
        steps_per_epoch=COUNT,
        total_steps=COUNT,
        threads=COUNT,
        notes=st.lists(TEXT).map(tuple),
    ),
    PlanChosen: st.builds(
        PlanChosen,
        at=FINITE,
        plan=st.builds(Plan, layout=TEXT, rewrites=st.lists(TEXT).map(tuple), threads=COUNT),
        line=TEXT,
        gain=st.none() | FINITE,
        untried=st.lists(TEXT).map(tuple),
    ),
    ProgressStalled: st.builds(ProgressStalled, at=FINITE, step=COUNT, seconds=FINITE, place=TEXT),
    WarmupFinished: st.builds(WarmupFinished, at=FINITE, steps=COUNT, seconds=FINITE),
    StepsCompleted: st.builds(
        StepsCompleted,
        at=FINITE,
        epoch=COUNT,
        first_step=COUNT,
        losses=LOSSES,
        samples=COUNT,
        epoch_samples=COUNT,
        seconds=FINITE,
        timed=st.booleans(),
        lr=FINITE,
        device_bytes=st.none() | COUNT,
    ),
    EpochCompleted: st.builds(
        EpochCompleted,
        at=FINITE,
        epoch=COUNT,
        mean_loss=st.none() | FINITE,
        samples=COUNT,
        timed_samples=COUNT,
        timed_seconds=FINITE,
        wall_seconds=FINITE,
    ),
    EvaluationCompleted: st.builds(
        EvaluationCompleted,
        at=FINITE,
        epoch=COUNT,
        step=COUNT,
        loss=st.none() | FINITE,
        samples=COUNT,
        correct=st.none() | COUNT,
        seconds=FINITE,
    ),
    SeriesRecorded: st.lists(st.tuples(COUNT, st.floats())).flatmap(
        lambda pairs: st.builds(
            SeriesRecorded,
            at=FINITE,
            name=TEXT,
            steps=st.just(tuple(step for step, _ in pairs)),
            values=st.just(np.array([value for _, value in pairs], "<f8").tobytes()),
        )
    ),
    EvaluationTimed: st.builds(EvaluationTimed, at=FINITE, epoch=COUNT, step=COUNT, seconds=FINITE),
    StartHashed: st.builds(StartHashed, at=FINITE, weights=TEXT, batch=TEXT),
    ParametersHashed: st.builds(
        ParametersHashed, at=FINITE, step=COUNT, digest=TEXT, synchronised=st.booleans()
    ),
    RanksDiffered: st.builds(
        RanksDiffered, at=FINITE, step=COUNT, rank=COUNT, agreed_at=st.none() | COUNT
    ),
    SampleSaved: st.builds(SampleSaved, at=FINITE, epoch=COUNT, kind=TEXT, path=TEXT),
    SystemSampled: st.builds(
        SystemSampled,
        at=FINITE,
        cores=st.lists(FINITE).map(tuple),
        memory_used=COUNT,
        memory_total=COUNT,
        swap_used=COUNT,
        process_cpu=st.none() | FINITE,
        process_rss=st.none() | COUNT,
    ),
    DivergenceDetected: st.builds(
        DivergenceDetected, at=FINITE, step=COUNT, value=TEXT, last_finite=st.none() | FINITE
    ),
    WorkCounted: st.builds(
        WorkCounted, at=FINITE, samples=COUNT, flops=st.none() | COUNT, reason=TEXT
    ),
    MatmulMeasured: st.builds(MatmulMeasured, at=FINITE, flops_per_second=FINITE, dtype=TEXT),
    StepProfiled: st.builds(
        StepProfiled,
        at=FINITE,
        step=COUNT,
        steps=COUNT,
        seconds=st.dictionaries(TEXT, FINITE),
        unsynchronised=FINITE,
    ),
    SnapshotSaved: st.builds(
        SnapshotSaved,
        at=FINITE,
        step=COUNT,
        epoch=COUNT,
        path=TEXT,
        bytes=COUNT,
        seconds=FINITE,
        share=FINITE,
    ),
    StepChecked: st.builds(
        StepChecked,
        at=FINITE,
        step=COUNT,
        loss_gap=st.none() | FINITE,
        gradient_tolerance=st.none() | FINITE,
        phase=TEXT,
        worst=TEXT,
        reason=TEXT,
    ),
    EvaluationChecked: st.builds(
        EvaluationChecked,
        at=FINITE,
        epoch=COUNT,
        step=COUNT,
        samples=COUNT,
        loss=st.none() | FINITE,
        correct=st.none() | COUNT,
        differs=TEXT,
        reason=TEXT,
    ),
    AlarmRaised: st.builds(
        AlarmRaised,
        at=FINITE,
        step=COUNT,
        value=FINITE,
        other=FINITE,
        gap=FINITE,
        against=TEXT,
        policy=TEXT,
    ),
    RunPaused: st.builds(RunPaused, at=FINITE, step=COUNT),
    RunResumed: st.builds(RunResumed, at=FINITE, step=COUNT),
    RunFinished: st.builds(RunFinished, at=FINITE, step=COUNT),
    RunStopped: st.builds(RunStopped, at=FINITE, step=COUNT, reason=TEXT),
    RunFailed: st.builds(RunFailed, at=FINITE, step=COUNT, error=TEXT),
}


def steps(losses: bytes) -> StepsCompleted:
    return StepsCompleted(
        at=0.0,
        epoch=1,
        first_step=1,
        losses=losses,
        samples=1,
        epoch_samples=1,
        seconds=1.0,
        timed=True,
        lr=1.0,
    )


def test_the_union_is_complete() -> None:
    assert set(KINDS) == set(events.Event.__subclasses__())
    assert set(BUILT) == set(KINDS)


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
@given(data=st.data())
def test_an_event_is_one_line_and_comes_back(kind: type[AnyEvent], data: st.DataObject) -> None:
    event = data.draw(BUILT[kind])
    line = encode(event)
    assert line.endswith(b"\n")
    assert len(line.splitlines()) == 1
    assert decode(line) == event


def test_losses_that_are_not_finite_survive_to_the_bit() -> None:
    losses = np.array([0.5, math.nan, math.inf, -math.inf, -0.0, 1e-45], "<f4")
    back = decode(encode(steps(losses.tobytes())))
    assert isinstance(back, StepsCompleted)
    assert back.losses == losses.tobytes()
    assert np.array_equal(np.frombuffer(back.losses, "<f4"), losses, equal_nan=True)


@pytest.mark.parametrize(
    "line",
    [
        b"",
        b"\n",
        b"garbage",
        b"\xff\xfe",
        b"null",
        b"[]",
        b"{}",
        b'{"event":"RunForgotten","at":1.0}',
        b'{"event":"RunPaused","at":1.0}',
        b'{"event":"RunPaused","at":"now","step":1}',
        b'{"event":"RunPaused","at":1.0,"step":1',
        encode(steps(b"\0\0\0\0")).replace(b"AAAAAA==", b""),
        encode(steps(b"\0\0\0\0")).replace(b"AAAAAA==", b"AAAA"),
        encode(steps(b"\0\0\0\0")).replace(b"AAAAAA==", b"A"),
    ],
)
def test_a_line_that_is_no_event_raises(line: bytes) -> None:
    with pytest.raises(msgspec.DecodeError):
        decode(line)


def test_a_field_of_a_later_version_is_passed_over() -> None:
    line = b'{"event":"RunPaused","at":1.0,"step":2,"mood":"fine"}'
    assert decode(line) == RunPaused(at=1.0, step=2)


@pytest.mark.parametrize("losses", [b"", b"\0\0\0"])
def test_steps_without_whole_losses_cannot_be_made(losses: bytes) -> None:
    with pytest.raises(ValueError, match="losses"):
        steps(losses)

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
    AnyEvent,
    RunPaused,
    StepsCompleted,
    decode,
    encode,
)
from tests.builders.valid import valid

KINDS: tuple[type[AnyEvent], ...] = get_args(AnyEvent)


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


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
@given(data=st.data())
def test_an_event_is_one_line_and_comes_back(kind: type[AnyEvent], data: st.DataObject) -> None:
    event = data.draw(valid(kind))
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
        b'{"event":"RunPaused","at":1e17,"step":1}',
        b'{"event":"RunPaused","at":1e999,"step":1}',
        b'{"event":"RunPaused","at":-1.0,"step":1}',
        b'{"event":"RunPaused","at":1.0,"step":-1}',
        b'{"event":"RunPaused","at":1.0,"step":10000000000000000}',
        b'{"event":"RunStopped","at":1.0,"step":1,"reason":"\xff"}',
        b'{"event":"RunStopped","at":1.0,"step":1,"more":' + b"[" * 100_000,
        b'{"event":"SampleSaved","at":1.0,"epoch":1,"kind":"sample","path":"../a.png"}',
        b'{"event":"SampleSaved","at":1.0,"epoch":1,"kind":"sample","path":"/a.png"}',
        b'{"event":"SampleSaved","at":1.0,"epoch":1,"kind":"sample","path":"C:a.png"}',
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

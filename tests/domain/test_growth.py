"""Memory that grows with every step, told apart from memory that is taken once."""

from __future__ import annotations

import random

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mpstui.domain.config import make_config
from mpstui.domain.events import SystemSampled, WarmupFinished
from mpstui.domain.growth import MemoryGrowth, MemoryReading, growth_of
from mpstui.domain.history import MAX_READINGS, RunHistory
from mpstui.domain.summarise import summarise
from tests.domain.test_history_states import steps

MEGABYTE = 2**20


def readings(*megabytes: float, stride: int = 10) -> list[MemoryReading]:
    return [
        MemoryReading(11 + place * stride, round(value * MEGABYTE))
        for place, value in enumerate(megabytes)
    ]


def grown(*megabytes: float) -> MemoryGrowth:
    growth = growth_of(readings(*megabytes), "worker")
    assert growth is not None
    return growth


def test_a_graph_that_is_stored_at_each_step_is_seen() -> None:
    growth = grown(*(268 + 147 * place for place in range(13)))
    assert growth.bytes_per_step == pytest.approx(14.7 * MEGABYTE)
    assert growth.text == "worker memory grows 15 MB a step since step 11 (268 MB to 2.0 GB)"


def test_growth_that_began_later_is_seen_from_there() -> None:
    growth = grown(*[300.0] * 12, *(300 + 60 * place for place in range(24)))
    assert 11 + 8 * 10 <= growth.since.step <= 11 + 15 * 10


@pytest.mark.parametrize(
    "megabytes",
    [
        [500.0] * 40,
        [300.0] * 20 + [900.0] * 20,  # an evaluation's buffers, taken once
        [300.0, 300.0, 900.0, 900.0, 901.0, 900.0, 900.0, 900.0],
        [300.0, 900.0] * 20,  # up and down
        [300 + 600 * (1 - 0.7**place) for place in range(30)],  # a cache that fills up
        [300.0 + place for place in range(100)],  # too little to matter
        [300.0 + 100 * place for place in range(20)] + [2300.0] * 40,  # it has ended
        [300.0 + 200 * place for place in range(7)],  # too few readings to judge
    ],
)
def test_what_does_not_rise_with_every_step_is_no_growth(megabytes: list[float]) -> None:
    assert growth_of(readings(*megabytes), "worker") is None


@given(st.integers(0, 2**32), st.floats(100, 4000), st.integers(8, 300))
def test_noise_alone_never_grows(seed: int, level: float, count: int) -> None:
    draw = random.Random(seed)
    values = [level + draw.uniform(0, 60) for _ in range(count)]
    assert growth_of(readings(*values), "worker") is None


@given(st.integers(0, 2**32), st.integers(16, 300), st.floats(2, 20))
def test_a_steady_leak_is_seen_through_noise(seed: int, count: int, each_step: float) -> None:
    draw = random.Random(seed)
    values = [300 + 30 * each_step * place + draw.uniform(0, 60) for place in range(count)]
    growth = growth_of(readings(*values, stride=30), "worker")
    assert growth is not None
    assert growth.bytes_per_step == pytest.approx(each_step * MEGABYTE, rel=0.25)


def sampled(history: RunHistory, step: int, rss: int | None, device: int | None = None) -> None:
    event = steps(step, [1.0])
    history.apply(msgspec.structs.replace(event, device_bytes=device))
    history.apply(
        SystemSampled(
            at=1.0,
            cores=(),
            memory_used=1,
            memory_total=2,
            swap_used=0,
            process_cpu=None,
            process_rss=rss,
        )
    )


def test_a_history_follows_the_worker_and_its_device_after_the_warm_up() -> None:
    for worker, device in ((True, False), (False, True)):
        history = RunHistory()
        sampled(history, 1, 9 * MEGABYTE)  # what the start takes is no growth
        history.apply(WarmupFinished(at=1.0, steps=10, seconds=1.0))
        for place in range(20):
            high = (500 + 50 * place) * MEGABYTE
            flat = 500 * MEGABYTE
            sampled(history, 11 + place, high if worker else flat, high if device else flat)
        growth = history.memory_growth
        assert growth is not None
        assert growth.where == ("worker" if worker else "device")
        assert growth.since.step == 11
        (note,) = summarise("id", make_config({}), None, history).notes
        assert note.startswith(growth.text)
        assert "loss.detach()" in note


def test_a_long_run_holds_few_readings() -> None:
    history = RunHistory()
    history.apply(WarmupFinished(at=1.0, steps=0, seconds=1.0))
    for step in range(1, 4 * MAX_READINGS):
        sampled(history, step, 500 * MEGABYTE + step * MEGABYTE)
    assert len(history._memory["worker"]) < MAX_READINGS
    assert history.memory_growth is not None

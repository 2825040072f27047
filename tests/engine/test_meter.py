from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch

from mpstui.backends import Backend
from mpstui.domain.devices import parse_device
from mpstui.engine.meter import FLUSH_SECONDS, FLUSH_STEPS, Meter


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


class Counting(Backend):
    """A CPU that notes when it was waited for."""

    def __init__(self, note: Callable[[], None] = lambda: None) -> None:
        super().__init__(parse_device("cpu"))
        self.waits = 0
        self._note = note

    def synchronize(self) -> None:
        self.waits += 1
        self._note()


def meter(clock: Clock, per_sample: bool = False) -> Meter:
    return Meter(Counting(), per_sample, clock)


def take(meter: Meter, *losses: float, samples: int = 4) -> None:
    for loss in losses:
        meter.add(torch.tensor([loss]), [samples])


def test_nothing_flushes_to_nothing() -> None:
    empty = meter(Clock())
    assert empty.flush() is None
    empty.start(3)
    assert empty.flush() is None


def test_a_window_holds_its_losses_samples_and_seconds() -> None:
    clock = Clock()
    busy = meter(clock)
    busy.start(0)
    take(busy, 3.0, 2.0)
    take(busy, 1.0, samples=2)
    clock.now += 0.5
    window = busy.flush()
    assert window is not None
    assert window.losses.tolist() == [3.0, 2.0, 1.0]
    assert window.losses.dtype.name == "float32"
    assert (window.samples, window.seconds, window.timed) == (10, 0.5, True)
    assert busy.flush() is None


def test_each_window_begins_where_the_last_one_ended() -> None:
    clock = Clock()
    busy = meter(clock)
    busy.start(0)
    seconds = []
    for pause in (0.25, 0.5, 1.0):
        take(busy, 1.0)
        clock.now += pause
        window = busy.flush()
        assert window is not None
        seconds.append(window.seconds)
    assert seconds == [0.25, 0.5, 1.0]


def test_time_before_opening_does_not_count() -> None:
    clock = Clock()
    busy = meter(clock)
    busy.start(0)
    clock.now += 50.0  # an evaluation
    busy.start(0)
    take(busy, 1.0)
    clock.now += 0.25
    window = busy.flush()
    assert window is not None
    assert window.seconds == 0.25


def test_opening_waits_for_the_device_before_it_looks_at_the_clock() -> None:
    clock = Clock()

    def late() -> None:
        clock.now += 10.0

    backend = Counting(late)
    busy = Meter(backend, False, clock)
    busy.start(0)
    take(busy, 1.0)
    clock.now += 0.25
    window = busy.flush()
    assert window is not None
    assert (backend.waits, window.seconds) == (1, 0.25)


def test_the_settling_steps_are_a_window_outside_the_clock() -> None:
    clock = Clock()
    busy = meter(clock)
    busy.start(3)
    clock.now += 60.0  # however long: the window of settling steps is not cut
    due = []
    for loss in (1.0, 2.0, 3.0):
        take(busy, loss)
        due.append(busy.due)
    settled = busy.flush()
    take(busy, 4.0)
    clock.now += 0.5
    after = busy.flush()
    assert due == [False, False, True]
    assert settled is not None
    assert after is not None
    assert (len(settled.losses), settled.timed) == (3, False)
    assert (after.seconds, after.timed) == (0.5, True)


def test_a_settling_cut_short_goes_on_in_the_next_window() -> None:
    busy = meter(Clock())
    busy.start(3)
    flags = []
    for steps in (2, 1, 1):
        take(busy, *[1.0] * steps)
        window = busy.flush()
        assert window is not None
        flags.append(window.timed)
    assert flags == [False, False, True]


def test_sums_over_a_batch_are_divided_by_its_size() -> None:
    busy = meter(Clock(), per_sample=True)
    busy.start(0)
    take(busy, 100.0, samples=4)
    take(busy, 100.0, samples=8)
    window = busy.flush()
    assert window is not None
    assert window.losses.tolist() == [25.0, 12.5]
    assert window.losses.dtype.name == "float32"


def test_a_window_is_due_after_its_seconds() -> None:
    clock = Clock()
    busy = meter(clock)
    busy.start(0)
    take(busy, 1.0)
    assert not busy.due
    clock.now += FLUSH_SECONDS * 1.01
    assert busy.due


def test_a_window_is_due_at_its_most_steps() -> None:
    busy = meter(Clock())
    busy.start(0)
    take(busy, *[1.0] * (FLUSH_STEPS - 1))
    assert not busy.due
    take(busy, 1.0)
    assert busy.due


def test_what_is_not_finite_is_kept() -> None:
    busy = meter(Clock(), per_sample=True)
    busy.start(0)
    take(busy, math.nan, math.inf, -math.inf)
    window = busy.flush()
    assert window is not None
    assert str(window.losses.tolist()) == "[nan, inf, -inf]"


def test_losses_are_taken_without_their_graph_and_in_any_precision() -> None:
    busy = meter(Clock())
    busy.start(0)
    busy.add(torch.tensor([3.0]), [1])
    window = busy.flush()
    busy.add(torch.tensor([0.5], dtype=torch.bfloat16), [1])
    lower = busy.flush()
    assert window is not None
    assert lower is not None
    assert window.losses.tolist() == pytest.approx([3.0])
    assert lower.losses.dtype.name == "float32"

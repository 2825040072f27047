from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mpstui.domain import series
from mpstui.domain.series import NonFinite, Series

VALUES = st.floats(-1e6, 1e6) | st.sampled_from([math.nan, math.inf, -math.inf, 0.0])
CHUNKS = st.lists(st.lists(VALUES, max_size=13), max_size=12)


def kind(value: float) -> str:
    return "" if math.isfinite(value) else str(value)


def stretches(ys: list[float]) -> list[NonFinite]:
    """Brute force: joined where neighbours are of one kind; x counts from 1."""
    stretches: list[NonFinite] = []
    for x, (before, y) in enumerate(zip([0.0, *ys], ys, strict=False), 1):
        if kind(before) and kind(before) != kind(y):
            stretches[-1] = stretches[-1]._replace(until=float(x))
        if kind(y) and kind(before) != kind(y):
            stretches.append(NonFinite(float(x), math.inf, kind(y)))
    return stretches


def filled(chunks: list[list[float]], capacity: int) -> Series:
    made, at = Series(capacity), 1
    for chunk in chunks:
        made.append(np.arange(at, at + len(chunk)), chunk)
        at += len(chunk)
    return made


@given(CHUNKS, st.sampled_from([2, 4, 6, 16, 64]), st.integers(1, 40))
def test_it_agrees_with_a_list_of_all_points(
    chunks: list[list[float]], capacity: int, columns: int
) -> None:
    made = filled(chunks, capacity)
    ys = [y for chunk in chunks for y in chunk]
    finite = [y for y in ys if math.isfinite(y)]
    assert made.count == len(ys)
    assert made.buckets <= capacity
    assert made.span() == ((min(finite), max(finite)) if finite else None)
    assert made.last() == (finite[-1] if finite else None)
    assert made.non_finite == stretches(ys)
    assert made.marks_dropped == 0
    x, y = made.points(columns)
    assert len(x) == len(y) <= 2 * columns
    assert (np.diff(x) >= 0).all()
    assert np.isfinite(y).all()
    assert set(y) <= set(finite)
    if finite:
        assert (y.min(), y.max()) == (min(finite), max(finite))
        assert 1 <= x[0] <= x[-1] <= len(ys)


@given(CHUNKS, st.integers(1, 5))
def test_stretches_beyond_the_cap_are_counted(chunks: list[list[float]], cap: int) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(series, "MARKS", cap)
        made = filled(chunks, 4)
    every = stretches([y for chunk in chunks for y in chunk])
    assert made.non_finite == every[:cap]
    assert made.marks_dropped == len(every[cap:])


def test_while_there_is_room_every_point_is_its_own() -> None:
    made = filled([[3.0, 1.0, 2.0]], 8)
    x, y = made.points(10)
    assert x.tolist() == [1, 2, 3]
    assert y.tolist() == [3, 1, 2]
    x, y = made.points(10, start=2, end=2)
    assert (x.tolist(), y.tolist()) == ([2], [1])


def test_an_empty_series_has_nothing() -> None:
    made = Series(4)
    made.append([], [])
    assert (made.count, made.buckets, made.span(), made.last()) == (0, 0, None, None)
    assert made.points(10)[0].size == 0


def test_of_a_million_points_no_extreme_and_no_odd_value_is_lost() -> None:
    ys = np.random.default_rng(0).normal(size=1_000_000)
    ys[123_456], ys[876_543] = 99.0, -99.0
    odd = {10: math.nan, 500_000: math.inf, 500_001: -math.inf, 999_999: math.nan}
    for at, value in odd.items():
        ys[at] = value
    made = Series()
    for at in range(0, len(ys), 997):
        chunk = ys[at : at + 997]
        made.append(np.arange(at, at + len(chunk)), chunk)
    assert made.count == 1_000_000
    assert made.buckets <= series.CAPACITY
    assert made.span() == (-99.0, 99.0)
    assert made.last() == ys[999_998]
    untils = (11, 500_001, 500_002, math.inf)
    assert made.non_finite == [
        NonFinite(at, until, str(value))
        for (at, value), until in zip(odd.items(), untils, strict=True)
    ]
    x, y = made.points(120)
    assert len(x) <= 240
    assert (y.min(), y.max()) == (-99.0, 99.0)
    assert abs(x[y.argmax()] - 123_456) <= 1_000_000 / 120 + made.stride


def test_a_stretch_over_many_appends_is_one() -> None:
    made = Series(4)
    for at in range(100):
        made.append([at], [math.nan])
    assert made.non_finite == [NonFinite(0.0, math.inf, "nan")]
    made.add(100.0, 1.0)
    made.append([101.0], [math.nan])
    assert made.non_finite == [NonFinite(0.0, 100.0, "nan"), NonFinite(101.0, math.inf, "nan")]


@given(CHUNKS, st.sampled_from([2, 4, 16, 64]), st.integers(1, 7), st.integers(1, 1000))
def test_the_value_at_x_is_what_was_logged_there(
    chunks: list[list[float]], capacity: int, apart: int, cap: int
) -> None:
    """The newest point at or before x, or honest bounds of it; never another kind of value."""
    logged: list[tuple[int, float]] = []
    made = Series(capacity)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(series, "MARKS", cap)
        for chunk in chunks:
            new = [(apart * (len(logged) + place), y) for place, y in enumerate(chunk, 1)]
            logged += new
            if len(new) == 1:
                made.add(*new[0])
            else:
                made.append([x for x, _ in new], chunk)
    for x in range(logged[-1][0] + 2 if logged else 3):
        value = made.at(x + 0.25)
        before = [y for at, y in logged if at <= x]
        if not before:
            assert value is None
        elif value is None:
            assert made.marks_dropped
        elif kind(before[-1]):
            assert (kind(value.low), kind(value.high)) == (kind(before[-1]),) * 2
        else:
            assert value.low <= before[-1] <= value.high
            assert value.low == value.high or made.stride > 1

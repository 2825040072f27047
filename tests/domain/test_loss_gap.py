"""Recorded losses, and losses made for the test: who keeps to the course, and who does not.

``tests/recorded/courses.npz`` holds the losses of real runs of 600 steps, by
``workload-spec-seed``, recorded on 16 cores of an Intel Xeon and one NVIDIA H200, 2026-11-23.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mpstui.domain.loss_gap import BLOCK, LossGapMonitor

RECORDED = np.load(Path(__file__).parents[1] / "recorded" / "courses.npz")
FIRST = "cpu@threads=2"


def pairs(kind: str) -> Iterator[tuple[str, str]]:
    for name in RECORDED.files:
        workload, _, rest = name.partition("-")
        seed = name.rpartition("-")[2]
        other = f"{workload}-{FIRST}-{seed}"
        if kind in rest and name != other and other in RECORDED.files:
            yield name, other


def course_of(name: str, other: str) -> LossGapMonitor:
    course = LossGapMonitor()
    course.add(RECORDED[name].tolist(), RECORDED[other].tolist())
    return course


@pytest.mark.parametrize("kind", ["cpu@threads=1", "precision=bf16", "cuda"])
@pytest.mark.parametrize("workload", ["mnist", "vae"])
def test_real_runs_that_differ_by_rounding_and_draws_raise_no_alarm(
    kind: str, workload: str
) -> None:
    found = [pair for pair in pairs(kind) if pair[0].startswith(workload)]
    assert len(found) == 20
    for name, other in found:
        assert course_of(name, other).diverged is None, name


@pytest.mark.parametrize(
    "name", ["vae-fault=neg-stride0-1", "vae-fault=bce-backward-1", "mnist-fault=lstm-dropout-1"]
)
def test_a_simulated_fault_that_changes_the_loss_raises_one_within_40_steps(name: str) -> None:
    workload = name.partition("-")[0]
    parted = course_of(name, f"{workload}-{FIRST}-1").diverged
    assert parted is not None
    assert parted.step <= 2 * BLOCK
    assert parted.gap > 0.5


def test_the_alarm_names_the_first_block_that_is_off() -> None:
    course = LossGapMonitor()
    course.add([2.0] * 100 + [9.0] * 100, [2.0] * 200)
    assert course.diverged is not None
    assert (course.diverged.step, course.diverged.value, course.diverged.reference) == (
        120,
        9.0,
        2.0,
    )


def test_a_gap_that_passes_again_is_no_alarm_and_one_that_stays_is() -> None:
    once = [1.0] * BLOCK + [1.4] * BLOCK + [1.0] * BLOCK + [1.4] * BLOCK
    course = LossGapMonitor()
    course.add(once, [1.0] * len(once))
    assert course.diverged is None
    course.add([1.4] * BLOCK, [1.0] * BLOCK)
    assert course.diverged is not None


def test_a_loss_near_zero_is_measured_against_what_it_came_from() -> None:
    fall = [2.0] * BLOCK + [0.001] * BLOCK
    course = LossGapMonitor()
    course.add([2.0] * BLOCK + [0.01] * BLOCK, fall)
    assert course.diverged is None


def test_losses_that_are_not_finite_are_left_to_their_own_event() -> None:
    course = LossGapMonitor()
    blocks = course.add([1.0] * BLOCK + [math.nan] * BLOCK, [1.0] * 2 * BLOCK)
    assert [block.step for block in blocks] == [BLOCK]
    assert course.diverged is None


@given(
    st.lists(st.floats(0.01, 1e6), max_size=200),
    st.lists(st.integers(1, 50), max_size=30),
)
def test_it_does_not_matter_how_the_losses_arrive(losses: list[float], cuts: list[int]) -> None:
    whole, parts = LossGapMonitor(), LossGapMonitor()
    others = [1.0] * len(losses)
    expected = whole.add(losses, others)
    found, at = [], 0
    for cut in [*cuts, len(losses)]:
        found += parts.add(losses[at : at + cut], ())
        found += parts.add((), others[at : at + cut])
        at += cut
    assert found == expected
    assert parts.diverged == whole.diverged

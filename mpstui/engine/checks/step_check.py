"""A training step compared with the CPU's, by the rules of :mod:`mpstui.modes.agreement`.

A difference counts only if it shows in :data:`~mpstui.engine.checks.trio.CHECKED_STATES` states:
the run's own and others nearby.
"""

from __future__ import annotations

import math
import time
from contextlib import nullcontext
from typing import NamedTuple

from mpstui.domain.events import StepChecked
from mpstui.engine.data.feed import Batch
from mpstui.engine.setup import Setup
from mpstui.engine.sides import StepStart, copy_fault, in_dtype, load_start, perturb, side_of
from mpstui.modes.agreement import (
    CONSTANT,
    StepGaps,
    StepTolerance,
    gaps_of,
    step_outcome,
    tolerance_of,
    widest,
)
from mpstui.modes.recorded_random import RecordedRandom
from mpstui.trees import Tree

from .trio import (
    CHECKED_STATES,
    HIDDEN,
    SLOW_SECONDS,
    CheckTooSlow,
    NotChecked,
    Trio,
    without_double,
)


class _Comparison(NamedTuple):
    """A step compared from one state."""

    gaps: StepGaps
    tolerance: StepTolerance
    note: str


def compare_steps(setup: Setup, trio: Trio, batch: Batch, step: int) -> StepChecked:
    """Take a step on each of the three, from the run's state, and nearby ones if they differ.

    Args:
        setup: The run, for its fault.
        trio: The rebuilt run.
        batch: On the CPU.
        step: Seeds the random numbers.

    Raises:
        NotChecked: When random numbers can't be shared, or the CPU's own rounding hides any
            difference.
    """
    names = [name for name, _ in trio.cpu.model.named_parameters()]
    comparisons: list[_Comparison] = []
    for state_index in range(CHECKED_STATES):
        start = perturb(trio.start, names, state_index) if state_index else trio.start
        newest = _compare(setup, trio, start, batch.content, step)
        if newest.tolerance.hides:
            continue
        comparisons.append(newest)
        # One state's CPU gap may be small by chance, so the largest of all states counts.
        allowed = widest([comparison.tolerance for comparison in comparisons])
        for comparison in comparisons:
            if not allowed.phase(comparison.gaps):
                return _as_event(comparison, allowed)
    if len(comparisons) < CHECKED_STATES:
        raise NotChecked(HIDDEN)
    return _as_event(comparisons[0], allowed)


def _compare(setup: Setup, trio: Trio, start: StepStart, batch: Tree, step: int) -> _Comparison:
    rng = RecordedRandom(setup.config.seed)
    load_start(trio.device, start)
    device = side_of(trio.device)
    if not device.shares_updates:
        raise NotChecked("the optimizer evaluates the loss several times a step")
    device_outcome = step_outcome(device, batch, step, rng, copy_fault(setup))
    # Not before: both share the state of the user's classes.
    load_start(trio.cpu, start, trio.dtype)
    cpu = in_dtype(side_of(trio.cpu), trio.dtype)
    began = time.perf_counter()
    cpu_outcome = step_outcome(cpu, batch, step, rng, nullcontext(), device_outcome.updates)
    seconds = time.perf_counter() - began
    if rng.unshared:
        raise NotChecked(f"{', '.join(sorted(rng.unshared))} generates its own random numbers")
    if seconds > SLOW_SECONDS:
        raise CheckTooSlow(f"a step on the CPU takes {seconds:.0f} s, more than {SLOW_SECONDS:.0f}")
    gaps = gaps_of(device_outcome, cpu_outcome, start.tensors, trio.half)
    tolerance, note = CONSTANT, trio.note
    if trio.rounding is not None:
        try:
            load_start(trio.rounding, start, trio.rounding_dtype)
            rounding = in_dtype(side_of(trio.rounding), trio.rounding_dtype)
            third = step_outcome(
                rounding, batch, step, trio.replay(rng), nullcontext(), device_outcome.updates
            )
            rounding_gaps = gaps_of(third, cpu_outcome, start.tensors, trio.half)
            tolerance = tolerance_of(rounding_gaps, trio.half)
        except Exception as error:  # a custom model may create float32 tensors in its forward pass
            if trio.half:
                raise NotChecked(f"no step on the CPU in {setup.config.precision}") from error
            note = without_double(error)
    return _Comparison(gaps, tolerance, note)


def _as_event(comparison: _Comparison, tolerance: StepTolerance) -> StepChecked:
    gaps, phase = comparison.gaps, tolerance.phase(comparison.gaps)
    worst = gaps.update_of if phase == "optimizer" else gaps.gradient_of
    return StepChecked(
        at=0.0,
        step=1,
        loss_gap=_finite(gaps.loss),
        gradient_gap=_finite(gaps.gradient),
        update_gap=_finite(gaps.update),
        loss_tolerance=_finite(tolerance.loss),
        gradient_tolerance=_finite(tolerance.gradient),
        update_tolerance=_finite(tolerance.update),
        phase=phase,
        worst=worst if phase else "",
        note=comparison.note,
    )


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None

"""A step of a run, compared with the CPU's: :mod:`mpstui.modes.agreement` says how.

It must differ in :data:`~mpstui.engine.checks.trio.STATES` states: the run's own and others nearby.
"""

from __future__ import annotations

import math
import time
from contextlib import nullcontext
from typing import NamedTuple

from mpstui.domain.events import StepChecked
from mpstui.engine.setup import Setup
from mpstui.engine.sides import StepStart, enter, fault_of, in_dtype, jittered, side_of
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
from mpstui.modes.step import Batch

from .trio import HIDDEN, SLOW_SECONDS, STATES, CheckTooSlow, NotChecked, Trio, without_double


class _Look(NamedTuple):
    """What one state shows."""

    gaps: StepGaps
    tolerance: StepTolerance
    note: str


def compare_steps(setup: Setup, trio: Trio, batch: Batch, step: int) -> StepChecked:
    """Take a step on each of three, from the run's state, and from others where they part.

    Args:
        setup: The run, for its fault.
        trio: The run built anew.
        batch: On the CPU.
        step: Seeds the draws.

    Raises:
        NotChecked: When draws cannot be shared, or the CPU's own rounding hides any difference.
    """
    names = [name for name, _ in trio.cpu.model.named_parameters()]
    looks: list[_Look] = []
    for place in range(STATES):
        begin = jittered(trio.begin, names, place) if place else trio.begin
        look = _look(setup, trio, begin, batch, step)
        if look.tolerance.hides:
            continue
        looks.append(look)
        # A gap of the CPU's own may be small by chance: that of the other states counts too.
        allowed = widest([each.tolerance for each in looks])
        for each in looks:
            if not allowed.phase(each.gaps):
                return _told(each, allowed)
    if len(looks) < STATES:
        raise NotChecked(HIDDEN)
    return _told(looks[0], allowed)


def _look(setup: Setup, trio: Trio, begin: StepStart, batch: Batch, step: int) -> _Look:
    draws = RecordedRandom(setup.config.seed)
    for each in (trio.device, trio.cpu):
        enter(each, begin)
    device = side_of(trio.device)
    cpu = in_dtype(side_of(trio.cpu), trio.dtype)
    ours = step_outcome(device, batch, step, draws, fault_of(setup))
    began = time.perf_counter()
    theirs = step_outcome(cpu, batch, step, draws, nullcontext(), ours.gradients)
    seconds = time.perf_counter() - began
    if draws.unshared:
        raise NotChecked(f"{', '.join(sorted(draws.unshared))} draws numbers of its own")
    if seconds > SLOW_SECONDS:
        raise CheckTooSlow(f"a step on the CPU takes {seconds:.0f} s, more than {SLOW_SECONDS:.0f}")
    gaps = gaps_of(ours, theirs, begin.named, trio.half)
    tolerance, note = CONSTANT, trio.note
    if trio.other is not None:
        try:
            enter(trio.other, begin)
            other = in_dtype(side_of(trio.other), trio.other_dtype)
            third = step_outcome(
                other, batch, step, trio.repeated(draws), nullcontext(), ours.gradients
            )
            own = gaps_of(third, theirs, begin.named, trio.half)
            tolerance = tolerance_of(own, trio.half)
        except Exception as error:  # the user's model may make float32 tensors as it runs
            if trio.half:
                raise NotChecked(f"no step on the CPU in {setup.config.precision}") from error
            note = without_double(error)
    return _Look(gaps, tolerance, note)


def _told(look: _Look, tolerance: StepTolerance) -> StepChecked:
    gaps, phase = look.gaps, tolerance.phase(look.gaps)
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
        note=look.note,
    )


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None

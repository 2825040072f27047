"""The test of a batch, compared with the CPU's: the loss, and the answers that are counted.

Rounding changes an answer only where two classes are equal but for rounding. So on the CPU too, in
another precision, some of the answers change, and a device may change four times as many; at least
:data:`ANSWERS` of the batch, or :data:`HALF_ANSWERS` in half precision, with its many ties.
"""

from __future__ import annotations

import math
from contextlib import AbstractContextManager, nullcontext
from typing import Any, NamedTuple

from mpstui.domain.events import EvaluationChecked
from mpstui.engine.setup import Setup
from mpstui.engine.sides import StepStart, cast, default_dtype, enter, fault_of, jittered
from mpstui.modes.agreement import CONSTANT, tolerance_of_loss
from mpstui.modes.base import StepMode
from mpstui.modes.lockstep import relative_gap
from mpstui.modes.recorded_random import RecordedRandom
from mpstui.modes.shared_random import SharedRandom
from mpstui.modes.step import Batch

from .trio import HIDDEN, STATES, NotChecked, Trio, without_double

ANSWERS = 0.02
HALF_ANSWERS = 0.1


class _Tested(NamedTuple):
    """A batch's mean loss, and its right answers."""

    loss: float
    correct: int | None


def compare_tests(setup: Setup, trio: Trio, batch: Batch, step: int) -> EvaluationChecked:
    """Test a batch on each of three with the run's weights, and with others where they part.

    Args:
        setup: The run, for its fault.
        trio: The run built anew.
        batch: On the CPU.
        step: Seeds the draws, if a test has any.

    Raises:
        NotChecked: When draws cannot be shared, or the CPU's own rounding hides any difference.
    """
    names = [name for name, _ in trio.cpu.model.named_parameters()]
    first: EvaluationChecked | None = None
    for place in range(STATES):
        begin = jittered(trio.begin, names, place) if place else trio.begin
        found = _look(setup, trio, begin, batch, step)
        if not found.differs:
            return found
        first = first or found
    assert first is not None
    return first


def _look(setup: Setup, trio: Trio, begin: StepStart, batch: Batch, step: int) -> EvaluationChecked:
    draws = RecordedRandom(setup.config.seed)
    ours = _test(trio.device, begin, batch, step, draws, fault_of(setup))
    theirs = _test(trio.cpu, begin, cast(batch, trio.dtype), step, draws, nullcontext())
    if draws.unshared:
        raise NotChecked(f"{', '.join(sorted(draws.unshared))} draws numbers of its own")
    note, loss_tolerance, own = trio.note, CONSTANT.loss, 0
    if trio.other is not None:
        dtype = trio.other_dtype
        try:
            with default_dtype(dtype):
                shared, repeated = cast(batch, dtype), trio.repeated(draws)
                third = _test(trio.other, begin, shared, step, repeated, nullcontext())
            loss_tolerance = tolerance_of_loss(relative_gap(third.loss, theirs.loss), trio.half)
            own = abs((third.correct or 0) - (theirs.correct or 0))
        except Exception as error:  # the user's model may make float32 tensors as it runs
            if trio.half:
                raise NotChecked(f"no test on the CPU in {setup.config.precision}") from error
            note = without_double(error)
    if not loss_tolerance < 1:
        raise NotChecked(HIDDEN)
    samples = len(batch[0])
    share = HALF_ANSWERS if trio.half else ANSWERS
    allowed = max(1, math.ceil(share * samples), 4 * own)
    apart = abs((ours.correct or 0) - (theirs.correct or 0))
    gap = relative_gap(ours.loss, theirs.loss)
    differs = "answers" if apart > allowed else "" if gap <= loss_tolerance else "loss"
    return EvaluationChecked(
        at=0.0,
        epoch=0,
        step=0,
        samples=samples,
        loss=_finite(ours.loss),
        cpu_loss=_finite(theirs.loss),
        loss_gap=_finite(gap),
        loss_tolerance=_finite(loss_tolerance),
        correct=ours.correct,
        cpu_correct=theirs.correct,
        correct_tolerance=None if ours.correct is None else allowed,
        differs=differs,
        note=note,
    )


def _test(
    setup: Setup,
    begin: StepStart,
    batch: Batch,
    step: int,
    draws: SharedRandom,
    fault: AbstractContextManager[Any],
) -> _Tested:
    enter(setup, begin)
    setup.model.eval()
    images, labels = (each.to(setup.backend.device, copy=True) for each in batch)
    mode = StepMode(draws)
    mode.restart(step)
    with fault, mode:
        score = setup.score(images, labels)
    setup.backend.synchronize()
    correct = None if score.correct is None else int(score.correct)
    return _Tested(float(score.loss_sum) / len(images), correct)


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None

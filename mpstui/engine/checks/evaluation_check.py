"""The evaluation of a batch, compared with the CPU's: the loss and the number of correct answers.

Rounding changes an answer only where two classes are equal but for rounding. Some answers change on
the CPU too, in another precision, and a device may change four times as many; but always
:data:`ANSWERS` of the batch, or :data:`HALF_ANSWERS` in half precision, which has many ties.
"""

from __future__ import annotations

import math
from contextlib import AbstractContextManager, nullcontext
from typing import Any, NamedTuple

import torch

from mpstui.domain.events import EvaluationChecked
from mpstui.engine.data.feed import Batch
from mpstui.engine.setup import Setup
from mpstui.engine.sides import StepStart, copy_fault, default_dtype, load_start, perturb
from mpstui.engine.workloads.scores import count
from mpstui.modes.agreement import CONSTANT, tolerance_of_loss
from mpstui.modes.base import StepMode
from mpstui.modes.lockstep import relative_gap
from mpstui.modes.recorded_random import RecordedRandom
from mpstui.modes.shared_random import SharedRandom
from mpstui.trees import cast, move

from .trio import CHECKED_STATES, HIDDEN, NotChecked, Trio, without_double

ANSWERS = 0.02
HALF_ANSWERS = 0.1


class _Evaluation(NamedTuple):
    """A batch's mean loss and number of correct answers."""

    loss: float
    correct: int | None
    answers: int
    """Answers among which the correct ones are."""


def compare_tests(setup: Setup, trio: Trio, batch: Batch, step: int) -> EvaluationChecked:
    """Evaluate a batch on each of the three; if they differ, also with nearby weights.

    Args:
        setup: The run, for its fault.
        trio: The rebuilt run.
        batch: On the CPU.
        step: Seeds the random numbers, if the evaluation uses any.

    Raises:
        NotChecked: When random numbers can't be shared, or the CPU's own rounding hides any
            difference.
    """
    names = [name for name, _ in trio.cpu.model.named_parameters()]
    first: EvaluationChecked | None = None
    for state_index in range(CHECKED_STATES):
        start = perturb(trio.start, names, state_index) if state_index else trio.start
        result = _compare(setup, trio, start, batch, step)
        if not result.differs:
            return result
        first = first or result
    assert first is not None
    return first


def _compare(
    setup: Setup, trio: Trio, start: StepStart, batch: Batch, step: int
) -> EvaluationChecked:
    rng = RecordedRandom(setup.config.seed)
    device = _test(trio.device, start, batch, step, rng, copy_fault(setup))
    cpu_batch = batch._replace(content=cast(batch.content, trio.dtype))
    cpu = _test(trio.cpu, start, cpu_batch, step, rng, nullcontext(), trio.dtype)
    if rng.unshared:
        raise NotChecked(f"{', '.join(sorted(rng.unshared))} generates its own random numbers")
    note, loss_tolerance, cpu_changes = trio.note, CONSTANT.loss, 0
    if trio.rounding is not None:
        dtype = trio.rounding_dtype
        try:
            with default_dtype(dtype):
                cast_batch = batch._replace(content=cast(batch.content, dtype))
                replayed = trio.replay(rng)
                third = _test(
                    trio.rounding, start, cast_batch, step, replayed, nullcontext(), dtype
                )
            loss_tolerance = tolerance_of_loss(relative_gap(third.loss, cpu.loss), trio.half)
            cpu_changes = abs((third.correct or 0) - (cpu.correct or 0))
        except Exception as error:  # a custom model may create float32 tensors in its forward pass
            if trio.half:
                raise NotChecked(f"no evaluation on the CPU in {setup.config.precision}") from error
            note = without_double(error)
    if not loss_tolerance < 1:
        raise NotChecked(HIDDEN)
    samples = device.answers
    share = HALF_ANSWERS if trio.half else ANSWERS
    allowed = max(1, math.ceil(share * samples), 4 * cpu_changes)
    changes = abs((device.correct or 0) - (cpu.correct or 0))
    gap = relative_gap(device.loss, cpu.loss)
    differs = "answers" if changes > allowed else "" if gap <= loss_tolerance else "loss"
    return EvaluationChecked(
        at=0.0,
        epoch=0,
        step=0,
        samples=samples,
        loss=_finite(device.loss),
        cpu_loss=_finite(cpu.loss),
        loss_gap=_finite(gap),
        loss_tolerance=_finite(loss_tolerance),
        correct=device.correct,
        cpu_correct=cpu.correct,
        correct_tolerance=None if device.correct is None else allowed,
        differs=differs,
        note=note,
    )


def _test(
    setup: Setup,
    start: StepStart,
    batch: Batch,
    step: int,
    rng: SharedRandom,
    fault: AbstractContextManager[Any],
    dtype: torch.dtype | None = None,
) -> _Evaluation:
    load_start(setup, start, dtype)
    setup.model.eval()
    placed = batch._replace(content=move(batch.content, setup.backend.device, copy=True))
    mode = StepMode(rng)
    mode.restart(step)
    with fault, mode:
        ratios = setup.score(placed)
    setup.backend.synchronize()
    loss_sum, samples = ratios["loss"]
    answers = count(ratios["accuracy"]) if "accuracy" in ratios else None
    loss = float(loss_sum) / float(samples)
    return _Evaluation(loss, *(answers or (None, batch.samples)))


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None

"""Whether a step on a device is that of the CPU, by the CPU's own rounding.

The same step is taken on the device, on the CPU in float32 (the reference), and once more on the
CPU with what rounding may do: in float64 where the run is in float32, and in the run's own
precision where that is lower. The last two tell how far apart two right answers are; the device may
be :data:`FACTOR` times as far from the reference (:data:`HALF_FACTOR` in lower precision), and
:data:`FLOOR` in any case. The update is compared from the same gradients, as in
:mod:`mpstui.modes.lockstep`.

Measured on two EPYC cores, torch 2.14.1 (``python -m tests.benchmarks.step_check``): 900 checks of
5 workloads, 10 seeds, float32 and bf16, on one thread, with sums in another order and without
oneDNN raise no alarm. They come to 0.2 of the tolerance at most in float32 (without oneDNN the
MNIST CNN's gradients are up to 2e-3 away), to 0.41 in bf16; steps of 18 specimens on such kernels
to less. Of 58 simulated faults 45 are over it, the faintest with a loss of 2e-4 and gradients of
0.05. A layer norm that is 5e-4 too large (gradients 9e-4) is not: nobody could tell it from other
right kernels. On one NVIDIA H100 (torch 2.11) 288 checks of three workloads in float32, TF32, bf16
and fp16 raise no alarm, and come to 0.02 of the tolerance in float32, to 0.79 in fp16.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Any, NamedTuple

import torch

from .base import StepMode
from .lockstep import (
    GRADIENT,
    LOSS,
    UPDATE,
    change,
    dense,
    gradients_of,
    quiet,
    relative_gap,
    stored,
    worst_gap,
)
from .shared_random import SharedRandom
from .step import Batch, Side

Named = Mapping[str, torch.Tensor]


class StepOutcome(NamedTuple):
    """What a step came to, on the CPU."""

    loss: float
    gradients: dict[str, torch.Tensor | None]
    after: dict[str, torch.Tensor]
    """Parameters, buffers and the optimizer's state after it."""


class StepGaps(NamedTuple):
    """How far two steps are apart, each as a share of the second's."""

    loss: float
    gradient: float
    gradient_of: str
    update: float
    update_of: str


class StepTolerance(NamedTuple):
    """How far they may be."""

    loss: float
    gradient: float
    update: float

    @property
    def hides(self) -> bool:
        """Whether even gradients of zero, or a loss of zero, would be within it."""
        return self.gradient >= 1 or self.loss >= 1

    def phase(self, gaps: StepGaps) -> str:
        """The first phase in which they are further apart; empty without one."""
        if not gaps.loss <= self.loss:
            return "forward"
        if not gaps.gradient <= self.gradient:
            return "backward"
        return "" if gaps.update <= self.update else "optimizer"


CONSTANT = StepTolerance(LOSS, GRADIENT, UPDATE)
"""Of float32, where the CPU's own rounding is not known."""

FLOOR = StepTolerance(1e-4, 0.01, UPDATE)
"""The least in float32, however exact the CPU is: other kernels sum a gradient up in another way.
Of gradients it is the most that was measured of legitimate devices; see the lockstep."""

HALF_FLOOR = StepTolerance(0.02, 0.02, 0.02)
"""The least in half precision: a few units of bf16's last place."""

FACTOR = 30.0
"""In float32: see above."""

HALF_FACTOR = 4.0
"""In half precision, where the CPU rounds as the device does."""


QUIET = 1e-3
HALF_QUIET = 0.1
"""Of the largest gradient of all: one that is smaller has less than that to differ from."""


def tolerance_of(own: StepGaps, half: bool) -> StepTolerance:
    """What a device may be apart, from how far the CPU's own two steps are.

    Args:
        own: The CPU's step in the other precision against its float32.
        half: Whether the run's precision is lower than float32.
    """
    factor, floor = (HALF_FACTOR, HALF_FLOOR) if half else (FACTOR, FLOOR)
    return StepTolerance(
        tolerance_of_loss(own.loss, half),
        max(floor.gradient, factor * own.gradient),
        max(floor.update, factor * own.update),
    )


def tolerance_of_loss(own: float, half: bool) -> float:
    """The same of a loss alone."""
    factor, floor = (HALF_FACTOR, HALF_FLOOR) if half else (FACTOR, FLOOR)
    return max(floor.loss, factor * own)


def widest(tolerances: Sequence[StepTolerance]) -> StepTolerance:
    """The largest of each."""
    return StepTolerance(*(max(each) for each in zip(*tolerances, strict=True)))


def step_outcome(
    side: Side,
    batch: Batch,
    step: int,
    draws: SharedRandom,
    fault: AbstractContextManager[Any],
    gradients: Mapping[str, torch.Tensor | None] | None = None,
) -> StepOutcome:
    """Take one step.

    Args:
        side: Who takes it; it stands behind the step afterwards.
        batch: On the CPU. It is copied.
        step: Seeds the draws.
        draws: Shared by all sides.
        fault: Entered around each phase.
        gradients: What the optimizer steps from, on the CPU; None for the side's own.
    """
    mode = StepMode(draws)
    mode.restart(step)
    placed = side.place(tuple(tensor.clone() for tensor in batch))
    with fault, mode:
        objective = side.forward(placed)
        torch.autograd.backward(objective)
    side.backend.synchronize()
    own = gradients_of(side)
    for name, parameter in side.model.named_parameters() if gradients is not None else ():
        other = (gradients or {}).get(name)
        parameter.grad = None if other is None else other.to(parameter, copy=True)
    with fault, mode:
        side.optimizer.step()
    side.backend.synchronize()
    after = {name: dense(tensor) for name, tensor in side.named().items()}
    return StepOutcome(float(objective.detach()), own, after)


def gaps_of(ours: StepOutcome, theirs: StepOutcome, before: Named, half: bool) -> StepGaps:
    """How far one step is from another.

    Args:
        ours: The step that is doubted.
        theirs: The reference.
        before: What both started from; state that the first step makes is not in it.
        half: Whether the run's precision is lower than float32.
    """
    expected = {name: dense(each) for name, each in theirs.gradients.items() if each is not None}
    shown = {name: dense(each) for name, each in ours.gradients.items() if each is not None}
    gradient, gradient_of = worst_gap(
        shown, expected, floor=quiet(expected, HALF_QUIET if half else QUIET)
    )
    update, update_of = worst_gap(
        change(before, ours.after), change(before, theirs.after), floor=stored(before)
    )
    loss = relative_gap(ours.loss, theirs.loss)
    return StepGaps(loss, gradient, gradient_of, update, update_of)


def finite(tensors: Named) -> bool:
    """Whether all values are finite."""
    return all(
        bool(torch.isfinite(each).all()) for each in tensors.values() if each.is_floating_point()
    )

"""Checks whether a step on a device agrees with the CPU's, within the CPU's own rounding error.

The same step runs on the device, on the CPU in float32 (the reference), and on the CPU in another
precision: float64 if the run uses float32, else the run's own lower precision. The two CPU steps
show how far apart two correct results are; the device may be :data:`FACTOR` times as far from the
reference (:data:`HALF_FACTOR` in lower precision), and :data:`FLOOR` in any case. Updates are
compared from the same gradients, as in :mod:`mpstui.modes.lockstep`.

Measured on two EPYC cores, torch 2.14.1 (``python -m tests.benchmarks.step_check``): 900 checks of
5 workloads, 10 seeds, float32 and bf16, on one thread, with sums in another order and without
oneDNN raise no alarm. They reach at most 0.2 of the tolerance in float32 (without oneDNN the
MNIST CNN's gradients differ by up to 2e-3) and 0.41 in bf16; steps of 18 specimens on such kernels
reach less. Of 58 simulated faults, 45 exceed it, the smallest with a loss gap of 2e-4 and a
gradient gap of 0.05. A layer norm that is 5e-4 too large (gradients 9e-4) does not: it cannot be
distinguished from other correct kernels. On one NVIDIA H100 (torch 2.11) 288 checks of three
workloads in float32, TF32, bf16 and fp16 raise no alarm, and reach 0.02 of the tolerance in
float32 and 0.79 in fp16.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Any, NamedTuple

import torch

from mpstui.trees import Tree

from .base import StepMode
from .lockstep import (
    GRADIENT_LIMIT,
    LOSS_LIMIT,
    UPDATE_LIMIT,
    change,
    dense,
    gradient_floor,
    gradients_of,
    relative_gap,
    update_floor,
    worst_gap,
)
from .shared_random import SharedRandom
from .step import Side

NamedTensors = Mapping[str, torch.Tensor]


class StepOutcome(NamedTuple):
    """The result of a step, copied to the CPU."""

    loss: float
    gradients: dict[str, torch.Tensor | None]
    updates: tuple[dict[str, torch.Tensor | None], ...]
    """The gradients at each update; a usual step has one."""
    after: dict[str, torch.Tensor]
    """Parameters, buffers and the optimizer's state after the step."""


class StepGaps(NamedTuple):
    """The differences between two steps, each as a share of the second's values."""

    loss: float
    gradient: float
    gradient_of: str
    update: float
    update_of: str


class StepTolerance(NamedTuple):
    """The largest allowed gaps."""

    loss: float
    gradient: float
    update: float

    @property
    def hides(self) -> bool:
        """Whether it would allow even gradients of zero, or a loss of zero."""
        return self.gradient >= 1 or self.loss >= 1

    def phase(self, gaps: StepGaps) -> str:
        """Return the first phase with a larger gap; empty if there is none."""
        if not gaps.loss <= self.loss:
            return "forward"
        if not gaps.gradient <= self.gradient:
            return "backward"
        return "" if gaps.update <= self.update else "optimizer"


CONSTANT = StepTolerance(LOSS_LIMIT, GRADIENT_LIMIT, UPDATE_LIMIT)
"""The tolerance in float32 if the CPU's own rounding error is unknown."""

FLOOR = StepTolerance(1e-4, 0.01, UPDATE_LIMIT)
"""The minimum in float32, however exact the CPU is: other kernels sum gradients in another order.
For gradients it is the largest gap measured on correct devices; see the lockstep."""

HALF_FLOOR = StepTolerance(0.02, 0.02, 0.02)
"""The minimum in half precision: a few units of bf16's last place."""

FACTOR = 30.0
"""The factor in float32; see the module docstring."""

HALF_FACTOR = 4.0
"""The factor in half precision, where the CPU rounds as the device does."""


QUIET_GRADIENT = 1e-3
HALF_QUIET = 0.1
"""Share of the largest gradient; smaller gradients are compared with that instead of themselves."""


def tolerance_of(cpu_gaps: StepGaps, half: bool) -> StepTolerance:
    """Return a device's tolerance from the gaps between the CPU's two steps.

    Args:
        cpu_gaps: The CPU's step in the other precision compared with its float32 step.
        half: Whether the run's precision is lower than float32.
    """
    factor, floor = (HALF_FACTOR, HALF_FLOOR) if half else (FACTOR, FLOOR)
    return StepTolerance(
        tolerance_of_loss(cpu_gaps.loss, half),
        max(floor.gradient, factor * cpu_gaps.gradient),
        max(floor.update, factor * cpu_gaps.update),
    )


def tolerance_of_loss(cpu_gap: float, half: bool) -> float:
    """Return the tolerance of the loss alone."""
    factor, floor = (HALF_FACTOR, HALF_FLOOR) if half else (FACTOR, FLOOR)
    return max(floor.loss, factor * cpu_gap)


def widest(tolerances: Sequence[StepTolerance]) -> StepTolerance:
    """Return the largest tolerance of each quantity."""
    return StepTolerance(*(max(values) for values in zip(*tolerances, strict=True)))


def step_outcome(
    side: Side,
    batch: Tree,
    step: int,
    shared_random: SharedRandom,
    fault: AbstractContextManager[Any],
    updates: Sequence[Mapping[str, torch.Tensor | None]] | None = None,
) -> StepOutcome:
    """Take one step.

    Args:
        side: The side that takes it, and is in the state after the step then.
        batch: The batch, on the CPU; it is copied.
        step: The step's number, which seeds the random numbers.
        shared_random: The random numbers, shared by all sides.
        fault: Entered around each phase.
        updates: The gradients for each of the optimizers' updates, on the CPU; None for the side's
            own.
    """
    mode = StepMode(shared_random)
    mode.restart(step)
    placed = side.place(batch)
    if side.whole_step is not None:
        with fault, mode:
            loss, shared = side.take_whole_step(placed, lambda _: None, updates)
        side.backend.synchronize()
        # A step that only accumulates gradients has no update; they are its result.
        gradients = shared.gradients or gradients_of(side)
        return StepOutcome(float(loss), gradients, tuple(shared.updates), _state_after(side))
    with fault, mode:
        objective = side.forward(placed)
        torch.autograd.backward(objective)
    side.backend.synchronize()
    own_gradients = gradients_of(side)
    for name, parameter in side.model.named_parameters() if updates is not None else ():
        replacement = (updates or ({},))[0].get(name)
        parameter.grad = None if replacement is None else replacement.to(parameter, copy=True)
    with fault, mode:
        side.optimizer.step()
    side.backend.synchronize()
    return StepOutcome(
        float(objective.detach()), own_gradients, (own_gradients,), _state_after(side)
    )


def _state_after(side: Side) -> dict[str, torch.Tensor]:
    return {name: dense(tensor) for name, tensor in side.state_tensors().items()}


def gaps_of(
    actual: StepOutcome, expected: StepOutcome, before: NamedTensors, half: bool
) -> StepGaps:
    """Return how far one step is from another.

    Args:
        actual: The step to check.
        expected: The reference.
        before: The state before both steps. State that a first step creates is not in it.
        half: Whether the run's precision is lower than float32.
    """
    expected_gradients = {
        name: dense(gradient)
        for name, gradient in expected.gradients.items()
        if gradient is not None
    }
    actual_gradients = {
        name: dense(gradient) for name, gradient in actual.gradients.items() if gradient is not None
    }
    gradient, gradient_of = worst_gap(
        actual_gradients,
        expected_gradients,
        floor=gradient_floor(expected_gradients, HALF_QUIET if half else QUIET_GRADIENT),
    )
    update, update_of = worst_gap(
        change(before, actual.after), change(before, expected.after), floor=update_floor(before)
    )
    loss = relative_gap(actual.loss, expected.loss)
    return StepGaps(loss, gradient, gradient_of, update, update_of)


def finite(tensors: NamedTensors) -> bool:
    """Return whether all values are finite."""
    return all(
        bool(torch.isfinite(tensor).all())
        for tensor in tensors.values()
        if tensor.is_floating_point()
    )

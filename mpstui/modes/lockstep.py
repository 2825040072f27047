"""Compares a step on the device with the same step on the CPU.

Both start from the same state, batch and random numbers. On correct devices the gradients of such
a step differ by 4e-7 (median), at most 1e-2; on faulty ones by 0.2 and more (measured; see
tests/benchmarks/README.md). The optimizer is compared on the same gradients: Adam's first updates
are the gradients' signs, and near zero any rounding flips a sign.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from typing import Any, NamedTuple

import torch

from mpstui.domain.investigation import Lockstep
from mpstui.trees import Tree

from .base import StepMode
from .shared_random import SharedRandom
from .step import Side

LOSS_LIMIT = 1e-3
"""Loss gap that exceeds rounding."""

GRADIENT_LIMIT = 0.05
"""Gradient gap of a parameter that exceeds rounding."""

UPDATE_LIMIT = 1e-3
"""Update gap, on the same gradients, that exceeds rounding."""


def in_lockstep(
    device: Side, cpu: Side, batch: Tree, step: int, shared_random: SharedRandom, under: Any = None
) -> Lockstep:
    """Take one step on both sides, which are in the same state, and compare them.

    Each side then has its own update from the device's gradients.

    Args:
        device: The side to check; its simulated fault is active during its step.
        cpu: The reference side.
        batch: The batch, on the CPU.
        step: The step's number, which seeds the random numbers.
        shared_random: The random numbers, shared by both sides.
        under: The mode for the device's step, such as a shadow; None for one that only shares
            random numbers.
    """
    mode = under or StepMode(shared_random)
    if device.whole_step is not None:
        return _whole_step_in_lockstep(device, cpu, batch, step, shared_random, mode)
    loss, update = _forward_backward(device, batch, step, shared_random, mode, device.fault)
    cpu_loss, cpu_update = _forward_backward(
        cpu, batch, step, shared_random, StepMode(shared_random), nullcontext()
    )
    gradients = gradients_of(device)  # as they are: an optimizer may require sparse ones
    expected = _dense(gradients_of(cpu))
    gradient_gap, gradient_of = worst_gap(
        _dense(gradients), expected, floor=gradient_floor(expected)
    )
    before = {name: dense(tensor) for name, tensor in device.state_tensors().items()}
    for name, parameter in cpu.model.named_parameters():
        gradient = gradients[name]
        parameter.grad = None if gradient is None else gradient.to(parameter.dtype).clone()
    _phase(mode, "optimizer")
    with device.fault, mode:
        update()
    device.backend.synchronize()
    if device.scaler is None or all(
        g is None or bool(g.isfinite().all()) for g in gradients.values()
    ):
        cpu_update()  # skip the update that fp16's scaler skips
    update_gap, update_of = worst_gap(
        change(before, device.state_tensors()),
        change(before, cpu.state_tensors()),
        floor=update_floor(before),
    )
    worst, moved = _WorstGap(gradient_gap, gradient_of), _WorstGap(update_gap, update_of)
    return _outcome(step, (loss, cpu_loss), worst, moved, shared_random)


class _WorstGap(NamedTuple):
    """The largest gap of several tensors, and the tensor's name."""

    gap: float
    name: str


def _whole_step_in_lockstep(
    device: Side, cpu: Side, batch: Tree, step: int, shared_random: SharedRandom, mode: Any
) -> Lockstep:
    """Take a whole step on both sides, with the device's gradients at each update."""
    before = {name: dense(tensor) for name, tensor in device.state_tensors().items()}
    mode.restart(step)
    with device.fault, mode:
        loss, updates = device.take_whole_step(
            device.place(batch), lambda phase: _phase(mode, phase)
        )
    device.backend.synchronize()
    cpu_mode = StepMode(shared_random)
    cpu_mode.restart(step)
    with cpu_mode:
        cpu_loss, cpu_updates = cpu.take_whole_step(
            cpu.place(batch), lambda _: None, updates.updates if device.shares_updates else None
        )
    # A step that only accumulates gradients has no update; they are its result.
    expected = _dense(cpu_updates.gradients or gradients_of(cpu))
    actual = _dense(updates.gradients or gradients_of(device))
    gradient = _WorstGap(*worst_gap(actual, expected, floor=gradient_floor(expected)))
    moved = _WorstGap(
        *worst_gap(
            change(before, device.state_tensors()),
            change(before, cpu.state_tensors()),
            floor=update_floor(before),
        )
    )
    if not device.shares_updates:  # rounding grows from one evaluation of the loss to the next
        gradient = moved = _WorstGap(0.0, "")
    losses = float(loss), float(cpu_loss)
    return _outcome(step, losses, gradient, moved, shared_random)


def _outcome(
    step: int,
    losses: tuple[float, float],
    gradient: _WorstGap,
    update: _WorstGap,
    shared_random: SharedRandom,
) -> Lockstep:
    loss_gap = relative_gap(*losses)
    # If random numbers could not be shared, the sides differ without a fault.
    phase = "" if shared_random.unshared else _where(loss_gap, gradient.gap, update.gap)
    return Lockstep(
        step=step,
        loss=_finite(losses[0]),
        cpu_loss=_finite(losses[1]),
        loss_gap=_finite(loss_gap),
        gradient_gap=_finite(gradient.gap),
        gradient_of=gradient.name,
        update_gap=_finite(update.gap),
        update_of=update.name,
        phase=phase,
    )


def _where(loss: float, gradient: float, update: float) -> str:
    if not loss <= LOSS_LIMIT:
        return "forward"
    if not gradient <= GRADIENT_LIMIT:
        return "backward"
    return "" if update <= UPDATE_LIMIT else "optimizer"


def _forward_backward(
    side: Side,
    batch: Tree,
    step: int,
    shared_random: SharedRandom,
    mode: Any,
    fault: AbstractContextManager[Any],
) -> tuple[float, Callable[[], object]]:
    mode.restart(step)
    with fault, mode:
        _phase(mode, "forward")
        objective = side.forward(side.place(batch))
        _phase(mode, "backward")
        update = side.backward(objective)
    side.backend.synchronize()
    return float(objective.detach()), update


def _phase(mode: Any, phase: str) -> None:
    mode.phase = phase


def gradients_of(side: Side) -> dict[str, torch.Tensor | None]:
    """Copy a side's gradients to the CPU, by parameter name."""
    return {
        name: None if p.grad is None else p.grad.detach().cpu().clone()
        for name, p in side.model.named_parameters()
    }


def dense(tensor: torch.Tensor) -> torch.Tensor:
    """Return a dense float32 copy on the CPU; the tensor may be sparse."""
    copy = tensor.detach().cpu()
    return (copy.to_dense() if copy.layout is not torch.strided else copy).float().clone()


def _dense(tensors: Mapping[str, torch.Tensor | None]) -> dict[str, torch.Tensor | None]:
    return {name: None if tensor is None else dense(tensor) for name, tensor in tensors.items()}


def change(
    before: Mapping[str, torch.Tensor], after: Mapping[str, torch.Tensor]
) -> dict[str, torch.Tensor]:
    """Return each tensor's change in a step, by name; new tensors are returned as they are."""
    return {
        name: dense(tensor) - before[name].float() if name in before else dense(tensor)
        for name, tensor in after.items()
    }


def update_floor(before: Mapping[str, torch.Tensor]) -> dict[str, float]:
    """Return the rounding error of stored values, by name: smaller updates are not meaningful."""
    eps = 4 * torch.finfo(torch.float32).eps / UPDATE_LIMIT
    return {
        name: eps * size
        for name, tensor in before.items()
        if tensor.numel() and math.isfinite(size := float(tensor.float().abs().amax()))
    }


def gradient_floor(
    gradients: Mapping[str, torch.Tensor | None], share: float = 1e-3
) -> dict[str, float]:
    """Return a share of the largest gradient: a bias before a batch norm has only rounding."""
    sizes = [
        float(gradient.abs().amax()) for gradient in gradients.values() if gradient is not None
    ]
    largest = max((size for size in sizes if math.isfinite(size)), default=0.0)
    return dict.fromkeys(gradients, share * largest)


def worst_gap(
    actual_tensors: Mapping[str, torch.Tensor | None],
    expected_tensors: Mapping[str, torch.Tensor | None],
    floor: Mapping[str, float] | None = None,
) -> tuple[float, str]:
    """Return the largest difference as a share of a tensor's largest value, and the tensor's name.

    Args:
        actual_tensors: Tensors by name, on the CPU.
        expected_tensors: Their correct values.
        floor: The minimum scale of a difference, by name.
    """
    worst, where = 0.0, ""
    for name, expected in expected_tensors.items():
        actual = actual_tensors.get(name)
        if actual is None or expected is None or not expected.numel():
            continue
        difference = float((actual - expected).abs().amax())
        scale = max(float(expected.abs().amax()), (floor or {}).get(name, 0.0), 1e-30)
        gap = difference / scale
        if math.isnan(gap):
            same_finite = torch.equal(torch.isfinite(actual), torch.isfinite(expected))
            gap = 0.0 if same_finite else math.inf
        if gap > worst:
            worst, where = gap, name
    return worst, where


def relative_gap(loss: float, expected: float) -> float:
    """Return the difference as a share of the expected loss; infinite if only one is finite."""
    if not (math.isfinite(loss) and math.isfinite(expected)):
        return 0.0 if math.isfinite(loss) == math.isfinite(expected) else math.inf
    return abs(loss - expected) / max(abs(expected), 1e-12)


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None

"""The same step on the device and on the CPU: from the same state, batch and random draws.

Of legitimate devices the gradients of one such step differ by 4e-7 (median), at most 1e-2; of
faulty ones by 0.2 and more (measured; see the README). The optimizer is compared on the same
gradients: the first updates of Adam are the gradients' signs, and near zero any rounding flips one.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch

from mpstui.domain.investigation import Lockstep

from .base import StepMode
from .shared_random import SharedRandom
from .step import Batch, Side

LOSS = 1e-3
"""The loss' gap that is more than rounding."""

GRADIENT = 0.05
"""A parameter's gradient's gap that is."""

UPDATE = 1e-3
"""An update's gap, on the same gradients, that is."""


def in_lockstep(
    device: Side, cpu: Side, batch: Batch, step: int, draws: SharedRandom, under: Any = None
) -> Lockstep:
    """Take one step on both sides, which stand in the same state, and compare.

    Afterwards each side has made its own update from the device's gradients.

    Args:
        device: The side that is doubted; its fault is entered here.
        cpu: The other.
        batch: On the CPU.
        step: The step's number, which seeds the draws.
        draws: Shared by both.
        under: A mode that the device's step runs in, instead of plain shared draws: a shadow.
    """
    mode = under or StepMode(draws)
    loss, update = _forward_backward(device, batch, step, draws, mode, device.fault)
    cpu_loss, cpu_update = _forward_backward(
        cpu, batch, step, draws, StepMode(draws), nullcontext()
    )
    gradients = gradients_of(device)  # as they are: an optimizer may ask for sparse ones
    expected = _dense(gradients_of(cpu))
    gradient_gap, gradient_of = worst_gap(_dense(gradients), expected, floor=quiet(expected))
    before = {name: dense(tensor) for name, tensor in device.named().items()}
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
        cpu_update()  # what fp16's scaler passes over, the CPU passes over too
    update_gap, update_of = worst_gap(
        change(before, device.named()), change(before, cpu.named()), floor=stored(before)
    )
    loss_gap = relative_gap(loss, cpu_loss)
    return Lockstep(
        step=step,
        loss=_finite(loss),
        cpu_loss=_finite(cpu_loss),
        loss_gap=_finite(loss_gap),
        gradient_gap=_finite(gradient_gap),
        gradient_of=gradient_of,
        update_gap=_finite(update_gap),
        update_of=update_of,
        # Where draws could not be shared, the sides differ by right.
        phase="" if draws.unshared else _where(loss_gap, gradient_gap, update_gap),
    )


def _where(loss: float, gradient: float, update: float) -> str:
    if not loss <= LOSS:
        return "forward"
    if not gradient <= GRADIENT:
        return "backward"
    return "" if update <= UPDATE else "optimizer"


def _forward_backward(
    side: Side,
    batch: Batch,
    step: int,
    draws: SharedRandom,
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
    """Copies of a side's gradients on the CPU, by the parameters' names."""
    return {
        name: None if p.grad is None else p.grad.detach().cpu().clone()
        for name, p in side.model.named_parameters()
    }


def dense(tensor: torch.Tensor) -> torch.Tensor:
    """A copy on the CPU in float32, of a sparse tensor too."""
    whole = tensor.detach().cpu()
    return (whole.to_dense() if whole.layout is not torch.strided else whole).float().clone()


def _dense(named: Mapping[str, torch.Tensor | None]) -> dict[str, torch.Tensor | None]:
    return {name: None if each is None else dense(each) for name, each in named.items()}


def change(
    before: Mapping[str, torch.Tensor], after: Mapping[str, torch.Tensor]
) -> dict[str, torch.Tensor]:
    """What a step changed, by name; what it made first as it is."""
    return {
        name: dense(tensor) - before[name].float() if name in before else dense(tensor)
        for name, tensor in after.items()
    }


def stored(before: Mapping[str, torch.Tensor]) -> dict[str, float]:
    """What rounding a stored value costs: an update smaller than that says nothing."""
    eps = 4 * torch.finfo(torch.float32).eps / UPDATE
    return {
        name: eps * size
        for name, tensor in before.items()
        if tensor.numel() and math.isfinite(size := float(tensor.float().abs().amax()))
    }


def quiet(gradients: Mapping[str, torch.Tensor | None], share: float = 1e-3) -> dict[str, float]:
    """A share of the largest gradient: a bias before a batch norm has none but rounding."""
    sizes = [float(each.abs().amax()) for each in gradients.values() if each is not None]
    loudest = max((size for size in sizes if math.isfinite(size)), default=0.0)
    return dict.fromkeys(gradients, share * loudest)


def worst_gap(
    ours: Mapping[str, torch.Tensor | None],
    theirs: Mapping[str, torch.Tensor | None],
    floor: Mapping[str, float] | None = None,
) -> tuple[float, str]:
    """The largest difference of any tensor's values, as a share of its largest, and its name.

    Args:
        ours: Tensors by name, on the CPU.
        theirs: What they should be.
        floor: By name, the least that a difference is a share of.
    """
    worst, where = 0.0, ""
    for name, expected in theirs.items():
        mine = ours.get(name)
        if mine is None or expected is None or not expected.numel():
            continue
        difference = float((mine - expected).abs().amax())
        scale = max(float(expected.abs().amax()), (floor or {}).get(name, 0.0), 1e-30)
        gap = difference / scale
        if math.isnan(gap):
            both = torch.equal(torch.isfinite(mine), torch.isfinite(expected))
            gap = 0.0 if both else math.inf
        if gap > worst:
            worst, where = gap, name
    return worst, where


def relative_gap(loss: float, other: float) -> float:
    """The losses' difference as a share of the other; infinite where only one is finite."""
    if not (math.isfinite(loss) and math.isfinite(other)):
        return 0.0 if math.isfinite(loss) == math.isfinite(other) else math.inf
    return abs(loss - other) / max(abs(other), 1e-12)


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None

"""A case: a small call, run on a device and as a reference, forward and backward, and judged."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any, NamedTuple

import torch

from mpstui.backends import Backend
from mpstui.domain.ops import Kind, OpResult, OpStatus
from mpstui.numerics import BEYOND_CPU, REFUSALS, Gap, gap, tolerance

from .inputs import Inputs

Outputs = torch.Tensor | tuple[torch.Tensor, ...]


class Case(NamedTuple):
    """One call to be checked."""

    id: str
    kind: Kind
    run: Callable[[Inputs], Outputs]
    """Draws its inputs and gives what the call returned."""
    dtype: torch.dtype = torch.float32
    layout: str = "contiguous"
    needs_bytes: int = 0
    """Device memory that it takes; 0 for next to nothing."""


Results = list["tuple[str, torch.Tensor | None]"]
"""What a case gave, by name; None for a gradient that is not there."""


def evaluate(case: Case, inputs: Inputs) -> Results:
    """Run a case: its outputs, then the gradients of its inputs, by name.

    Gradients start from random dense tensors, so that no two errors cancel out in a sum.
    """
    found = case.run(inputs)
    outputs = found if isinstance(found, tuple) else (found,)
    numbered = len(outputs) > 1
    named: Results = [
        (f"output {place}" if numbered else "output", output)
        for place, output in enumerate(outputs, 1)
    ]
    differentiable = [output for output in outputs if output.requires_grad]
    if differentiable and inputs.leaves:
        given = [inputs.like(output).to(output.dtype) for output in differentiable]
        gradients = torch.autograd.grad(differentiable, inputs.leaves, given, allow_unused=True)
        named += [
            (f"gradient of input {place}", gradient) for place, gradient in enumerate(gradients, 1)
        ]
    return named


def check(
    case: Case,
    backend: Backend,
    fault: Callable[[], AbstractContextManager[Any]] = contextlib.nullcontext,
) -> OpResult | None:
    """Run a case on a device and judge it against the CPU.

    Args:
        case: What to run.
        backend: The device.
        fault: Makes a simulated fault, in which the device's side runs.

    Returns:
        The result; None when no input of the case can have its layout.
    """
    if case.needs_bytes > (room := backend.room()):
        reason = f"needs {case.needs_bytes / 2**30:.1f} GiB, {room / 2**30:.1f} GiB may be used"
        return _result(case, OpStatus.NOT_RUN, reason=reason)
    inputs = Inputs(case.id, backend.device, case.dtype, case.layout)
    try:
        with fault():
            ours = evaluate(case, inputs)
            backend.synchronize()
        if case.layout != "contiguous" and not inputs.laid_out:
            return None
        ours = [(name, None if tensor is None else tensor.cpu()) for name, tensor in ours]
    except REFUSALS as error:
        if case.layout != "contiguous" and not inputs.laid_out:
            return None
        said = " ".join(str(error).split())[:160] or "without a word"
        return _result(case, OpStatus.NOT_RUN, reason=f"{type(error).__name__}: {said}")
    return _judge(case, ours)


def _judge(case: Case, ours: Results) -> OpResult:
    cpu = torch.device("cpu")
    reference = evaluate(case, Inputs(case.id, cpu, case.dtype, case.layout, reference=True))
    found = gap(ours, reference)
    if found.error <= tolerance(case.dtype):
        return _result(case, OpStatus.SOUND, found)
    try:
        on_cpu = evaluate(case, Inputs(case.id, cpu, case.dtype, case.layout))
    except REFUSALS:  # the CPU does not have the case in this dtype
        return _result(case, OpStatus.FAULTY, found, found.wrong)
    lost = gap(on_cpu, reference)
    if lost.not_finite:  # the dtype overflows: then the CPU's own result is what is right
        found = gap(ours, on_cpu)
        sound = found.error <= tolerance(case.dtype)
    else:
        sound = not found.wrong and found.error <= BEYOND_CPU * lost.error
    return _result(case, OpStatus.SOUND if sound else OpStatus.FAULTY, found, found.wrong)


def _result(case: Case, status: OpStatus, found: Gap | None = None, reason: str = "") -> OpResult:
    size = found is not None and not found.wrong
    return OpResult(
        case=case.id,
        kind=case.kind,
        status=status,
        error=found.error if found is not None and size else None,
        where=found.where if found is not None else "",
        reason=reason,
    )

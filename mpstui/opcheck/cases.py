"""A case: a small call on a device, forward and backward, judged against a reference."""

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
    """A call to check."""

    id: str
    kind: Kind
    run: Callable[[Inputs], Outputs]
    """Generates its inputs, and returns the call's result."""
    dtype: torch.dtype = torch.float32
    layout: str = "contiguous"
    needs_bytes: int = 0
    """Device memory that it needs, in bytes; 0 if negligible."""


Results = list["tuple[str, torch.Tensor | None]"]
"""A case's results with names; None for a missing gradient."""


def evaluate(case: Case, inputs: Inputs) -> Results:
    """Run a case; returns its outputs, then the gradients of its inputs, with names.

    Gradients start from random dense tensors, so that no two errors cancel out in a sum.
    """
    result = case.run(inputs)
    outputs = result if isinstance(result, tuple) else (result,)
    numbered = len(outputs) > 1
    results: Results = [
        (f"output {number}" if numbered else "output", output)
        for number, output in enumerate(outputs, 1)
    ]
    differentiable = [output for output in outputs if output.requires_grad]
    if differentiable and inputs.leaves:
        output_gradients = [inputs.like(output).to(output.dtype) for output in differentiable]
        gradients = torch.autograd.grad(
            differentiable, inputs.leaves, output_gradients, allow_unused=True
        )
        results += [
            (f"gradient of input {number}", gradient)
            for number, gradient in enumerate(gradients, 1)
        ]
    return results


def check(
    case: Case,
    backend: Backend,
    fault: Callable[[], AbstractContextManager[Any]] = contextlib.nullcontext,
) -> OpResult | None:
    """Run a case on a device and judge it against the CPU.

    Args:
        case: The case.
        backend: The device.
        fault: Creates a simulated fault for the device's side.

    Returns:
        The result; None if no input of the case can have its layout.
    """
    if case.needs_bytes > (room := backend.room()):
        reason = f"needs {case.needs_bytes / 2**30:.1f} GiB, {room / 2**30:.1f} GiB may be used"
        return _result(case, OpStatus.NOT_RUN, reason=reason)
    inputs = Inputs(case.id, backend.device, case.dtype, case.layout)
    try:
        with fault():
            actual = evaluate(case, inputs)
            backend.synchronize()
        if case.layout != "contiguous" and not inputs.laid_out:
            return None
        actual = [(name, None if tensor is None else tensor.cpu()) for name, tensor in actual]
    except REFUSALS as error:
        if case.layout != "contiguous" and not inputs.laid_out:
            return None
        message = " ".join(str(error).split())[:160] or "without a message"
        return _result(case, OpStatus.NOT_RUN, reason=f"{type(error).__name__}: {message}")
    return _judge(case, actual)


def _judge(case: Case, actual: Results) -> OpResult:
    cpu = torch.device("cpu")
    expected = evaluate(case, Inputs(case.id, cpu, case.dtype, case.layout, reference=True))
    device_gap = gap(actual, expected)
    if device_gap.error <= tolerance(case.dtype):
        return _result(case, OpStatus.SOUND, device_gap)
    try:
        cpu_results = evaluate(case, Inputs(case.id, cpu, case.dtype, case.layout))
    except REFUSALS:  # the CPU does not support the case in this dtype
        return _result(case, OpStatus.FAULTY, device_gap, device_gap.wrong)
    cpu_gap = gap(cpu_results, expected)
    if cpu_gap.not_finite:  # the dtype overflows: the CPU's own result is the reference
        device_gap = gap(actual, cpu_results)
        sound = device_gap.error <= tolerance(case.dtype)
    else:
        sound = not device_gap.wrong and device_gap.error <= BEYOND_CPU * cpu_gap.error
    return _result(case, OpStatus.SOUND if sound else OpStatus.FAULTY, device_gap, device_gap.wrong)


def _result(
    case: Case, status: OpStatus, device_gap: Gap | None = None, reason: str = ""
) -> OpResult:
    has_size = device_gap is not None and not device_gap.wrong
    return OpResult(
        case=case.id,
        kind=case.kind,
        status=status,
        error=device_gap.error if device_gap is not None and has_size else None,
        where=device_gap.where if device_gap is not None else "",
        reason=reason,
    )

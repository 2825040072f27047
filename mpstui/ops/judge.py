"""Judges an op's results: quickly if they agree with the CPU's, otherwise with float64.

A result is wrong if it is both far from float64 (over :func:`~mpstui.numerics.tolerance`, as a
share of the reference's largest value) and its error is far larger than the CPU's in the same dtype
or than the effect of rounding the inputs, whichever is larger
(:data:`~mpstui.numerics.BEYOND_CPU` times; in half precision fewer times the CPU's error). A
different shape, integer or boolean, or a value that is not finite where the reference is, is always
wrong. Results between right and wrong are suspect.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import torch

from mpstui.numerics import BEYOND_CPU, BEYOND_CPU_HALF, Gap, gap, magnitudes, tolerance

from .changes import CHANGE, floor_of

QUICK = 1e-5
"""Error, as a share of the reference's largest value, below which a result is right."""

NamedTensors = list[tuple[str, torch.Tensor]]


class OpJudgement(NamedTuple):
    """The result of a comparison."""

    status: str
    """``right``, ``suspect`` or ``wrong``."""
    where: str = ""
    error: float | None = None
    """The error as a share of the reference's largest value; None if it has no size."""
    cpu_error: float | None = None
    values: str = ""
    at: tuple[int, ...] | None = None
    """The index of the value with the largest error; None if not applicable."""
    got: float | None = None
    """The device's value there."""
    want: float | None = None
    """The right value there."""


RIGHT = OpJudgement("right")


def is_close(actual: torch.Tensor, expected: torch.Tensor, floor: float = 0.0) -> bool:
    """Return whether a result is close enough to need no further check.

    Args:
        actual: The device's result, copied to the CPU.
        expected: The CPU's result.
        floor: The least scale of an error.
    """
    if actual.shape != expected.shape or actual.dtype != expected.dtype:
        return False
    if torch.equal(actual, expected):
        return True
    if not actual.is_floating_point():
        return False
    largest = expected.abs().amax()
    if not bool(torch.isfinite(largest)):
        return False  # an infinite bound would accept everything
    share = max(QUICK, torch.finfo(actual.dtype).eps)
    distance = (actual - expected).abs_()
    if not bool(distance.amax() <= share * largest.clamp_min(floor)):  # NaN compares as False
        return False
    return all(
        bool(distance[mask].amax() <= share * expected[mask].abs().amax())
        for mask in magnitudes(expected)
        if bool(mask.any())
    )


def judge(
    actual: NamedTensors,
    expected: NamedTensors,
    exact: Callable[[], Sequence[torch.Tensor]],
    rounded: Callable[[], Sequence[torch.Tensor]],
    before: Mapping[str, torch.Tensor] | None = None,
) -> OpJudgement:
    """Judge the results of one op.

    Args:
        actual: The device's results, copied to the CPU, by name.
        expected: The CPU's results in the same dtypes.
        exact: Computes them in float64.
        rounded: Computes them in float64 from inputs moved by about one rounding.
        before: The values that the op overwrote, for results that are changes of them.
    """
    actual, expected = _real(actual), _real(expected)
    floors = [floor_of(name, before or {}) for name, _ in actual]
    unequal = [
        index
        for index, ((_, actual_tensor), (_, expected_tensor)) in enumerate(
            zip(actual, expected, strict=True)
        )
        if not is_close(actual_tensor, expected_tensor, floors[index])
    ]
    if not unequal:
        return RIGHT
    references = [_parts(tensor) for tensor in exact()]
    worst = RIGHT
    for index in unequal:
        pair = actual[index], expected[index]
        judgement = _judge_one(*pair, references[index], index, rounded, floors[index])
        if _rank(judgement) > _rank(worst):
            worst = judgement
    return worst


def _parts(tensor: torch.Tensor) -> torch.Tensor:
    """Return a dense tensor, with real and imaginary parts as the last dimension."""
    if tensor.layout is not torch.strided:
        tensor = tensor.to_dense()
    return torch.view_as_real(tensor.resolve_conj()) if tensor.is_complex() else tensor


def _real(tensors: NamedTensors) -> NamedTensors:
    return [(name, _parts(tensor)) for name, tensor in tensors]


def _judge_one(
    actual: tuple[str, torch.Tensor],
    expected: tuple[str, torch.Tensor],
    exact: torch.Tensor,
    index: int,
    rounded: Callable[[], Sequence[torch.Tensor]],
    floor: float,
) -> OpJudgement:
    name, result = actual
    if not result.is_floating_point():
        exact = expected[1]  # integers are right or wrong, in any precision
    device_gap, cpu_gap = (
        gap([actual], [(name, exact)], floor),
        gap([expected], [(name, exact)], floor),
    )
    if cpu_gap.wrong:  # float64 differs fundamentally, mostly by overflow: use the CPU's result
        device_gap, cpu_gap = gap([actual], [expected], floor), Gap(0.0)
        exact = expected[1]
    if device_gap.wrong:
        worst = _worst(result, exact)
        return OpJudgement("wrong", name, None, cpu_gap.error, device_gap.wrong, *worst)
    bound = tolerance(result.dtype)
    if device_gap.error <= (QUICK if bound <= 1e-3 else bound):
        return RIGHT
    if result.dtype in (torch.float16, torch.bfloat16):
        allowed = BEYOND_CPU_HALF * cpu_gap.error
    else:
        rounding_gap = gap([(name, _parts(rounded()[index]))], [(name, exact)], floor)
        allowed = BEYOND_CPU * max(cpu_gap.error, 0.0 if rounding_gap.wrong else rounding_gap.error)
    if device_gap.error <= allowed:
        return RIGHT
    if device_gap.error <= bound and name.startswith(CHANGE):
        return RIGHT  # the result itself shows a loss of accuracy
    status = "wrong" if device_gap.error > bound else "suspect"
    values, worst = _count_wrong(result, exact, bound, floor), _worst(result, exact)
    return OpJudgement(status, name, device_gap.error, cpu_gap.error, values, *worst)


def _count_wrong(actual: torch.Tensor, exact: torch.Tensor, bound: float, floor: float) -> str:
    actual, exact = actual.double(), exact.double()
    count = 0
    for mask in magnitudes(exact.nan_to_num(0.0, 0.0, 0.0)):
        if bool(mask.any()):
            scale = exact[mask].nan_to_num(0.0, 0.0, 0.0).abs().amax().clamp_min(floor)
            count += int(((actual[mask] - exact[mask]).abs() > bound * scale).sum())
    return f"{count:,} of {actual.numel():,} values are wrong"


def _worst(actual: torch.Tensor, exact: torch.Tensor) -> tuple[Any, ...]:
    """Return the index of the largest error, with the actual and the expected value there."""
    if actual.shape != exact.shape or not actual.numel():
        return None, None, None
    actual, exact = actual.detach().cpu(), exact.detach().cpu()
    actual_values, exact_values = actual.double(), exact.double()
    errors = (
        (actual_values - exact_values).abs().nan_to_num(0.0, float("inf"))
    )  # no error if both are NaN
    for mask in magnitudes(exact_values.nan_to_num(0.0, 0.0, 0.0)):  # each mask has its own scale
        if bool(mask.any()):
            errors[mask] /= (
                exact_values[mask].nan_to_num(0.0, 0.0, 0.0).abs().amax().clamp_min(1e-300)
            )
    errors[(actual != exact) & (errors == 0)] = 1e-300  # integers that float64 cannot distinguish
    errors[actual_values.isnan() != exact_values.isnan()] = float("inf")
    errors[actual_values.isnan() & exact_values.isnan()] = 0.0
    index = tuple(
        int(coordinate) for coordinate in torch.unravel_index(errors.argmax(), errors.shape)
    )
    return index, actual[index].item(), exact[index].item()


def _rank(judgement: OpJudgement) -> tuple[int, float]:
    size = float("inf") if judgement.error is None else judgement.error
    return ("right", "suspect", "wrong").index(judgement.status), size

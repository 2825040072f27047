"""Whether the results of one op are right: quick where they are equal, in float64 on suspicion.

Wrong is what is both far from float64 (over :func:`~mpstui.numerics.tolerance`, as a
share of the reference's largest value) and far beyond what the CPU loses in the same dtype or what
rounding the inputs would do, whichever is more (:data:`~mpstui.numerics.BEYOND_CPU`
times; in half precision fewer times what the CPU loses). A value that is not finite, a whole
number, a truth value or a shape that differs is wrong at once. In between lies what is suspect.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import torch

from mpstui.numerics import BEYOND_CPU, BEYOND_CPU_HALF, Gap, gap, magnitudes, tolerance

from .changes import CHANGE, floor_of

QUICK = 1e-5
"""Share of the reference's largest value below which nobody looks twice."""

Named = list[tuple[str, torch.Tensor]]


class OpJudgement(NamedTuple):
    """What came of the comparison."""

    status: str
    """``right``, ``suspect`` or ``wrong``."""
    where: str = ""
    error: float | None = None
    """Share of the reference's largest value; None when it has no size."""
    cpu_error: float | None = None
    values: str = ""
    at: tuple[int, ...] | None = None
    """The index of the value that is farthest off; None when that has no meaning."""
    got: float | None = None
    """What stands there."""
    want: float | None = None
    """What is right there."""


RIGHT = OpJudgement("right")


def alike(ours: torch.Tensor, reference: torch.Tensor, floor: float = 0.0) -> bool:
    """Whether a result can be passed without a second look.

    Args:
        ours: The device's, on the CPU.
        reference: The CPU's.
        floor: The least value that an error is measured against.
    """
    if ours.shape != reference.shape or ours.dtype != reference.dtype:
        return False
    if torch.equal(ours, reference):
        return True
    if not ours.is_floating_point():
        return False
    largest = reference.abs().amax()
    if not bool(torch.isfinite(largest)):
        return False  # an infinite bound would let everything pass
    share = max(QUICK, torch.finfo(ours.dtype).eps)
    distance = (ours - reference).abs_()
    if not bool(distance.amax() <= share * largest.clamp_min(floor)):  # NaN compares as False
        return False
    return all(
        bool(distance[mask].amax() <= share * reference[mask].abs().amax())
        for mask in magnitudes(reference)
        if bool(mask.any())
    )


def judge(
    ours: Named,
    on_cpu: Named,
    exact: Callable[[], Sequence[torch.Tensor]],
    rounded: Callable[[], Sequence[torch.Tensor]],
    before: Mapping[str, torch.Tensor] | None = None,
) -> OpJudgement:
    """Judge the results of one op.

    Args:
        ours: The device's, copied to the CPU, by name.
        on_cpu: The same op's on the CPU, in the same dtypes.
        exact: Computes them in float64.
        rounded: Computes them in float64 from inputs moved by about one rounding.
        before: What the op wrote over, for the results that are a change of it.
    """
    ours, on_cpu = _real(ours), _real(on_cpu)
    floors = [floor_of(name, before or {}) for name, _ in ours]
    odd = [
        place
        for place, ((_, mine), (_, theirs)) in enumerate(zip(ours, on_cpu, strict=True))
        if not alike(mine, theirs, floors[place])
    ]
    if not odd:
        return RIGHT
    references = [_parts(tensor) for tensor in exact()]
    worst = RIGHT
    for place in odd:
        pair = ours[place], on_cpu[place]
        found = _judge_one(*pair, references[place], place, rounded, floors[place])
        if _rank(found) > _rank(worst):
            worst = found
    return worst


def _parts(tensor: torch.Tensor) -> torch.Tensor:
    """Real and imaginary parts of a complex tensor as a last dimension; sparse ones dense."""
    if tensor.layout is not torch.strided:
        tensor = tensor.to_dense()
    return torch.view_as_real(tensor.resolve_conj()) if tensor.is_complex() else tensor


def _real(named: Named) -> Named:
    return [(name, _parts(tensor)) for name, tensor in named]


def _judge_one(
    ours: tuple[str, torch.Tensor],
    on_cpu: tuple[str, torch.Tensor],
    exact: torch.Tensor,
    place: int,
    rounded: Callable[[], Sequence[torch.Tensor]],
    floor: float,
) -> OpJudgement:
    name, result = ours
    if not result.is_floating_point():
        exact = on_cpu[1]  # whole numbers are right or wrong, in any precision
    found, lost = gap([ours], [(name, exact)], floor), gap([on_cpu], [(name, exact)], floor)
    if lost.wrong:  # float64 goes another way, overflow above all: the CPU's own dtype is right
        found, lost = gap([ours], [on_cpu], floor), Gap(0.0)
        exact = on_cpu[1]
    if found.wrong:
        worst = _worst(result, exact)
        return OpJudgement("wrong", name, None, lost.error, found.wrong, *worst)
    bound = tolerance(result.dtype)
    if found.error <= (QUICK if bound <= 1e-3 else bound):
        return RIGHT
    if result.dtype in (torch.float16, torch.bfloat16):
        allowed = BEYOND_CPU_HALF * lost.error
    else:
        moved = gap([(name, _parts(rounded()[place]))], [(name, exact)], floor)
        allowed = BEYOND_CPU * max(lost.error, 0.0 if moved.wrong else moved.error)
    if found.error <= allowed:
        return RIGHT
    if found.error <= bound and name.startswith(CHANGE):
        return RIGHT  # the result itself shows what is less exact
    status = "wrong" if found.error > bound else "suspect"
    values, worst = _count(result, exact, bound, floor), _worst(result, exact)
    return OpJudgement(status, name, found.error, lost.error, values, *worst)


def _count(ours: torch.Tensor, exact: torch.Tensor, bound: float, floor: float) -> str:
    ours, exact = ours.double(), exact.double()
    count = 0
    for mask in magnitudes(exact.nan_to_num(0.0, 0.0, 0.0)):
        if bool(mask.any()):
            scale = exact[mask].nan_to_num(0.0, 0.0, 0.0).abs().amax().clamp_min(floor)
            count += int(((ours[mask] - exact[mask]).abs() > bound * scale).sum())
    return f"{count:,} of {ours.numel():,} values are wrong"


def _worst(ours: torch.Tensor, exact: torch.Tensor) -> tuple[Any, ...]:
    """The index of the value that is farthest off, and what stands there and is right there."""
    if ours.shape != exact.shape or not ours.numel():
        return None, None, None
    ours, exact = ours.detach().cpu(), exact.detach().cpu()
    mine, right = ours.double(), exact.double()
    far = (mine - right).abs().nan_to_num(0.0, float("inf"))  # of two that are nan nothing is off
    for mask in magnitudes(right.nan_to_num(0.0, 0.0, 0.0)):  # each on its own scale
        if bool(mask.any()):
            far[mask] /= right[mask].nan_to_num(0.0, 0.0, 0.0).abs().amax().clamp_min(1e-300)
    far[(ours != exact) & (far == 0)] = 1e-300  # whole numbers that float64 cannot tell apart
    far[mine.isnan() != right.isnan()] = float("inf")
    far[mine.isnan() & right.isnan()] = 0.0
    index = tuple(int(each) for each in torch.unravel_index(far.argmax(), far.shape))
    return index, ours[index].item(), exact[index].item()


def _rank(judgement: OpJudgement) -> tuple[int, float]:
    size = float("inf") if judgement.error is None else judgement.error
    return ("right", "suspect", "wrong").index(judgement.status), size

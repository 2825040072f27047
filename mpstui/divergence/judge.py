"""Whether the results of one op are right: quick where they are equal, in float64 on suspicion.

Wrong is what is both far from float64 (over :func:`~mpstui.divergence.compare.tolerance`, as a
share of the reference's largest value) and far beyond what the CPU loses in the same dtype or what
rounding the inputs would do, whichever is more (:data:`~mpstui.divergence.compare.BEYOND_CPU`
times). A value that is not finite, a whole number, a truth value or a shape that differs is wrong
at once. In between lies what is suspect.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import torch

from .compare import BEYOND_CPU, Gap, gap, tolerance

QUICK = 1e-5
"""Share of the reference's largest value below which nobody looks twice."""

Named = list[tuple[str, torch.Tensor]]


class Judgement(NamedTuple):
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


RIGHT = Judgement("right")


def alike(ours: torch.Tensor, reference: torch.Tensor) -> bool:
    """Whether a result can be passed without a second look. Both lie on the CPU."""
    if ours.shape != reference.shape or ours.dtype != reference.dtype:
        return False
    if torch.equal(ours, reference):
        return True
    if not ours.is_floating_point():
        return False
    largest = reference.abs().amax()
    if not bool(torch.isfinite(largest)):
        return False  # an infinite bound would let everything pass
    bound = max(QUICK, torch.finfo(ours.dtype).eps) * largest
    return bool((ours - reference).abs_().amax() <= bound)  # NaN compares as False


def judge(
    ours: Named,
    on_cpu: Named,
    exact: Callable[[], Sequence[torch.Tensor]],
    rounded: Callable[[], Sequence[torch.Tensor]],
) -> Judgement:
    """Judge the results of one op.

    Args:
        ours: The device's, copied to the CPU, by name.
        on_cpu: The same op's on the CPU, in the same dtypes.
        exact: Computes them in float64.
        rounded: Computes them in float64 from inputs moved by about one rounding.
    """
    ours, on_cpu = _real(ours), _real(on_cpu)
    odd = [
        place
        for place, ((_, mine), (_, theirs)) in enumerate(zip(ours, on_cpu, strict=True))
        if not alike(mine, theirs)
    ]
    if not odd:
        return RIGHT
    references = [_parts(each) for each in exact()]
    worst = RIGHT
    for place in odd:
        found = _judge_one(ours[place], on_cpu[place], references[place], place, rounded)
        if _rank(found) > _rank(worst):
            worst = found
    return worst


def _parts(tensor: torch.Tensor) -> torch.Tensor:
    """Real and imaginary parts of a complex tensor as a last dimension; others as they are."""
    return torch.view_as_real(tensor.resolve_conj()) if tensor.is_complex() else tensor


def _real(named: Named) -> Named:
    return [(name, _parts(tensor)) for name, tensor in named]


def _judge_one(
    ours: tuple[str, torch.Tensor],
    on_cpu: tuple[str, torch.Tensor],
    exact: torch.Tensor,
    place: int,
    rounded: Callable[[], Sequence[torch.Tensor]],
) -> Judgement:
    name, result = ours
    if not result.is_floating_point():
        exact = on_cpu[1]  # whole numbers are right or wrong, in any precision
    found, lost = gap([ours], [(name, exact)]), gap([on_cpu], [(name, exact)])
    if lost.wrong:  # float64 goes another way, overflow above all: the CPU's own dtype is right
        found, lost = gap([ours], [on_cpu]), Gap(0.0)
        exact = on_cpu[1]
    if found.wrong:
        worst = _worst(result, exact)
        return Judgement("wrong", name, None, lost.error, found.wrong, *worst)
    bound = tolerance(result.dtype)
    if found.error <= (QUICK if bound <= 1e-3 else bound):
        return RIGHT
    moved = gap([(name, _parts(rounded()[place]))], [(name, exact)])
    allowed = BEYOND_CPU * max(lost.error, 0.0 if moved.wrong else moved.error)
    if found.error <= allowed:
        return RIGHT
    status = "wrong" if found.error > bound else "suspect"
    values, worst = _count(result, exact, bound), _worst(result, exact)
    return Judgement(status, name, found.error, lost.error, values, *worst)


def _count(ours: torch.Tensor, exact: torch.Tensor, bound: float) -> str:
    far = (ours.double() - exact.double()).abs() > bound * exact.double().abs().amax()
    return f"{int(far.sum()):,} of {far.numel():,} values are wrong"


def _worst(ours: torch.Tensor, exact: torch.Tensor) -> tuple[Any, ...]:
    """The index of the value that is farthest off, and what stands there and is right there."""
    if ours.shape != exact.shape or not ours.numel():
        return None, None, None
    ours, exact = ours.detach().cpu(), exact.detach().cpu()
    mine, right = ours.double(), exact.double()
    far = (mine - right).abs().nan_to_num(0.0, float("inf"))  # of two that are nan nothing is off
    far[(ours != exact) & (far == 0)] = 1e-300  # whole numbers that float64 cannot tell apart
    far[mine.isnan() != right.isnan()] = float("inf")
    far[mine.isnan() & right.isnan()] = 0.0
    index = tuple(int(each) for each in torch.unravel_index(far.argmax(), far.shape))
    return index, ours[index].item(), exact[index].item()


def _rank(judgement: Judgement) -> tuple[int, float]:
    size = float("inf") if judgement.error is None else judgement.error
    return ("right", "suspect", "wrong").index(judgement.status), size

"""How far a device's tensors are from the reference's, and from where on that is a fault.

A result is faulty when its error is both large, over :func:`tolerance` as a share of the
reference's largest absolute value, and far beyond what the CPU loses in the same dtype, more than
:data:`BEYOND_CPU` times. Both bounds were found by experiment: over legitimate kernels, orders of
summation and layouts nothing crossed them, and injected faults were at 0.2 and above.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch

BEYOND_CPU = 32.0
"""How many times the CPU's own rounding error counts as more than rounding."""

BEYOND_CPU_HALF = 4.0
"""The same in half precision. There the CPU rounds as the device does, and the inputs are already
rounded, so that a lower precision explains no more than its own rounding."""

APART = 1e4
"""How many times larger than every other value sentinels are, at least: the -1e9 of a mask."""

ALIKE = 2.0
"""How many times larger than the smallest sentinel the largest is, at most."""

SAMPLE = 4096
"""Values that are looked at for sentinels."""

Named = Sequence["tuple[str, torch.Tensor | None]"]


class Gap(NamedTuple):
    """The worst difference between two lists of tensors."""

    error: float
    """Share of the reference's largest absolute value; infinite when ``wrong`` says more."""
    where: str = ""
    wrong: str = ""
    """A difference that has no size: another shape, another truth value, not finite."""
    not_finite: bool = False
    """Whether that is about values that are not finite."""


def tolerance(dtype: torch.dtype) -> float:
    """The error up to which a result is sound whatever the CPU does.

    1e-3 in float32 and float64; 16 units of the last place in half precision, where the output's
    own rounding and that of each intermediate result are of that size.
    """
    return max(1e-3, 16 * torch.finfo(dtype).eps) if dtype.is_floating_point else 0.0


def gap(ours: Named, reference: Named, floor: float = 0.0) -> Gap:
    """The worst difference.

    Args:
        ours: Names and tensors, on any device; None for a gradient that is not there.
        reference: The same from the CPU, in float64 where ours are floating-point.
        floor: The least value that an error is measured against.
    """
    if len(ours) != len(reference):
        count = f"{len(ours)} results where {len(reference)} are right"
        return Gap(float("inf"), "results", count)
    gaps = [
        _gap(name, tensor, expected, floor)
        for (name, tensor), (_, expected) in zip(ours, reference, strict=True)
    ]
    return max(gaps, key=lambda each: each.error, default=Gap(0.0))


def magnitudes(reference: torch.Tensor) -> tuple[torch.Tensor, ...]:
    """Masks of the values that share an error scale: sentinels, and all others.

    A mask of -1e9 must not set the scale for the scores that it is added to. Without sentinels
    there is one mask, of everything.

    Args:
        reference: Finite values of any shape.
    """
    everything = torch.ones_like(reference, dtype=torch.bool)
    size = reference.abs()
    values = size.flatten()[:: max(size.numel() // SAMPLE, 1)].double()
    values = values[values > 0].sort().values
    ratios = values[1:] / values[:-1]
    if not ratios.numel() or not float(ratios.amax()) >= APART:
        return (everything,)
    first = int(ratios.argmax()) + 1
    several = first < len(values) - 1
    if not several or float(values[-1]) > ALIKE * float(values[first]):
        return (everything,)
    # Not all values were looked at: the bound lies in the middle of the gap.
    sentinels = size.double() > (values[first - 1] * values[first]).sqrt()
    return (sentinels, ~sentinels) if bool((~sentinels).any()) else (everything,)


def _gap(name: str, ours: torch.Tensor | None, reference: torch.Tensor | None, floor: float) -> Gap:
    if ours is None or reference is None:
        same = (ours is None) == (reference is None)
        return Gap(0.0) if same else Gap(float("inf"), name, "there is none")
    if ours.shape != reference.shape:
        shapes = f"shape {tuple(ours.shape)} where {tuple(reference.shape)} is right"
        return Gap(float("inf"), name, shapes)
    ours, reference = ours.detach().cpu(), reference.detach().cpu()
    if ours.numel() == 0:
        return Gap(0.0)
    if not ours.is_floating_point():
        differ = int((ours != reference).sum())
        if not differ:
            return Gap(0.0)
        return Gap(float("inf"), name, f"{differ:,} of {ours.numel():,} values differ")
    ours, reference = ours.double(), reference.double()
    odd = ~torch.isfinite(ours)
    expected_odd = ~torch.isfinite(reference)
    if count := int((odd != expected_odd).sum()):
        values = f"{count:,} of {ours.numel():,} values"
        return Gap(float("inf"), name, f"{values} not finite as the reference's are", True)
    if not torch.equal(ours[odd].nan_to_num(0.5), reference[odd].nan_to_num(0.5)):
        return Gap(float("inf"), name, "nan and ±inf stand in each other's place", True)
    finite = ~odd
    if not bool(finite.any()):
        return Gap(0.0, name)
    ours, reference = ours[finite], reference[finite]
    errors = [
        _share(ours[mask], reference[mask], floor)
        for mask in magnitudes(reference)
        if bool(mask.any())
    ]
    return Gap(max(errors), name)


def _share(ours: torch.Tensor, reference: torch.Tensor, floor: float) -> float:
    distance = float((ours - reference).abs().max())
    scale = max(float(reference.abs().max()), floor)
    return distance / scale if scale else distance


REFUSALS = (
    *(RuntimeError, NotImplementedError, TypeError, ValueError),
    *(AttributeError, IndexError, AssertionError),
)
"""What torch raises for an op, a dtype or a layout that a device does not have."""

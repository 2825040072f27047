"""Measures how far a device's tensors are from the reference's, and defines what is a fault.

A result is faulty if its error is both large, over :func:`tolerance` as a share of the reference's
largest absolute value, and more than :data:`BEYOND_CPU` times the CPU's error in the same dtype.
Both bounds are empirical: over correct kernels, orders of summation and layouts nothing exceeded
them, and injected faults were at 0.2 and above.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch

BEYOND_CPU = 32.0
"""Multiple of the CPU's own rounding error above which an error is more than rounding."""

BEYOND_CPU_HALF = 4.0
"""The same in half precision, where the CPU rounds as the device does and the inputs are already
rounded, so that a lower precision explains no more than its own rounding."""

APART = 1e4
"""Least ratio of sentinels, such as the -1e9 of a mask, to all other values."""

ALIKE = 2.0
"""Largest ratio of the largest sentinel to the smallest."""

SAMPLE = 4096
"""Number of values that are searched for sentinels."""

NamedTensors = Sequence["tuple[str, torch.Tensor | None]"]


class Gap(NamedTuple):
    """The worst difference between two lists of tensors."""

    error: float
    """Error as a share of the reference's largest absolute value; infinite if ``wrong`` is set."""
    where: str = ""
    wrong: str = ""
    """A difference without a size: another shape, another boolean, not finite."""
    not_finite: bool = False
    """Whether ``wrong`` is about values that are not finite."""


def tolerance(dtype: torch.dtype) -> float:
    """Return the error up to which a result is sound regardless of the CPU's error.

    1e-3 in float32 and float64; 16 units of the last place in half precision, where rounding the
    output and each intermediate result causes errors of that size.
    """
    return max(1e-3, 16 * torch.finfo(dtype).eps) if dtype.is_floating_point else 0.0


def gap(actual: NamedTensors, expected: NamedTensors, floor: float = 0.0) -> Gap:
    """Return the worst difference.

    Args:
        actual: Names and tensors, on any device; None for a missing gradient.
        expected: The same from the CPU, in float64 for floating-point tensors.
        floor: The least scale of an error.
    """
    if len(actual) != len(expected):
        count = f"{len(actual)} results where {len(expected)} are right"
        return Gap(float("inf"), "results", count)
    gaps = [
        _gap(name, tensor, expected_tensor, floor)
        for (name, tensor), (_, expected_tensor) in zip(actual, expected, strict=True)
    ]
    return max(gaps, key=lambda item: item.error, default=Gap(0.0))


def magnitudes(reference: torch.Tensor) -> tuple[torch.Tensor, ...]:
    """Return masks of the values that share an error scale: sentinels, and all others.

    A mask of -1e9 must not determine the scale of the scores that it is added to. Without sentinels
    there is one mask, of all values.

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
    has_several = first < len(values) - 1
    if not has_several or float(values[-1]) > ALIKE * float(values[first]):
        return (everything,)
    # Only a sample was searched, so the bound is in the middle of the gap.
    sentinels = size.double() > (values[first - 1] * values[first]).sqrt()
    return (sentinels, ~sentinels) if bool((~sentinels).any()) else (everything,)


def _gap(
    name: str, actual: torch.Tensor | None, expected: torch.Tensor | None, floor: float
) -> Gap:
    if actual is None or expected is None:
        same = (actual is None) == (expected is None)
        return Gap(0.0) if same else Gap(float("inf"), name, "there is none")
    if actual.shape != expected.shape:
        shapes = f"shape {tuple(actual.shape)} where {tuple(expected.shape)} is right"
        return Gap(float("inf"), name, shapes)
    actual, expected = actual.detach().cpu(), expected.detach().cpu()
    if actual.numel() == 0:
        return Gap(0.0)
    if not actual.is_floating_point():
        differ = int((actual != expected).sum())
        if not differ:
            return Gap(0.0)
        return Gap(float("inf"), name, f"{differ:,} of {actual.numel():,} values differ")
    actual, expected = actual.double(), expected.double()
    non_finite = ~torch.isfinite(actual)
    expected_non_finite = ~torch.isfinite(expected)
    if count := int((non_finite != expected_non_finite).sum()):
        count_text = f"{count:,} of {actual.numel():,} values"
        return Gap(float("inf"), name, f"{count_text} not finite as the reference's are", True)
    if not torch.equal(actual[non_finite].nan_to_num(0.5), expected[non_finite].nan_to_num(0.5)):
        return Gap(float("inf"), name, "nan and ±inf are not in the right places", True)
    finite = ~non_finite
    if not bool(finite.any()):
        return Gap(0.0, name)
    actual, expected = actual[finite], expected[finite]
    errors = [
        _share(actual[mask], expected[mask], floor)
        for mask in magnitudes(expected)
        if bool(mask.any())
    ]
    return Gap(max(errors), name)


def _share(actual: torch.Tensor, expected: torch.Tensor, floor: float) -> float:
    distance = float((actual - expected).abs().max())
    scale = max(float(expected.abs().max()), floor)
    return distance / scale if scale else distance


REFUSALS = (
    *(RuntimeError, NotImplementedError, TypeError, ValueError),
    *(AttributeError, IndexError, AssertionError),
)
"""Errors that torch raises for an op, dtype or layout that a device does not support."""

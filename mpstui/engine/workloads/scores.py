"""What a workload's ``score`` returns, as ratios whose parts can be summed over batches."""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch

from mpstui.domain.errors import FieldError

from .contract import Ratio, Score

ALLOWED = (
    '{"loss": mean loss, "accuracy": (correct, answers)}, with any other means or such pairs; or '
    "Score(loss_sum, correct)"
)


def ratios_of(value: object, samples: int, where: str) -> dict[str, Ratio]:
    """Return a score as numerators and denominators by name; ``loss`` is the first.

    Args:
        value: What ``score`` returned.
        samples: The batch's samples.
        where: Class and method, for messages.

    Raises:
        FieldError: When it is no score.
    """
    if isinstance(value, Score):
        value = {"loss": (value.loss_sum, samples)} | (
            {} if value.correct is None else {"accuracy": (value.correct, samples)}
        )
    if not isinstance(value, Mapping) or "loss" not in value:
        raise FieldError("workload", f"{where} returns {describe(value)}", ALLOWED)
    ratios: dict[str, Ratio] = {}
    for name, entry in sorted(value.items(), key=lambda item: item[0] != "loss"):
        is_pair = isinstance(entry, (tuple, list)) and len(entry) == 2
        parts = tuple(entry) if is_pair else (entry,)
        if not isinstance(name, str) or not all(map(is_scalar, parts)):
            raise FieldError("workload", f"{where} returns {name}: {describe(entry)}", ALLOWED)
        if is_pair:
            ratios[name] = (parts[0], parts[1])
        else:
            ratios[name] = (parts[0] * samples, samples)
    return ratios


def check_counts(ratios: Mapping[str, Ratio], where: str) -> None:
    """Refuse counts that are larger than what they are of; waits for the device.

    Raises:
        FieldError: When there is one, such as correct pixels counted among samples.
    """
    correct = count(ratios["accuracy"]) if "accuracy" in ratios else None
    if correct is not None and correct[0] > correct[1]:
        problem = f"{where} counts {correct[0]:,} correct answers among {correct[1]:,}"
        raise FieldError("workload", problem, '{"loss": mean loss, "accuracy": (correct, answers)}')


def add(sums: dict[str, Ratio], ratios: Mapping[str, Ratio]) -> None:
    """Add a batch's ratios to sums, on the device."""
    for name, (numerator, denominator) in ratios.items():
        before = sums.get(name)
        if isinstance(numerator, torch.Tensor):
            numerator = numerator.float() if numerator.is_floating_point() else numerator.long()
        sums[name] = (
            (numerator, denominator)
            if before is None
            else (before[0] + numerator, before[1] + denominator)
        )


def quotient(ratio: Ratio) -> float | None:
    """Return a ratio's value; None if it is not finite."""
    numerator, denominator = (float(part) for part in ratio)
    value = numerator / denominator if denominator else math.nan
    return value if math.isfinite(value) else None


def count(ratio: Ratio) -> tuple[int, int] | None:
    """Return a ratio as two whole numbers; None if its numerator is no count."""
    numerator, denominator = ratio
    is_whole = not isinstance(numerator, float) and not (
        isinstance(numerator, torch.Tensor) and numerator.is_floating_point()
    )
    return (int(numerator), int(denominator)) if is_whole else None


def is_scalar(value: object) -> bool:
    """Return whether a value is a number, or a tensor with one element."""
    if isinstance(value, torch.Tensor):
        return value.numel() == 1
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def describe(value: object) -> str:
    """Describe a value's type, and a tensor's shape, for a message."""
    if isinstance(value, torch.Tensor):
        return f"a tensor of shape {tuple(value.shape)}"
    if isinstance(value, (tuple, list)):
        return f"{type(value).__name__} of ({', '.join(describe(item) for item in value)})"
    if isinstance(value, Mapping):
        return f"a dict with {', '.join(map(repr, value)) or 'nothing'}"
    return type(value).__name__

"""A device's own random draws, judged by what they must be whatever they are.

In range, of the right mean and spread, not the same in every slice, not the same as the time
before, and written at all. What two right draws may well have in common is no fault: masks that
keep nearly everything are often alike.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import torch

from .schema import Facts

SIGMAS = 6.0
"""How far a mean may be from what it must be, in its own standard deviations."""

FEW = 64
"""Draws below which nothing is said of their mean."""

UNLIKELY = 27.0
"""Minus the logarithm of the chance from which on two draws that agree are one draw: 2e-12."""

SAMPLE = 4096
"""Draws that tell how often two of them agree."""

_MASKS = ("bernoulli_", "bernoulli", "native_dropout", "_fused_dropout")
_NORMAL = ("normal_", "randn", "randn_like")
_UNIFORM = ("uniform_", "rand", "rand_like")


class Problem(NamedTuple):
    """What is wrong with some draws."""

    words: str
    code: str
    """Python that is true where it is so, of ``got``, ``before`` and ``again``: for a repro."""


class DrawJudge:
    """Looks at what a device drew."""

    def __init__(self) -> None:
        self._last: dict[tuple[str, tuple[int, ...]], torch.Tensor] = {}

    def problem(
        self, facts: Facts, args: Any, out: list[torch.Tensor], before: list[torch.Tensor]
    ) -> Problem | None:
        """What is wrong with some draws, if anything.

        Args:
            facts: The op's.
            args: Its arguments.
            out: What it drew, on the CPU.
            before: What in-place draws replaced, on the CPU; empty for the others.
        """
        drawn = out[-1] if facts.packet in ("native_dropout", "_fused_dropout") else out[0]
        values = drawn.detach()
        if values.numel() < FEW:
            return None
        named = facts.named(args)
        surprise = _surprise(facts.packet, named, values)
        telling = values.numel() * surprise > UNLIKELY
        if before and telling and torch.equal(before[0], values):
            return Problem("the draws are never written", "torch.equal(got, before)")
        found = _slices(values, surprise) or _moments(facts.packet, named, values)
        key = (facts.name, tuple(values.shape))
        last = self._last.get(key)
        if not found and telling and last is not None and torch.equal(last, values):
            found = Problem("the same numbers as the time before", "torch.equal(got, again)")
        self._last[key] = values.clone()
        return found


def _surprise(packet: str, named: dict[str, Any], values: torch.Tensor) -> float:
    """Minus the logarithm of the chance that two right draws are equal."""
    p = named.get("p")
    if packet in _MASKS and isinstance(p, (int, float)):
        return -math.log(p * p + (1 - p) * (1 - p))
    if packet in _NORMAL and named.get("std", 1.0) != 0:
        return -math.log(torch.finfo(values.dtype).eps)
    if packet in _UNIFORM and named.get("from", 0.0) != named.get("to", 1.0):
        return -math.log(torch.finfo(values.dtype).eps)
    sample = values.flatten()[:SAMPLE]  # of others, what they tell themselves
    counts = torch.unique(sample, return_counts=True)[1].double() / sample.numel()
    return -math.log(min(float(counts.square().sum()), 1.0))


def _moments(packet: str, named: dict[str, Any], values: torch.Tensor) -> Problem | None:
    eps = torch.finfo(values.dtype).eps if values.is_floating_point() else 0.0
    values = values.double()
    count = values.numel()
    if not bool(torch.isfinite(values).all()):
        return Problem("draws that are not finite", "not torch.isfinite(got).all()")
    if packet in _MASKS:
        if bool(((values != 0) & (values != 1)).any()):
            return Problem("draws other than 0 and 1", "((got != 0) & (got != 1)).any()")
        p = named.get("p")
        if not isinstance(p, (int, float)):
            return None
        keep = p if packet.startswith("bernoulli") else 1 - p
        return _mean(values, keep, math.sqrt(keep * (1 - keep) / count), 0.0)
    if packet in _NORMAL:
        mean, spread = named.get("mean", 0.0), named.get("std", 1.0)
        if not (isinstance(mean, (int, float)) and isinstance(spread, (int, float))):
            return None
        off = abs(float(values.std()) - spread)
        wide = SIGMAS * spread / math.sqrt(2 * count) + eps * (abs(mean) + spread) + 1e-12
        if off > wide:
            code = f"abs(float(got.double().std()) - {spread!r}) > {wide!r}"
            return Problem(f"standard deviation off by {off:.3g}", code)
        return _mean(values, mean, spread / math.sqrt(count), eps * (abs(mean) + spread))
    if packet in _UNIFORM:
        low, high = named.get("from", 0.0), named.get("to", 1.0)
        room = eps * max(abs(low), abs(high))
        if bool(((values < low - room) | (values > high + room)).any()):
            code = f"((got < {low - room!r}) | (got > {high + room!r})).any()"
            return Problem(f"draws outside {low:g} to {high:g}", code)
        return _mean(values, (low + high) / 2, (high - low) / math.sqrt(12 * count), room)
    return None


def _mean(values: torch.Tensor, wanted: float, deviation: float, room: float) -> Problem | None:
    mean, bound = float(values.mean()), SIGMAS * deviation + room + 1e-12
    if abs(mean - wanted) <= bound:
        return None
    words = f"mean {mean:.4g} where {wanted:.4g} is right, {values.numel():,} draws"
    return Problem(words, f"abs(float(got.double().mean()) - {wanted!r}) > {bound!r}")


def _slices(values: torch.Tensor, surprise: float) -> Problem | None:
    """Whether all slices along a dimension hold the same draws."""
    for dim in range(min(values.dim(), 2)):
        size = values.shape[dim]
        if size > 1 and values.numel() // size * surprise > UNLIKELY:
            first = values.narrow(dim, 0, 1)
            if torch.equal(values, first.expand_as(values)):
                code = f"torch.equal(got, got.narrow({dim}, 0, 1).expand_as(got))"
                return Problem("every slice holds the same draws", code)
    return None

"""Random draws: the same for the device and the CPU in lockstep, and a device's own judged.

Two devices never draw the same numbers, and losses differ by 1 to 2 % for that alone. So the k-th
random op of a step gets numbers drawn on the CPU, from a seed made of the step and k, in place of
its own; its own are looked at first, by what they must be: in range, of the right mean and spread,
not the same in every slice, not the same as last time, and written at all.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import torch
from torch.utils._pytree import tree_map

from .cases import REFUSALS
from .schema import Facts, results, tensors

SIGMAS = 6.0
"""How far a mean may be from what it must be, in its own standard deviations."""

FEW = 64
"""Draws below which nothing is said of their mean."""


class Draws:
    """Numbers that a step's random ops get, the same in every pass over that step."""

    def __init__(self, seed: int = 0) -> None:
        self._seed = seed
        self._step = 0
        self._count = 0
        self.unshared: set[str] = set()
        """Ops that draw inside, and that the CPU does not have: attention or LSTMs with dropout."""

    def restart(self, step: int) -> None:
        """A pass over a step begins."""
        self._step, self._count = step, 0

    def share(self, op: Any, facts: Facts, args: Any, kwargs: Any, out: Any) -> None:
        """Put the shared numbers in place of what the device drew.

        They are drawn in float32 and in the order of the indices, so that neither precision nor
        memory layout makes a difference.
        """
        self._count += 1
        generator = torch.default_generator
        state = generator.get_state()
        generator.manual_seed(hash((self._seed, self._step, self._count)) & (2**63 - 1))
        try:
            drawn = _on_cpu(op, facts, args, kwargs)
        except REFUSALS:
            self.unshared.add(facts.name)
            return
        finally:
            generator.set_state(state)
        named = results(facts, out, args, kwargs)
        for (_, target), (_, source) in zip(named, drawn, strict=False):
            target.copy_(source)


def _on_cpu(op: Any, facts: Facts, args: Any, kwargs: Any) -> list[tuple[str, torch.Tensor]]:
    if facts.packet in ("native_dropout", "_fused_dropout"):
        # A CPU's dropout is bernoulli_ and a product: the same mask must come of both.
        x, p = args[0].detach().cpu().float(), float(args[1])
        mask = torch.empty(x.shape).bernoulli_(1 - p)
        return [("output 1", x * mask / (1 - p)), ("output 2", mask.bool())]

    def plain(value: Any) -> Any:
        if not isinstance(value, torch.Tensor):
            return torch.float32 if _half(value) else value
        dense = value.detach().cpu().contiguous().clone()
        return dense.float() if _half(value.dtype) else dense

    changed, named = tree_map(plain, args), tree_map(plain, dict(kwargs))
    if "device" in named:
        named["device"] = torch.device("cpu")
    named.pop("generator", None)
    named.pop("pin_memory", None)
    named.pop("memory_format", None)
    return results(facts, op(*changed, **named), changed, named)


def _half(value: Any) -> bool:
    return value in (torch.float16, torch.bfloat16)


class Problem(NamedTuple):
    """What is wrong with some draws."""

    words: str
    code: str
    """Python that is true where it is so, of ``got`` and ``before``: for a repro."""


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
        if before and torch.equal(before[0], values):
            return Problem("the draws are never written", "torch.equal(got, before)")
        found = _slices(values) or _moments(facts.packet, args, values.double())
        key = (facts.name, tuple(values.shape))
        last = self._last.get(key)
        if not found and last is not None and torch.equal(last, values):
            found = Problem("the same numbers as the time before", "torch.equal(got, again)")
        self._last[key] = values.clone()
        return found


def _moments(packet: str, args: Any, values: torch.Tensor) -> Problem | None:
    count = values.numel()
    if not bool(torch.isfinite(values).all()):
        return Problem("draws that are not finite", "not torch.isfinite(got).all()")
    if packet in ("bernoulli_", "bernoulli", "native_dropout", "_fused_dropout"):
        if bool(((values != 0) & (values != 1)).any()):
            return Problem("draws other than 0 and 1", "((got != 0) & (got != 1)).any()")
        p = args[1] if len(args) > 1 and isinstance(args[1], float) else None
        if p is None or not tensors(args):
            return None
        keep = p if packet.startswith("bernoulli") else 1 - p
        return _mean(values, keep, math.sqrt(keep * (1 - keep) / count))
    numbers = [arg for arg in args[1:3] if isinstance(arg, (int, float))]
    if packet in ("normal_", "randn", "randn_like"):
        mean, spread = numbers if packet == "normal_" and len(numbers) == 2 else (0.0, 1.0)
        off = abs(float(values.std()) - spread)
        wide = SIGMAS * spread / math.sqrt(2 * count) + 1e-12
        if off > wide:
            code = f"abs(float(got.double().std()) - {spread!r}) > {wide!r}"
            return Problem(f"standard deviation off by {off:.3g}", code)
        return _mean(values, mean, spread / math.sqrt(count))
    if packet in ("uniform_", "rand", "rand_like"):
        low, high = numbers if packet == "uniform_" and len(numbers) == 2 else (0.0, 1.0)
        if bool(((values < low) | (values > high)).any()):
            code = f"((got < {low!r}) | (got > {high!r})).any()"
            return Problem(f"draws outside {low:g} to {high:g}", code)
        return _mean(values, (low + high) / 2, (high - low) / math.sqrt(12 * count))
    return None


def _mean(values: torch.Tensor, wanted: float, deviation: float) -> Problem | None:
    mean, bound = float(values.mean()), SIGMAS * deviation + 1e-12
    if abs(mean - wanted) <= bound:
        return None
    words = f"mean {mean:.4g} where {wanted:.4g} is right, {values.numel():,} draws"
    return Problem(words, f"abs(float(got.double().mean()) - {wanted!r}) > {bound!r}")


def _slices(values: torch.Tensor) -> Problem | None:
    """Whether all slices along a dimension hold the same draws."""
    least = 8 if values.is_floating_point() and bool((values != values.round()).any()) else FEW
    for dim in range(min(values.dim(), 2)):
        if values.shape[dim] > 1 and values.numel() // values.shape[dim] >= least:
            first = values.narrow(dim, 0, 1)
            if torch.equal(values, first.expand_as(values)):
                first_slice = f"got.narrow({dim}, 0, 1).expand_as(got)"
                return Problem(
                    "every slice holds the same draws", f"torch.equal(got, {first_slice})"
                )
    return None

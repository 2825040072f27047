"""Random draws: the same for the device and the CPU in lockstep.

Two devices never draw the same numbers, and losses differ by 1 to 2 % for that alone. So the k-th
random op of a step gets numbers drawn on the CPU, from a seed made of the step and k, in place of
its own, which are looked at first (:mod:`mpstui.ops.randomness.checks`).
"""

from __future__ import annotations

from typing import Any

import torch
from torch.utils._pytree import tree_map

from mpstui.numerics import REFUSALS
from mpstui.ops.references.run import undisturbed
from mpstui.ops.schema import OpInfo, dropout_keeps, is_random, results

TINY = 1e-30
"""What a dropout that keeps nothing divides by: the CPU gives zeros."""


class SharedRandom:
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

    def run(self, op: Any, facts: OpInfo, args: Any, kwargs: Any) -> Any:
        """Run an op; one that draws gets the shared numbers."""
        out = op(*args, **kwargs)
        if is_random(op, facts, args, kwargs):
            with undisturbed():
                self.share(op, facts, args, kwargs, out)
        return out

    def share(self, op: Any, facts: OpInfo, args: Any, kwargs: Any, out: Any) -> None:
        """Put the shared numbers in place of what the device drew.

        Those of half precision are drawn in float32, and all in the order of the indices, so that
        neither lower precision nor memory layout makes a difference.
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


def _on_cpu(op: Any, facts: OpInfo, args: Any, kwargs: Any) -> list[tuple[str, torch.Tensor]]:
    if facts.packet in ("native_dropout", "_fused_dropout"):
        # A CPU's dropout is bernoulli_ and a product: the same mask must come of both.
        x, keep = args[0].detach().cpu().float(), dropout_keeps(facts, args)
        mask = torch.empty(x.shape).bernoulli_(keep)
        return [("output 1", x * mask / max(keep, TINY)), ("output 2", mask.bool())]

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

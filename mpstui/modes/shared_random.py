"""Gives the device and the CPU the same random numbers.

Two devices never generate the same numbers, and losses differ by 1 to 2 % for that reason alone. So
the k-th random op of a step gets numbers generated on the CPU, from a seed made of the step and k,
in place of its own, which are checked first (:mod:`mpstui.ops.randomness.checks`).
"""

from __future__ import annotations

import random
from typing import Any

import numpy as np
import torch
from torch.utils._pytree import tree_map

from mpstui.numerics import REFUSALS
from mpstui.ops.references.run import undisturbed
from mpstui.ops.schema import OpInfo, dropout_keeps, is_random, results

TINY = 1e-30
"""The divisor of a dropout that keeps nothing: the CPU returns zeros."""


class SharedRandom:
    """The random numbers of a step's ops, the same in every pass over that step.

    NumPy's and Python's default generators are seeded at the start of a pass: the user's code may
    use them.
    """

    seeds_host = True

    def __init__(self, seed: int = 0) -> None:
        self.seed = seed
        self._step = 0
        self._count = 0
        self.unshared: set[str] = set()
        """Random ops that the CPU does not have: fused attention or LSTMs with dropout."""

    def restart(self, step: int) -> None:
        """Start a pass over a step."""
        self._step, self._count = step, 0
        if self.seeds_host:
            seed = hash((self.seed, step)) & (2**32 - 1)
            random.seed(seed)
            np.random.seed(seed)

    def run(self, op: Any, info: OpInfo, args: Any, kwargs: Any) -> Any:
        """Run an op; a random one gets the shared numbers."""
        out = op(*args, **kwargs)
        if is_random(op, info, args, kwargs):
            with undisturbed():
                self.share(op, info, args, kwargs, out)
        return out

    def share(self, op: Any, info: OpInfo, args: Any, kwargs: Any, out: Any) -> None:
        """Replace the device's random numbers with the shared ones.

        They are generated in float32 and in index order, so neither the precision nor the memory
        layout changes them.
        """
        self._count += 1
        generator = torch.default_generator
        state = generator.get_state()
        generator.manual_seed(hash((self.seed, self._step, self._count)) & (2**63 - 1))
        try:
            shared = _on_cpu(op, info, args, kwargs)
        except REFUSALS:
            self.unshared.add(info.name)
            return
        finally:
            generator.set_state(state)
        outputs = results(info, out, args, kwargs)
        for (_, target), (_, source) in zip(outputs, shared, strict=False):
            target.copy_(source)


def _on_cpu(op: Any, info: OpInfo, args: Any, kwargs: Any) -> list[tuple[str, torch.Tensor]]:
    if info.packet in ("native_dropout", "_fused_dropout"):
        # The CPU's dropout is bernoulli_ and a product: both must yield the same mask.
        x, keep = args[0].detach().cpu().float(), dropout_keeps(info, args)
        mask = torch.empty(x.shape).bernoulli_(keep)
        return [("output 1", x * mask / max(keep, TINY)), ("output 2", mask.bool())]

    def to_cpu(value: Any) -> Any:
        if not isinstance(value, torch.Tensor):
            return torch.float32 if _half(value) else value
        dense = value.detach().cpu().contiguous().clone()
        return dense.float() if _half(value.dtype) else dense

    cpu_args, cpu_kwargs = tree_map(to_cpu, args), tree_map(to_cpu, dict(kwargs))
    if "device" in cpu_kwargs:
        cpu_kwargs["device"] = torch.device("cpu")
    cpu_kwargs.pop("generator", None)
    cpu_kwargs.pop("pin_memory", None)
    cpu_kwargs.pop("memory_format", None)
    return results(info, op(*cpu_args, **cpu_kwargs), cpu_args, cpu_kwargs)


def _half(value: Any) -> bool:
    return value in (torch.float16, torch.bfloat16)

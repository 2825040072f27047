"""Records the CPU's random numbers of a float32 pass, and replays them in a float64 pass.

From the same seed torch generates other numbers in float64, so that pass cannot generate its own.
"""

from __future__ import annotations

from typing import Any

import torch
from torch.utils._pytree import tree_map
from typing_extensions import override

from mpstui.ops.schema import OpInfo, results

from .shared_random import SharedRandom


class RecordedRandom(SharedRandom):
    """Shared random numbers, with a record of the latest pass."""

    def __init__(self, seed: int = 0) -> None:
        super().__init__(seed)
        self.recorded: list[list[torch.Tensor]] = []
        """The results of each random op of the latest pass, in order."""

    @override
    def restart(self, step: int) -> None:
        super().restart(step)
        self.recorded = []

    @override
    def share(self, op: Any, info: OpInfo, args: Any, kwargs: Any, out: Any) -> None:
        super().share(op, info, args, kwargs, out)
        self.recorded.append([tensor.clone() for _, tensor in results(info, out, args, kwargs)])


class DoubleRandom(SharedRandom):
    """Recorded random numbers, replayed for the same ops in float64.

    Ops that explicitly request float32, as ``tensor.float()`` does, get float64 too.
    """

    def __init__(self, recorded: list[list[torch.Tensor]], seed: int = 0) -> None:
        """Replay the record of a :class:`RecordedRandom`.

        Args:
            recorded: Its record.
            seed: Its seed, for NumPy's and Python's generators.

        Raises:
            LookupError: From ``share``, if there are more random ops than recorded.
        """
        super().__init__(seed)
        self._recorded = recorded
        self._next = 0

    @override
    def restart(self, step: int) -> None:
        super().restart(step)
        self._next = 0

    @override
    def run(self, op: Any, info: OpInfo, args: Any, kwargs: Any) -> Any:
        args, kwargs = tree_map(_to_float64, (args, kwargs))
        return super().run(op, info, args, kwargs)

    @override
    def share(self, op: Any, info: OpInfo, args: Any, kwargs: Any, out: Any) -> None:
        if self._next == len(self._recorded):
            raise LookupError(f"{info.name} is random, without a matching op in float32")
        for (_, target), source in zip(
            results(info, out, args, kwargs), self._recorded[self._next], strict=True
        ):
            target.copy_(source)
        self._next += 1


def _to_float64(value: Any) -> Any:
    return torch.float64 if value is torch.float32 else value

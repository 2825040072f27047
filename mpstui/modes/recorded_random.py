"""The CPU's draws of one pass in float32, written down and handed out again to one in float64.

From one seed torch draws other numbers in float64, so that pass cannot draw its own.
"""

from __future__ import annotations

from typing import Any

import torch
from torch.utils._pytree import tree_map
from typing_extensions import override

from mpstui.ops.schema import OpInfo, results

from .shared_random import SharedRandom


class RecordedRandom(SharedRandom):
    """Shared draws that are written down, pass by pass."""

    def __init__(self, seed: int = 0) -> None:
        super().__init__(seed)
        self.drawn: list[list[torch.Tensor]] = []
        """What each random op of the newest pass got, in order."""

    @override
    def restart(self, step: int) -> None:
        super().restart(step)
        self.drawn = []

    @override
    def share(self, op: Any, facts: OpInfo, args: Any, kwargs: Any, out: Any) -> None:
        super().share(op, facts, args, kwargs, out)
        self.drawn.append([each.clone() for _, each in results(facts, out, args, kwargs)])


class DoubleRandom(SharedRandom):
    """Draws that were written down, for the same ops in float64.

    What asks for float32 by name, as ``tensor.float()`` does, gets float64 too.
    """

    def __init__(self, drawn: list[list[torch.Tensor]]) -> None:
        """Take over what :class:`Recorded` wrote down.

        Raises:
            LookupError: Later, where more is drawn than was written down.
        """
        super().__init__()
        self._all = drawn
        self._place = 0

    @override
    def restart(self, step: int) -> None:
        super().restart(step)
        self._place = 0

    @override
    def run(self, op: Any, facts: OpInfo, args: Any, kwargs: Any) -> Any:
        args, kwargs = tree_map(_doubled, (args, kwargs))
        return super().run(op, facts, args, kwargs)

    @override
    def share(self, op: Any, facts: OpInfo, args: Any, kwargs: Any, out: Any) -> None:
        if self._place == len(self._all):
            raise LookupError(f"{facts.name} draws, which no op did in float32")
        for (_, target), source in zip(
            results(facts, out, args, kwargs), self._all[self._place], strict=True
        ):
            target.copy_(source)
        self._place += 1


def _doubled(value: Any) -> Any:
    return torch.float64 if value is torch.float32 else value

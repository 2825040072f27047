"""The ops of a step in order, with what they returned: where two sides part without a wrong op."""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch.utils._python_dispatch import TorchDispatchMode

from .attribution import Attribution, Place
from .compare import gap
from .draws import Draws
from .reference import undisturbed
from .schema import facts_of, results
from .step import Side

ROOM = 2**30
"""Bytes of results that are kept; later ones are not compared."""

APART = 1e-3
"""Share of the largest value by which results differ when an op, not rounding, made them."""


class Ran(NamedTuple):
    """One op."""

    op: str
    phase: str
    place: Place
    results: list[tuple[str, torch.Tensor]]


class Parting(NamedTuple):
    """The first op at which two sides part."""

    number: int
    ours: Ran | None
    """None when the device had run all of its ops."""
    theirs: Ran | None
    other_op: bool
    """Whether it is another op, and not the same with another result."""


class Trace(TorchDispatchMode):
    """Keeps the ops that run under it."""

    def __init__(self, side: Side, draws: Draws) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.phase = "forward"
        self.ran: list[Ran] = []
        self._draws = draws
        self._attribution = Attribution(side)
        self._room = ROOM

    def restart(self, step: int) -> None:
        """A pass over a step begins."""
        self.ran = []
        self._draws.restart(step)

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Any = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        """Run an op, and keep what it gave."""
        kwargs = kwargs or {}
        facts = facts_of(func)
        out = self._draws.run(func, facts, args, kwargs)
        with undisturbed():
            place = self._attribution.of(self.phase, facts, out, args, kwargs)
            named = results(facts, out, args, kwargs) if facts.checked else []
            size = sum(tensor.numel() * tensor.element_size() for _, tensor in named)
            self._room -= size
            kept = [(n, t.detach().cpu().clone()) for n, t in named] if self._room > 0 else []
            self.ran.append(Ran(facts.name, self.phase, place, kept))
        return out


def parting(ours: list[Ran], theirs: list[Ran]) -> Parting | None:
    """The first op at which they part; None when they do not."""
    for index in range(max(len(ours), len(theirs))):
        mine = ours[index] if index < len(ours) else None
        other = theirs[index] if index < len(theirs) else None
        if mine is None or other is None or mine.op != other.op:
            return Parting(index + 1, mine, other, True)
        if mine.results and other.results and gap(mine.results, other.results).error > APART:
            return Parting(index + 1, mine, other, False)
    return None

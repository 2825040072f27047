"""The ops of a step in order, with what they were given and what they returned.

Where every op is right and the step differs all the same, two such traces, the device's and the
CPU's, show where the sides part: at another op, at another argument, at an input that differs
although the op which made it gave the same, or at a result.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import torch
from torch.utils._pytree import tree_leaves
from typing_extensions import override

from mpstui.numerics import gap
from mpstui.ops.references.run import undisturbed
from mpstui.ops.schema import OpInfo, results, tensors

from .attribution import Attribution, OpOrigin
from .base import StepMode
from .shared_random import SharedRandom
from .step import Side

ROOM = 2**30
"""Bytes of inputs and results that are kept; later ones are not compared."""

DIFFERS = 1e-3
"""Share of the largest value by which tensors differ when more than rounding made them."""

WINDOW = 60
"""Ops that one side may run where the other runs others."""

ROW = 3
"""Ops in a row that have to agree for two sides to go on together."""

_IRRELEVANT = ("device", "generator", "pin_memory", "layout", "memory_format")
"""Arguments that may differ from device to device."""

_PLAIN = (bool, int, float, complex, str, torch.dtype, type(None))

Named = list[tuple[str, torch.Tensor]]


class TracedOp(NamedTuple):
    """One op."""

    op: str
    phase: str
    place: OpOrigin
    plain: dict[str, Any]
    """Its arguments that are no tensors, by name."""
    inputs: Named
    results: Named
    read: tuple[int, ...]
    """Addresses of the storages that it was given, in the order of its tensor arguments."""
    gave: tuple[int, ...]
    """Addresses of the storages that it returned or wrote to."""
    is_view: bool
    is_checked: bool


class FirstDivergence(NamedTuple):
    """The first op at which two sides part."""

    number: int
    """Among the device's ops, counted from 1."""
    ours: TracedOp | None
    """None when the device had run all of its ops."""
    theirs: TracedOp | None
    what: str
    """``op``, ``argument``, ``input`` or ``result``."""
    words: str
    made_by: tuple[int, ...] = ()
    """Of an input: the numbers of the device's ops that it comes from, views last to first."""


class Trace(StepMode):
    """Keeps the ops that run under it."""

    def __init__(self, side: Side, draws: SharedRandom) -> None:
        super().__init__(draws)
        self.ran: list[TracedOp] = []
        self._attribution = Attribution(side)
        self._room = ROOM

    @override
    def restart(self, step: int) -> None:
        super().restart(step)
        self.ran = []

    @override
    def run_op(self, func: Any, info: OpInfo, args: Any, kwargs: dict[str, Any]) -> Any:
        with undisturbed():
            given = tensors((args, kwargs))
            inputs = self._copies([(f"input {n}", t) for n, t in enumerate(given, 1)])
        out = super().run_op(func, info, args, kwargs)
        with undisturbed():
            named = results(info, out, args, kwargs) if info.checked or info.view else []
            self.ran.append(
                TracedOp(
                    info.name,
                    self.phase,
                    self._attribution.of(self.phase, info, out, args, kwargs),
                    _plain(info, args, kwargs),
                    inputs,
                    self._copies(named),
                    tuple(_address(tensor) for tensor in given),
                    tuple(_address(tensor) for tensor in (*tensors(out), *(t for _, t in named))),
                    info.view,
                    info.checked,
                )
            )
        return out

    def _copies(self, named: Named) -> Named:
        dense = [(name, t) for name, t in named if t.layout is torch.strided]
        self._room -= sum(tensor.numel() * tensor.element_size() for _, tensor in dense)
        return [(name, t.detach().cpu().clone()) for name, t in dense] if self._room > 0 else []


def first_divergence(
    ours: list[TracedOp], theirs: list[TracedOp], same_ops: bool = True
) -> FirstDivergence | None:
    """The first op at which two sides part; None when they do not.

    Args:
        ours: The device's ops.
        theirs: The CPU's.
        same_ops: Whether both have to run the same ops, as the CPU and a simulated device do.
            Another device may have other kernels by right, so ops that only one side runs are
            passed over there.
    """
    i = j = 0
    while i < len(ours) or j < len(theirs):
        mine = ours[i] if i < len(ours) else None
        other = theirs[j] if j < len(theirs) else None
        if mine is not None and other is not None and mine.op == other.op:
            what, words, place = _difference(mine, other)
            if what:
                made_by = tuple(_makers(ours, i, place)) if what == "input" else ()
                return FirstDivergence(i + 1, mine, other, what, words, made_by)
            i, j = i + 1, j + 1
            continue
        skip = _skip(ours[i : i + WINDOW], theirs[j : j + WINDOW])
        if same_ops:
            left, right = skip or (1, 1)
            return FirstDivergence(
                i + 1, mine if left else None, other if right else None, "op", ""
            )
        if skip is None:
            return None
        i, j = i + skip[0], j + skip[1]
    return None


def _skip(ours: list[TracedOp], theirs: list[TracedOp]) -> tuple[int, int] | None:
    """The fewest ops to pass over on both sides until :data:`ROW` of them agree again."""
    mine, others = [ran.op for ran in ours], [ran.op for ran in theirs]
    for total in range(1, len(mine) + len(others)):
        for left in range(min(total, len(mine)) + 1):
            row = mine[left : left + ROW]
            right = total - left
            if len(row) == ROW and row == others[right : right + ROW]:
                return left, right
    return None


def _difference(mine: TracedOp, other: TracedOp) -> tuple[str, str, int]:
    """What differs first between two runs of an op, in words, and of which input."""
    for name in mine.plain.keys() & other.plain.keys():
        if mine.plain[name] != other.plain[name]:
            return "argument", f"{name}={mine.plain[name]} where {other.plain[name]} is right", 0
    if len(mine.inputs) == len(other.inputs):
        for place, (one, two) in enumerate(zip(mine.inputs, other.inputs, strict=True)):
            if gap([one], [two]).error > DIFFERS:
                return "input", one[0], place
    if mine.results and other.results and gap(mine.results, other.results).error > DIFFERS:
        return "result", "another result", 0
    return "", "", 0


def _makers(ours: list[TracedOp], index: int, place: int) -> Iterator[int]:
    """The numbers of the ops that an input comes from: views, and what lies before them."""
    address = ours[index].read[place]
    for number in range(index, 0, -1):
        ran = ours[number - 1]
        if address in ran.gave:
            yield number
            if not ran.is_view:
                return
            address = ran.read[0] if ran.read else address


def _plain(info: OpInfo, args: Any, kwargs: Any) -> dict[str, Any]:
    """Numbers, names and lists of them, by argument; tensors and objects are left out."""
    named = {**info.named(args), **kwargs}
    return {
        name: value
        for name, value in named.items()
        if name not in _IRRELEVANT and all(isinstance(leaf, _PLAIN) for leaf in tree_leaves(value))
    }


def _address(tensor: torch.Tensor) -> int:
    return tensor.untyped_storage().data_ptr() if tensor.layout is torch.strided else id(tensor)

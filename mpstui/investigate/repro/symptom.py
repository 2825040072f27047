"""What a wrong result looks like: guesses that are each tried, and told only when they fit."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace

import torch

from mpstui.numerics import REFUSALS, tolerance
from mpstui.ops.call import Call, Slot, map_slots
from mpstui.ops.references import run
from mpstui.ops.schema import op_info, written

Named = list[tuple[str, torch.Tensor]]


def symptom(call: Call, ours: Named, where: str) -> str:
    """A few words on a wrong result; empty when it looks like nothing known.

    Args:
        call: The call, with the inputs from before it ran.
        ours: What the device gave, on the CPU.
        where: Which of the results is wrong.
    """
    try:
        expected = dict(run.of_call(call, torch.float64))
    except run.Unreferenced:
        return ""
    mine = dict(ours).get(where)
    right = expected.get(where)
    if mine is None or right is None or mine.shape != right.shape or not mine.numel():
        return ""
    for words, guess in _guesses(call, right, where):
        try:
            guessed = guess()
        except (*REFUSALS, run.Unreferenced):
            continue
        if guessed is not None and _same(mine, guessed):
            return words
    return _parts(mine.double(), right.double())


def _guesses(
    call: Call, right: torch.Tensor, where: str
) -> Iterator[tuple[str, Callable[[], torch.Tensor | None]]]:
    if where.startswith("argument"):
        yield "the result is never written", lambda: _before(call, where)
    for number, slot in enumerate(call.slots, 1):
        if slot.size == tuple(right.shape):
            name = "the input" if len(call.slots) == 1 else f"input {number}, unchanged"
            yield f"the result is {name}", lambda slot=slot: call.view(slot)  # type: ignore[misc]
    if any(not call.view(slot).is_contiguous() for slot in call.slots):
        words = "strides are ignored: elements are read in memory order"
        for changed in _one_by_one(call, _in_memory_order):
            yield words, lambda changed=changed: _result(changed, where)  # type: ignore[misc]
    if any(slot.offset for slot in call.slots):
        words = "a storage offset is ignored: reading begins at the storage's first element"
        for changed in _one_by_one(call, _without_offset):
            yield words, lambda changed=changed: _result(changed, where)  # type: ignore[misc]
    yield "the sign is wrong", lambda: -right
    yield "all zeros", lambda: torch.zeros_like(right)


def _result(call: Call, where: str) -> torch.Tensor | None:
    return dict(run.of_call(call, torch.float64)).get(where)


def _before(call: Call, where: str) -> torch.Tensor | None:
    facts = op_info(call.function)
    args, kwargs = call.on()
    return dict(written(facts, args, kwargs)).get(where)


def _one_by_one(call: Call, change: Callable[[Slot], Slot]) -> Iterator[Call]:
    """The call with one tensor read in another way, then with all of them."""
    slots = list(dict.fromkeys(call.slots))
    groups = [[slot] for slot in slots] + ([slots] if len(slots) > 1 else [])
    for group in groups:

        def swap(slot: Slot, group: list[Slot] = group) -> Slot:
            return change(slot) if slot in group else slot

        args, kwargs = map_slots((call.args, call.kwargs), swap)
        if (args, kwargs) != (call.args, call.kwargs):
            yield replace(call, args=args, kwargs=kwargs)


def _in_memory_order(slot: Slot) -> Slot:
    stride, running = [], 1
    for size in reversed(slot.size):
        stride.append(running)
        running *= size
    return Slot(slot.storage, slot.size, tuple(reversed(stride)), slot.offset)


def _without_offset(slot: Slot) -> Slot:
    return Slot(slot.storage, slot.size, slot.stride, 0)


def _same(ours: torch.Tensor, guess: torch.Tensor) -> bool:
    if ours.shape != guess.shape:
        return False
    a, b = ours.double(), guess.double()
    if not bool(torch.isfinite(a).all() and torch.isfinite(b).all()):
        return False
    return bool((a - b).abs().amax() <= tolerance(ours.dtype) * b.abs().amax().clamp_min(1e-30))


def _parts(ours: torch.Tensor, right: torch.Tensor) -> str:
    """How many values are wrong, and whether they have something in common."""
    scale = right.abs().amax().clamp_min(1e-30)
    wrong = ~((ours - right).abs() <= 1e-3 * scale)
    if bool(wrong.all()):
        ratio = ours / right
        finite = ratio[torch.isfinite(ratio)]
        if finite.numel() > 1 and float(finite.std()) <= 1e-3 * abs(float(finite.mean())):
            return f"every value is {float(finite.mean()):.4g} times the right one"
        return ""
    if bool((ours[wrong] == 0).all()):
        return "the wrong values are all zero"
    return ""

"""Describes a wrong result's pattern: tries guesses, and returns the one that fits."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace

import torch

from mpstui.numerics import REFUSALS, tolerance
from mpstui.ops.call import Call, Slot, map_slots
from mpstui.ops.references import run
from mpstui.ops.schema import op_info, written

NamedTensors = list[tuple[str, torch.Tensor]]


def symptom(call: Call, device_results: NamedTensors, where: str) -> str:
    """Describe the pattern of a wrong result; empty if it is not a known one.

    Args:
        call: The call, with its inputs before it ran.
        device_results: The device's results, on the CPU.
        where: The name of the wrong result.
    """
    try:
        expected = dict(run.of_call(call, torch.float64))
    except run.Unreferenced:
        return ""
    actual = dict(device_results).get(where)
    correct = expected.get(where)
    if actual is None or correct is None or actual.shape != correct.shape or not actual.numel():
        return ""
    for text, guess in _guesses(call, correct, where):
        try:
            guessed = guess()
        except (*REFUSALS, run.Unreferenced):
            continue
        if guessed is not None and _matches(actual, guessed):
            return text
    return _describe_pattern(actual.double(), correct.double())


def _guesses(
    call: Call, correct: torch.Tensor, where: str
) -> Iterator[tuple[str, Callable[[], torch.Tensor | None]]]:
    if where.startswith("argument"):
        yield "the result is never written", lambda: _before(call, where)
    for number, slot in enumerate(call.slots, 1):
        if slot.size == tuple(correct.shape):
            name = "the input" if len(call.slots) == 1 else f"input {number}, unchanged"
            yield f"the result is {name}", lambda slot=slot: call.view(slot)  # type: ignore[misc]
    if any(not call.view(slot).is_contiguous() for slot in call.slots):
        text = "strides are ignored: elements are read in memory order"
        for variant in _one_by_one(call, _in_memory_order):
            yield text, lambda variant=variant: _result(variant, where)  # type: ignore[misc]
    if any(slot.offset for slot in call.slots):
        text = "a storage offset is ignored: reading begins at the storage's first element"
        for variant in _one_by_one(call, _without_offset):
            yield text, lambda variant=variant: _result(variant, where)  # type: ignore[misc]
    yield "the sign is wrong", lambda: -correct
    yield "all zeros", lambda: torch.zeros_like(correct)


def _result(call: Call, where: str) -> torch.Tensor | None:
    return dict(run.of_call(call, torch.float64)).get(where)


def _before(call: Call, where: str) -> torch.Tensor | None:
    info = op_info(call.function)
    args, kwargs = call.on()
    return dict(written(info, args, kwargs)).get(where)


def _one_by_one(call: Call, change: Callable[[Slot], Slot]) -> Iterator[Call]:
    """Yield the call with one tensor read in another way, then with all of them."""
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


def _matches(actual: torch.Tensor, guess: torch.Tensor) -> bool:
    if actual.shape != guess.shape:
        return False
    a, b = actual.double(), guess.double()
    if not bool(torch.isfinite(a).all() and torch.isfinite(b).all()):
        return False
    return bool((a - b).abs().amax() <= tolerance(actual.dtype) * b.abs().amax().clamp_min(1e-30))


def _describe_pattern(actual: torch.Tensor, correct: torch.Tensor) -> str:
    """Describe what the wrong values have in common; empty if nothing."""
    scale = correct.abs().amax().clamp_min(1e-30)
    wrong = ~((actual - correct).abs() <= 1e-3 * scale)
    if bool(wrong.all()):
        ratio = actual / correct
        finite = ratio[torch.isfinite(ratio)]
        if finite.numel() > 1 and float(finite.std()) <= 1e-3 * abs(float(finite.mean())):
            return f"every value is {float(finite.mean()):.4g} times the right one"
        return ""
    if bool((actual[wrong] == 0).all()):
        return "the wrong values are all zero"
    return ""

"""A failing call made small: seeded values in place of the real ones, then ever smaller shapes.

The layout class stays: the order of the strides, strides of 0, gaps and offsets, for faults live
there. Sizes that are equal are one dimension and shrink together, as in a matrix product.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from math import prod
from typing import Any, NamedTuple

import torch

from mpstui.ops.call import Call, Slot, map_slots

SMALL = (1, 2, 3, 4, 6, 8)
"""Sizes that are tried first; above them the least failing size is bisected."""

GAP = 3
"""Elements that a gap between rows or an offset keeps at most."""

FEW = 4
"""Distinct values up to which a storage is drawn from them alone."""

LITERAL = 64
"""Elements of a storage that a script can spell out."""

GATES = 4
"""Times that a recurrent layer's weights and biases have its hidden size, at most."""

TRIALS = 160

_SHAPES = ("size", "sizes", "input_sizes", "normalized_shape", "output_size", "self_size")
"""Arguments that repeat a tensor's sizes."""


class ShrunkCall(NamedTuple):
    """What is left of a call."""

    call: Call
    recipes: tuple[str, ...]
    """Python for each storage, to be run in order after ``torch.manual_seed(0)``; empty where the
    real values are needed and are too many to be spelled out."""
    trials: int


def shrink(call: Call, fails: Callable[[Call], bool]) -> ShrunkCall:
    """Make a failing call as small as it goes.

    Args:
        call: It fails.
        fails: Whether a changed call still does; it must not raise.
    """
    shrinker = _Shrinker(call, fails)
    return shrinker.run()


class _Shrinker:
    def __init__(self, call: Call, fails: Callable[[Call], bool]) -> None:
        self._call = call
        self._fails = fails
        self._trials = 0
        self._kinds = [_Kind.of(storage) for storage in call.storages]
        self._seeded = False

    def run(self) -> ShrunkCall:
        apart = _apart(self._call)
        if apart is not None and self._try(apart):
            self._call = apart
            self._kinds = [_Kind.of(storage) for storage in apart.storages]
        self._fewer()
        seeded = self._with_seed(self._call)
        if self._try(seeded):
            self._seeded, self._call = True, seeded
        for _ in range(3):
            before = self._call
            for size in sorted({n for slot in self._call.slots for n in slot.size if n > 1})[::-1]:
                self._least(size)
            if self._call is before:
                break
        recipes = [
            kind.recipe(storage.numel()) if self._seeded else _literal(storage)
            for kind, storage in zip(self._kinds, self._call.storages, strict=True)
        ]
        return ShrunkCall(self._call, tuple(recipes), self._trials)

    def _fewer(self) -> None:
        """Of an optimizer's lists of tensors, the half that still fails, again and again."""
        while (count := format_list(self._call)) > 1 and self._trials < TRIALS:
            halves = (_cut(self._call, 0, count // 2), _cut(self._call, count // 2, count))
            failing = next((half for half in halves if self._try(half)), None)
            if failing is None:
                break
            self._call = failing
            self._kinds = [_Kind.of(storage) for storage in failing.storages]

    def _least(self, size: int) -> None:
        low, high = 0, size
        for small in (*SMALL, None):
            if small is None or small >= high:
                break
            if self._attempt(size, small):
                return
            low = small
        while high - low > 1 and self._trials < TRIALS:
            middle = (low + high) // 2
            if self._attempt(high, middle):
                high = middle
            else:
                low = middle

    def _attempt(self, size: int, smaller: int) -> bool:
        resized = _resized(self._call, size, smaller)
        if resized is None:
            return False
        if self._seeded:
            for kind in self._kinds:
                kind.bound(size, smaller)
            resized = self._with_seed(resized)
        if self._try(resized):
            self._call = resized
            for kind in self._kinds:
                kind.accept()
            return True
        for kind in self._kinds:
            kind.forget()
        return False

    def _with_seed(self, call: Call) -> Call:
        recipes = [
            kind.recipe(storage.numel())
            for kind, storage in zip(self._kinds, call.storages, strict=True)
        ]
        return call.with_storages(make_inputs(recipes))

    def _try(self, call: Call) -> bool:
        if self._trials >= TRIALS:
            return False
        self._trials += 1
        return self._fails(call)


def make_inputs(recipes: list[str] | tuple[str, ...]) -> tuple[torch.Tensor, ...]:
    """The storages that some recipes of ours stand for."""
    state = torch.default_generator.get_state()
    torch.default_generator.manual_seed(0)
    try:
        return tuple(eval(recipe, {"torch": torch}) for recipe in recipes)
    finally:
        torch.default_generator.set_state(state)


class _Kind:
    """How the values of a storage are drawn."""

    def __init__(self, template: str, dtype: torch.dtype, low: int = 0, high: int = 0) -> None:
        self._template = template
        self._cast = "" if dtype in (torch.float32, torch.int64, torch.bool) else f".to({dtype})"
        self._low = low
        self._high = self._tried = high

    @staticmethod
    def of(storage: torch.Tensor) -> _Kind:
        """The kind that looks most like some values."""
        dtype = storage.dtype
        if not storage.numel():
            return _Kind("torch.zeros({n})", dtype)
        if dtype == torch.bool:
            return _Kind(f"(torch.rand({{n}}) < {float(storage.float().mean()):.2g})", dtype)
        if dtype.is_complex:
            return _Kind("torch.randn({n}, dtype=torch.complex64)", dtype)
        distinct = torch.unique(storage[: 2**20])
        if distinct.numel() == 1 or bool(storage.isnan().all()):
            return _Kind(f"torch.full(({{n}},), {_number(storage[0].item())})", dtype)
        if not dtype.is_floating_point:
            low, high = int(storage.amin()), int(storage.amax())
            return _Kind("torch.randint({low}, {high}, ({n},))", dtype, low, high + 1)
        if distinct.numel() <= FEW < storage.numel():  # a mask, as a rule
            values = ", ".join(_number(value) for value in distinct.tolist())
            pick = f"torch.randint({distinct.numel()}, ({{n}},))"
            return _Kind(f"torch.tensor([{values}])[{pick}]", dtype)
        return _Kind(_spread(storage), dtype)

    def recipe(self, count: int) -> str:
        low = self._low if self._low < self._tried else 0
        return self._template.format(n=count, low=low, high=self._tried) + self._cast

    def bound(self, size: int, smaller: int) -> None:
        """Keep indices inside what they point into."""
        if size >= self._high:
            self._tried = max(min(self._high, smaller), 1)

    def accept(self) -> None:
        self._high = self._tried

    def forget(self) -> None:
        self._tried = self._high


def _spread(storage: torch.Tensor) -> str:
    """Draws that spread as some values do, those that are not finite among them."""
    odd = storage[~storage.isfinite()]
    finite = storage[storage.isfinite()].double()
    scale = float(finite.amax()) if bool((finite >= 0).all()) else float(finite.std())
    near = f"{scale:.3g}" if 0 < scale < float("inf") else "1"
    if bool((finite >= 0).all()):
        drawn = "torch.rand({n})" if 0 < scale <= 1 else f"(torch.rand({{n}}) * {near})"
    else:
        drawn = "torch.randn({n})" if 0.1 < scale < 10 else f"(torch.randn({{n}}) * {near})"
    if not odd.numel():
        return drawn
    share = odd.numel() / storage.numel()
    value = f"torch.tensor({_number(odd[0].item())})"
    return f"torch.where(torch.rand({{n}}) < {share:.2g}, {value}, {drawn})"


def _number(value: Any) -> str:
    if isinstance(value, float) and (value != value or abs(value) == float("inf")):
        return f'float("{value}")'
    return repr(value)


def _literal(storage: torch.Tensor) -> str:
    if storage.numel() > LITERAL:
        return ""
    values = ", ".join(_number(value) for value in storage.tolist())
    return f"torch.tensor([{values}], dtype={storage.dtype})"


def format_list(call: Call) -> int:
    """How long a call's lists of tensors are; 0 where it has none, or of several lengths."""
    lengths = {
        len(value)
        for value in (*call.args, *call.kwargs.values())
        if isinstance(value, (list, tuple)) and any(isinstance(each, Slot) for each in value)
    }
    return lengths.pop() if len(lengths) == 1 else 0


def _cut(call: Call, low: int, high: int) -> Call:
    """The call with a part of its lists of tensors, and of the lists of numbers beside them."""
    count = format_list(call)

    def part(value: Any) -> Any:
        if isinstance(value, (list, tuple)) and len(value) == count:
            return type(value)(value[low:high])
        return value

    args = type(call.args)(part(value) for value in call.args)
    kwargs = {name: part(value) for name, value in call.kwargs.items()}
    fewer = replace(call, args=args, kwargs=kwargs)
    used = sorted({slot.storage for slot in fewer.slots})
    places = {storage: place for place, storage in enumerate(used)}
    args, kwargs = map_slots(
        (args, kwargs), lambda slot: replace(slot, storage=places[slot.storage])
    )
    storages = tuple(call.storages[storage] for storage in used)
    return replace(call, args=args, kwargs=kwargs, storages=storages)


def _apart(call: Call) -> Call | None:
    """The call with a storage of its own for each tensor; None where that is so already."""
    slots = list(dict.fromkeys(call.slots))
    if len(slots) == len(call.storages):
        return None
    return _rebuilt(call, {slot: slot.size for slot in slots})


def _resized(call: Call, size: int, smaller: int) -> Call | None:
    """The call with every dimension of a size made smaller; None where tensors share storages."""
    slots = list(dict.fromkeys(call.slots))
    if len(slots) != len(call.storages) or _is_tied(call, size):
        return None
    sizes = {slot: tuple(smaller if n == size else n for n in slot.size) for slot in slots}
    rebuilt = _rebuilt(call, sizes)
    names = [argument.name for argument in call.function._schema.arguments]
    numbers = _numbers(rebuilt)
    args = type(rebuilt.args)(
        numbers.get(name, _sizes(value, size, smaller) if name in _SHAPES else value)
        for name, value in zip(names, rebuilt.args, strict=False)
    )
    return replace(rebuilt, args=args)


def _is_tied(call: Call, size: int) -> bool:
    """Whether a size is one of a recurrent layer's, whose weights have it several times over."""
    names = [argument.name for argument in call.function._schema.arguments]
    given = dict(zip(names, call.args, strict=False)) | dict(call.kwargs)
    hidden = given.get("hidden_size")
    return isinstance(hidden, int) and size % hidden == 0 and size // hidden <= GATES + 1


def _numbers(call: Call) -> dict[str, int]:
    """What a group norm is told of its first tensor's sizes beside the tensor."""
    first = call.slots[0].size
    return {"N": first[0], "C": first[1], "HxW": prod(first[2:])} if len(first) > 1 else {}


def _rebuilt(call: Call, sizes: dict[Slot, tuple[int, ...]]) -> Call:
    """The call with tensors of other sizes, each in a storage of its own, in its layout class."""
    storages: list[torch.Tensor] = []
    changed: dict[Slot, Slot] = {}
    for old, size in sizes.items():
        new = replace(_relaid(old, size), storage=len(storages))
        changed[old] = new
        extent = new.offset + sum(
            (n - 1) * s for n, s in zip(new.size, new.stride, strict=True) if n
        )
        fresh = torch.zeros(extent + 1, dtype=call.storages[old.storage].dtype)
        # A dimension of stride 0 has one element in memory.
        there = tuple(1 if not s else n for n, s in zip(new.size, new.stride, strict=True))
        cut = call.view(old)[tuple(slice(0, n) for n in there)]
        if cut.numel():
            fresh.as_strided(there, new.stride, new.offset).copy_(cut)
        storages.append(fresh)
    args, kwargs = map_slots((call.args, call.kwargs), lambda slot: changed[slot])
    return replace(call, storages=tuple(storages), args=args, kwargs=kwargs)


def _sizes(value: Any, size: int, smaller: int) -> Any:
    if isinstance(value, (list, tuple)):
        return type(value)(smaller if each == size else each for each in value)
    return value


def _relaid(slot: Slot, size: tuple[int, ...]) -> Slot:
    """A smaller tensor in the same layout class."""
    order = sorted(
        (dim for dim in range(len(size)) if slot.stride[dim]),
        key=lambda dim: (slot.stride[dim], slot.size[dim] > 1, -dim),
    )
    stride, old, new = [0] * len(size), 1, 1
    for dim in order:
        if slot.size[dim] == 1:
            stride[dim] = new
            continue
        gap = slot.stride[dim] - old
        stride[dim] = new + min(gap, GAP) if gap > 0 else new
        old, new = slot.stride[dim] * slot.size[dim], stride[dim] * size[dim]
    return Slot(slot.storage, size, tuple(stride), min(slot.offset, GAP))

"""Shrinks a failing call: seeded values replace the real ones, then shapes get smaller.

The memory layout keeps its properties, since faults depend on them: the order of the strides,
strides of 0, gaps and offsets. Equal sizes count as one dimension and shrink together, as in a
matrix product.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from math import prod
from typing import Any, NamedTuple

import torch

from mpstui.ops.call import Call, Slot, map_slots

SMALL = (1, 2, 3, 4, 6, 8)
"""Sizes to try first; above them, bisection finds the least failing size."""

GUARD_GAP = 3
"""Largest gap between rows, or offset, in elements."""

FEW = 4
"""Most distinct values of a storage that is filled with those values only."""

LITERAL = 64
"""Most elements of a storage that a script contains as literals."""

GATES = 4
"""Most multiples of the hidden size in a recurrent layer's weights and biases."""

TRIALS = 160

_SHAPES = ("size", "sizes", "input_sizes", "normalized_shape", "output_size", "self_size")
"""Arguments that repeat a tensor's sizes."""


class ShrunkCall(NamedTuple):
    """A shrunk call."""

    call: Call
    recipes: tuple[str, ...]
    """Python for each storage, to run in order after ``torch.manual_seed(0)``; empty if the real
    values are needed and are too many for a script."""
    trials: int


def shrink(call: Call, fails: Callable[[Call], bool]) -> ShrunkCall:
    """Make a failing call as small as possible.

    Args:
        call: The failing call.
        fails: Returns whether a changed call still fails; it must not raise.
    """
    shrinker = _Shrinker(call, fails)
    return shrinker.run()


class _Shrinker:
    def __init__(self, call: Call, fails: Callable[[Call], bool]) -> None:
        self._call = call
        self._fails = fails
        self._trials = 0
        self._recipes = [_ValueRecipe.of(storage) for storage in call.storages]
        self._seeded = False

    def run(self) -> ShrunkCall:
        separate = _separate_storages(self._call)
        if separate is not None and self._try(separate):
            self._call = separate
            self._recipes = [_ValueRecipe.of(storage) for storage in separate.storages]
        self._halve_lists()
        seeded = self._with_seed(self._call)
        if self._try(seeded):
            self._seeded, self._call = True, seeded
        for _ in range(3):
            before = self._call
            for size in sorted({n for slot in self._call.slots for n in slot.size if n > 1})[::-1]:
                self._shrink_size(size)
            if self._call is before:
                break
        recipes = [
            kind.recipe(storage.numel()) if self._seeded else _literal(storage)
            for kind, storage in zip(self._recipes, self._call.storages, strict=True)
        ]
        return ShrunkCall(self._call, tuple(recipes), self._trials)

    def _halve_lists(self) -> None:
        """Halve an optimizer's lists of tensors while a half still fails."""
        while (count := list_length(self._call)) > 1 and self._trials < TRIALS:
            halves = (
                _slice_lists(self._call, 0, count // 2),
                _slice_lists(self._call, count // 2, count),
            )
            failing = next((half for half in halves if self._try(half)), None)
            if failing is None:
                break
            self._call = failing
            self._recipes = [_ValueRecipe.of(storage) for storage in failing.storages]

    def _shrink_size(self, size: int) -> None:
        low, high = 0, size
        for smaller in (*SMALL, None):
            if smaller is None or smaller >= high:
                break
            if self._attempt(size, smaller):
                return
            low = smaller
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
            for kind in self._recipes:
                kind.bound(size, smaller)
            resized = self._with_seed(resized)
        if self._try(resized):
            self._call = resized
            for kind in self._recipes:
                kind.accept()
            return True
        for kind in self._recipes:
            kind.forget()
        return False

    def _with_seed(self, call: Call) -> Call:
        recipes = [
            kind.recipe(storage.numel())
            for kind, storage in zip(self._recipes, call.storages, strict=True)
        ]
        return call.with_storages(make_inputs(recipes))

    def _try(self, call: Call) -> bool:
        if self._trials >= TRIALS:
            return False
        self._trials += 1
        return self._fails(call)


def make_inputs(recipes: list[str] | tuple[str, ...]) -> tuple[torch.Tensor, ...]:
    """Create the storages from recipes that ``shrink`` made."""
    state = torch.default_generator.get_state()
    torch.default_generator.manual_seed(0)
    try:
        return tuple(eval(recipe, {"torch": torch}) for recipe in recipes)
    finally:
        torch.default_generator.set_state(state)


class _ValueRecipe:
    """A recipe for the values of a storage."""

    def __init__(self, template: str, dtype: torch.dtype, low: int = 0, high: int = 0) -> None:
        self._template = template
        self._cast = "" if dtype in (torch.float32, torch.int64, torch.bool) else f".to({dtype})"
        self._low = low
        self._high = self._tried = high

    @staticmethod
    def of(storage: torch.Tensor) -> _ValueRecipe:
        """Return the recipe that best resembles some values."""
        dtype = storage.dtype
        if not storage.numel():
            return _ValueRecipe("torch.zeros({n})", dtype)
        if dtype == torch.bool:
            return _ValueRecipe(f"(torch.rand({{n}}) < {float(storage.float().mean()):.2g})", dtype)
        if dtype.is_complex:
            return _ValueRecipe("torch.randn({n}, dtype=torch.complex64)", dtype)
        distinct = torch.unique(storage[: 2**20])
        if distinct.numel() == 1 or bool(storage.isnan().all()):
            return _ValueRecipe(f"torch.full(({{n}},), {_number(storage[0].item())})", dtype)
        if not dtype.is_floating_point:
            low, high = int(storage.amin()), int(storage.amax())
            return _ValueRecipe("torch.randint({low}, {high}, ({n},))", dtype, low, high + 1)
        if distinct.numel() <= FEW < storage.numel():  # usually a mask
            values = ", ".join(_number(value) for value in distinct.tolist())
            pick = f"torch.randint({distinct.numel()}, ({{n}},))"
            return _ValueRecipe(f"torch.tensor([{values}])[{pick}]", dtype)
        return _ValueRecipe(_spread(storage), dtype)

    def recipe(self, count: int) -> str:
        low = self._low if self._low < self._tried else 0
        return self._template.format(n=count, low=low, high=self._tried) + self._cast

    def bound(self, size: int, smaller: int) -> None:
        """Keep indices within a dimension that shrinks."""
        if size >= self._high:
            self._tried = max(min(self._high, smaller), 1)

    def accept(self) -> None:
        self._high = self._tried

    def forget(self) -> None:
        self._tried = self._high


def _spread(storage: torch.Tensor) -> str:
    """Return Python for random numbers with the values' spread, and share of non-finite values."""
    non_finite = storage[~storage.isfinite()]
    finite = storage[storage.isfinite()].double()
    scale = float(finite.amax()) if bool((finite >= 0).all()) else float(finite.std())
    scale_text = f"{scale:.3g}" if 0 < scale < float("inf") else "1"
    if bool((finite >= 0).all()):
        random_code = "torch.rand({n})" if 0 < scale <= 1 else f"(torch.rand({{n}}) * {scale_text})"
    else:
        random_code = (
            "torch.randn({n})" if 0.1 < scale < 10 else f"(torch.randn({{n}}) * {scale_text})"
        )
    if not non_finite.numel():
        return random_code
    share = non_finite.numel() / storage.numel()
    value = f"torch.tensor({_number(non_finite[0].item())})"
    return f"torch.where(torch.rand({{n}}) < {share:.2g}, {value}, {random_code})"


def _number(value: Any) -> str:
    if isinstance(value, float) and (value != value or abs(value) == float("inf")):
        return f'float("{value}")'
    return repr(value)


def _literal(storage: torch.Tensor) -> str:
    if storage.numel() > LITERAL:
        return ""
    values = ", ".join(_number(value) for value in storage.tolist())
    return f"torch.tensor([{values}], dtype={storage.dtype})"


def list_length(call: Call) -> int:
    """Return the common length of a call's tensor lists; 0 if it has none, or if they differ."""
    lengths = {
        len(value)
        for value in (*call.args, *call.kwargs.values())
        if isinstance(value, (list, tuple)) and any(isinstance(item, Slot) for item in value)
    }
    return lengths.pop() if len(lengths) == 1 else 0


def _slice_lists(call: Call, low: int, high: int) -> Call:
    """Return the call with a part of its lists of tensors, and of the matching lists of numbers."""
    count = list_length(call)

    def part(value: Any) -> Any:
        if isinstance(value, (list, tuple)) and len(value) == count:
            return type(value)(value[low:high])
        return value

    args = type(call.args)(part(value) for value in call.args)
    kwargs = {name: part(value) for name, value in call.kwargs.items()}
    fewer = replace(call, args=args, kwargs=kwargs)
    used = sorted({slot.storage for slot in fewer.slots})
    indices = {storage: index for index, storage in enumerate(used)}
    args, kwargs = map_slots(
        (args, kwargs), lambda slot: replace(slot, storage=indices[slot.storage])
    )
    storages = tuple(call.storages[storage] for storage in used)
    return replace(call, args=args, kwargs=kwargs, storages=storages)


def _separate_storages(call: Call) -> Call | None:
    """Return the call with a separate storage per tensor; None if that is already the case."""
    slots = list(dict.fromkeys(call.slots))
    if len(slots) == len(call.storages):
        return None
    return _rebuilt(call, {slot: slot.size for slot in slots})


def _resized(call: Call, size: int, smaller: int) -> Call | None:
    """Return the call with a smaller size in all dimensions; None if tensors share storages."""
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
    """Return whether a size is tied to a recurrent layer's hidden size."""
    names = [argument.name for argument in call.function._schema.arguments]
    arguments = dict(zip(names, call.args, strict=False)) | dict(call.kwargs)
    hidden = arguments.get("hidden_size")
    return isinstance(hidden, int) and size % hidden == 0 and size // hidden <= GATES + 1


def _numbers(call: Call) -> dict[str, int]:
    """Return the arguments in which a group norm repeats its first tensor's sizes."""
    first = call.slots[0].size
    return {"N": first[0], "C": first[1], "HxW": prod(first[2:])} if len(first) > 1 else {}


def _rebuilt(call: Call, sizes: dict[Slot, tuple[int, ...]]) -> Call:
    """Return the call with other tensor sizes, each in a separate storage with a similar layout."""
    storages: list[torch.Tensor] = []
    new_slots: dict[Slot, Slot] = {}
    for slot, size in sizes.items():
        new_slot = replace(_relaid(slot, size), storage=len(storages))
        new_slots[slot] = new_slot
        extent = new_slot.offset + sum(
            (n - 1) * s for n, s in zip(new_slot.size, new_slot.stride, strict=True) if n
        )
        fresh = torch.zeros(extent + 1, dtype=call.storages[slot.storage].dtype)
        # A dimension of stride 0 has one element in memory.
        stored_size = tuple(
            1 if not s else n for n, s in zip(new_slot.size, new_slot.stride, strict=True)
        )
        values = call.view(slot)[tuple(slice(0, n) for n in stored_size)]
        if values.numel():
            fresh.as_strided(stored_size, new_slot.stride, new_slot.offset).copy_(values)
        storages.append(fresh)
    args, kwargs = map_slots((call.args, call.kwargs), lambda slot: new_slots[slot])
    return replace(call, storages=tuple(storages), args=args, kwargs=kwargs)


def _sizes(value: Any, size: int, smaller: int) -> Any:
    if isinstance(value, (list, tuple)):
        return type(value)(smaller if item == size else item for item in value)
    return value


def _relaid(slot: Slot, size: tuple[int, ...]) -> Slot:
    """Return the slot of a smaller tensor with a similar layout."""
    order = sorted(
        (dim for dim in range(len(size)) if slot.stride[dim]),
        key=lambda dim: (slot.stride[dim], slot.size[dim] > 1, -dim),
    )
    stride, old_extent, new_extent = [0] * len(size), 1, 1
    for dim in order:
        if slot.size[dim] == 1:
            stride[dim] = new_extent
            continue
        gap = slot.stride[dim] - old_extent
        stride[dim] = new_extent + min(gap, GUARD_GAP) if gap > 0 else new_extent
        old_extent, new_extent = slot.stride[dim] * slot.size[dim], stride[dim] * size[dim]
    return Slot(slot.storage, size, tuple(stride), min(slot.offset, GUARD_GAP))

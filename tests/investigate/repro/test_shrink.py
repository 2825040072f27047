"""Failing calls made small, and the layout class that has to stay."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from mpstui.investigate.repro.shrink import (
    GUARD_GAP,
    TRIALS,
    ShrunkCall,
    _rebuilt,
    _relaid,
    list_length,
    make_inputs,
    shrink,
)
from mpstui.ops.call import Call, Slot, capture
from mpstui.ops.references.run import of_call

ATEN: Any = torch.ops.aten
X = torch.randn(4000, generator=torch.Generator().manual_seed(0))
LAYOUTS = {
    "contiguous": X[:240].view(12, 20),
    "transposed": X[:240].view(20, 12).t(),
    "expanded row": X[:20].expand(12, 20),
    "expanded column": X[:12].unsqueeze(1).expand(12, 20),
    "expanded": X[0].expand(12, 20),
    "sliced": X.view(100, 40)[30:42, 7:27],
    "column step": X.view(20, 200)[:12, ::10],
    "channels_last": X[:1920].view(4, 8, 12, 5).permute(0, 3, 1, 2),
    "offset": X[100:340].view(12, 20),
}


def _sizes_of(least: int) -> Callable[[Call], bool]:
    return lambda call: all(n >= least for slot in call.slots for n in slot.size)


def _gaps(slot: Slot) -> list[tuple[int, bool]]:
    """The order of the dimensions in memory, and behind which there is a gap."""
    dims = sorted((d for d, s in enumerate(slot.stride) if s), key=lambda d: slot.stride[d])
    ends = [1, *(slot.stride[d] * slot.size[d] for d in dims)]
    return [(d, slot.stride[d] > end) for d, end in zip(dims, ends, strict=False)]


def _sound(shrunk: ShrunkCall) -> bool:
    """Whether the recipes are what the call's storages came from."""
    remade = make_inputs(shrunk.recipes)
    return all(map(torch.equal, remade, shrunk.call.storages)) and len(remade) > 0


@pytest.mark.parametrize("name", LAYOUTS)
def test_the_layout_class_stays(name: str) -> None:
    call = capture(ATEN.exp.default, (LAYOUTS[name],), {})
    shrunk = shrink(call, _sizes_of(2))
    (before,), (after,) = call.slots, shrunk.call.slots
    assert after.size == tuple(2 for _ in before.size)
    assert [s == 0 for s in after.stride] == [s == 0 for s in before.stride]
    assert _gaps(after) == _gaps(before)
    assert bool(after.offset) == bool(before.offset)
    assert max(after.offset, *after.stride) < 40
    assert _sound(shrunk)


@pytest.mark.parametrize("least", [1, 2, 5, 7, 8, 9, 57, 400])
def test_the_least_failing_size_is_found(least: int) -> None:
    call = capture(ATEN.exp.default, (X[:400],), {})
    shrunk = shrink(call, lambda call: call.slots[0].size[0] >= least)
    assert shrunk.call.slots[0].size == (least,)
    assert shrunk.trials <= 40


def test_sizes_that_are_equal_shrink_together_so_that_every_call_can_be_run() -> None:
    x, weight = X[:600].view(2, 10, 30), X[:30].clone()
    for op, args in (
        (ATEN.bmm.default, (x, X[900:1500].view(2, 30, 10))),
        (ATEN.native_layer_norm.default, (x, [30], weight, weight + 1, 1e-5)),
        (ATEN.embedding.default, (X[:600].view(20, 30), torch.arange(20)[::2].clone())),
    ):
        seen: list[Call] = []

        def fails(call: Call, seen: list[Call] = seen) -> bool:
            of_call(call)  # raises where sizes or indices do not fit
            seen.append(call)
            return max(call.slots[0].size) >= 3

        shrunk = shrink(capture(op, args, {}), fails)
        assert max(shrunk.call.slots[0].size) == 3
        assert len(seen) == shrunk.trials > 5
        assert _sound(shrunk)


def test_real_values_are_kept_where_seeded_ones_do_not_fail() -> None:
    values = X[:40].clone()
    values[1] = 77.125
    call = capture(ATEN.exp.default, (values,), {})
    shrunk = shrink(call, lambda call: bool((call.view(call.slots[0]) == 77.125).any()))
    assert shrunk.call.slots[0].size == (2,)
    assert shrunk.call.view(shrunk.call.slots[0]).tolist() == values[:2].tolist()
    assert _sound(shrunk)
    never = shrink(capture(ATEN.exp.default, (X,), {}), lambda call: False)
    assert never.recipes == ("",)  # too many to be spelled out
    assert torch.equal(never.call.storages[0], X)


def test_tensors_that_alias_are_taken_apart_unless_that_is_the_fault() -> None:
    base = X[:200].clone()
    call = capture(ATEN.add.Tensor, (base[:100], base[50:150]), {})
    apart = shrink(call, lambda call: True)
    assert len(apart.call.storages) == 2
    assert {slot.size for slot in apart.call.slots} == {(1,)}
    together = shrink(call, lambda call: len(call.storages) == 1)
    assert together.call.slots == call.slots


@pytest.mark.parametrize(
    "values",
    [
        *(torch.rand(90) < 0.5, torch.zeros(90), torch.full((90,), float("nan"))),
        *(torch.randint(-9, 99, (90,)), torch.rand(90) * 40, torch.randn(90).bfloat16()),
        *(torch.tensor([0.0, -float("inf")]).repeat(45), torch.ones(90, dtype=torch.uint8)),
    ],
)
def test_seeded_values_are_of_the_kind_of_the_real_ones(values: torch.Tensor) -> None:
    (seeded,) = shrink(capture(ATEN.clone.default, (values,), {}), _sizes_of(60)).call.storages
    assert (seeded.numel(), seeded.dtype) == (60, values.dtype)
    real, drawn = values.double(), seeded.double()
    assert bool(drawn.isnan().all()) == bool(real.isnan().all())
    assert bool((drawn >= real.amin() - 1.5).all()) or bool(real.isnan().all())
    assert bool(drawn.isinf().any()) == bool(real.isinf().any())


def test_it_gives_up_in_the_end() -> None:
    sizes = [307, 401, 503, 601, 701, 809]
    call = capture(ATEN.exp.default, (torch.zeros(1).expand(sizes),), {})
    never_smaller = tuple(n - 1 for n in sizes)
    shrunk = shrink(call, lambda call: all(map(int.__ge__, call.slots[0].size, never_smaller)))
    assert shrunk.trials == TRIALS


@pytest.mark.parametrize("values", [X[:90], X[:90].abs()], ids=["scores", "positive"])
def test_infinite_values_among_others_can_be_drawn(values: torch.Tensor) -> None:
    """Masked attention scores."""
    masked = values.clone()
    masked[::7] = float("inf") if values.amin() >= 0 else -float("inf")
    assert shrink(capture(ATEN.exp.default, (masked,), {}), lambda call: True).recipes


def test_indices_that_do_not_begin_at_0_shrink_with_what_they_point_into() -> None:
    index = torch.randint(3, 10, (40,), generator=torch.Generator().manual_seed(0))
    call = capture(ATEN.embedding.default, (X[:40].view(10, 4), index), {})
    assert shrink(call, lambda call: True).call.slots[0].size == (1, 1)


@st.composite
def _slots(draw: st.DrawFn) -> tuple[Slot, tuple[int, ...]]:
    size = tuple(draw(st.lists(st.integers(1, 6), min_size=1, max_size=4)))
    stride, end = [0] * len(size), 1
    for dim in draw(st.permutations(range(len(size)))):
        if draw(st.integers(0, 4)):  # else of stride 0
            stride[dim] = end + draw(st.sampled_from((0, 0, 1, 9)))
            end = stride[dim] * size[dim]
    smaller = tuple(draw(st.integers(1, n)) for n in size)
    return Slot(0, size, tuple(stride), draw(st.sampled_from((0, 2, 50)))), smaller


@settings(max_examples=150, deadline=None)
@given(_slots())
def test_a_smaller_tensor_stays_inside_its_storage_and_in_order(
    given: tuple[Slot, tuple[int, ...]],
) -> None:
    slot, size = given
    extent = slot.offset + sum((n - 1) * s for n, s in zip(slot.size, slot.stride, strict=True))
    call = Call("aten.exp.default", (torch.arange(extent + 1.0),), (slot,), {})
    smaller = _rebuilt(call, {slot: size})
    (new,) = smaller.slots
    assert new == _relaid(slot, size)
    assert new.offset == min(slot.offset, GUARD_GAP)
    assert [s == 0 for s in new.stride] == [s == 0 for s in slot.stride]
    order = sorted((d for d in range(len(size)) if slot.stride[d]), key=lambda d: slot.stride[d])
    strides = [new.stride[d] for d in order if slot.size[d] > 1]
    assert strides == sorted(strides)
    # as_strided raises where it leaves the storage; the values are the corner of the old ones.
    corner = call.view(slot)[tuple(slice(0, n) for n in size)]
    assert torch.equal(smaller.view(new), corner)


def test_of_lists_of_tensors_the_one_that_fails_is_left() -> None:
    parameters = [torch.full((3, n), float(n)) for n in range(1, 12)]
    steps = [torch.ones(()) for _ in parameters]
    op: Any = torch.ops.aten._foreach_addcmul_.ScalarList
    numbers = [float(n) for n in range(1, 12)]
    call = capture(op, (parameters, parameters, parameters, numbers), {})
    shrunk = shrink(call, lambda c: any(number == 9.0 for number in c.args[3]))
    assert [len(value) for value in shrunk.call.args] == [1, 1, 1, 1]
    assert shrunk.call.args[3] == [9.0]
    assert len(shrunk.call.storages) == 1
    uneven = capture(torch.ops.aten._foreach_add_.List, (parameters, steps[:3]), {})
    assert list_length(uneven) == 0

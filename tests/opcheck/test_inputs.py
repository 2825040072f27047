"""The same values in every layout and dtype, and layouts that are what they are called."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from mpstui.opcheck.inputs import LAYOUTS, Inputs

CPU = torch.device("cpu")
DTYPES = (torch.float32, torch.float16, torch.bfloat16, torch.float64)

Shape = tuple[int, ...]
Draw = Callable[[Inputs, Shape], torch.Tensor]

FLOATS: dict[str, Draw] = {
    "x": lambda i, shape: i.x(*shape),
    "positive": lambda i, shape: i.positive(*shape),
    "unit": lambda i, shape: i.unit(*shape),
    "distinct": lambda i, shape: i.distinct(*shape),
    "own": lambda i, shape: i.writable(*shape),
    "dense": lambda i, shape: i.dense(*shape),
    "like": lambda i, shape: i.like(torch.empty(shape)),
}
WHOLE: dict[str, Draw] = {
    "integers": lambda i, shape: i.integers(-9, 9, *shape),
    "index": lambda i, shape: i.index(7, *shape),
    "mask": lambda i, shape: i.mask(*shape),
}
# What follows the layout; own does too, except that it is never expanded.
LAID_OUT: dict[str, Draw] = {
    "x": FLOATS["x"],
    "positive": FLOATS["positive"],
    "unit": FLOATS["unit"],
    "distinct": FLOATS["distinct"],
    "own": FLOATS["own"],
    "integers": WHOLE["integers"],
    "mask": WHOLE["mask"],
}

any_shape = st.lists(st.integers(0, 4), max_size=4).map(tuple)
# Axes of one element have no stride to speak of, so the layouts are told apart on longer ones.
real_shape = st.lists(st.integers(2, 4), min_size=2, max_size=4).map(tuple)
images = st.tuples(*[st.integers(2, 4)] * 4)
layouts = st.sampled_from(LAYOUTS)
dtypes = st.sampled_from(DTYPES)
drawn = st.sampled_from(sorted(LAID_OUT))

examples = settings(max_examples=50, deadline=None)


def different(tensor: torch.Tensor) -> list[float]:
    """A tensor's values, each once, in order."""
    return sorted(set(tensor.flatten().tolist()))


def inputs(
    layout: str = "contiguous", dtype: torch.dtype = torch.float32, case: str = "case"
) -> Inputs:
    return Inputs(case, CPU, dtype, layout)


def reference(
    layout: str = "contiguous", dtype: torch.dtype = torch.float32, case: str = "case"
) -> Inputs:
    return Inputs(case, CPU, dtype, layout, reference=True)


@examples
@given(st.sampled_from(sorted(FLOATS)), any_shape, layouts, dtypes)
def test_the_device_gets_the_references_values_rounded_to_its_dtype(
    draw: str, shape: Shape, layout: str, dtype: torch.dtype
) -> None:
    ours = FLOATS[draw](inputs(layout, dtype), shape)
    expected = FLOATS[draw](reference(layout, dtype), shape)
    assert (ours.shape, ours.dtype) == (shape, dtype)
    assert (expected.shape, expected.dtype) == (shape, torch.float64)
    assert expected.is_contiguous()
    assert 0 not in expected.stride() or 0 in shape
    assert torch.equal(ours.double(), expected)


@examples
@given(st.sampled_from(sorted(WHOLE)), any_shape, layouts, dtypes)
def test_whole_numbers_and_truth_values_are_the_references(
    draw: str, shape: Shape, layout: str, dtype: torch.dtype
) -> None:
    ours = WHOLE[draw](inputs(layout, dtype), shape)
    expected = WHOLE[draw](reference(layout, dtype), shape)
    assert ours.shape == expected.shape == shape
    assert ours.dtype == expected.dtype == (torch.bool if draw == "mask" else torch.int64)
    assert expected.is_contiguous()
    assert torch.equal(ours, expected)


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_a_sequence_of_draws_stays_in_step_with_the_reference(
    layout: str, dtype: torch.dtype
) -> None:
    every = {**FLOATS, **WHOLE}
    ours, expected = inputs(layout, dtype), reference(layout, dtype)
    for draw in [*every, *reversed(every)]:
        left, right = every[draw](ours, (2, 3, 4, 5)), every[draw](expected, (2, 3, 4, 5))
        assert torch.equal(left.double(), right.double()), draw
    assert len(ours.leaves) == len(expected.leaves)


@examples
@given(any_shape, layouts, dtypes)
def test_the_reference_has_rounded_values_not_those_before_rounding(
    shape: Shape, layout: str, dtype: torch.dtype
) -> None:
    exact = reference(layout, torch.float64).x(*shape)
    assert torch.equal(reference(layout, dtype).x(*shape), exact.to(dtype).double())


def test_float16_values_are_not_the_float64_ones() -> None:
    # Or the test above would hold of inputs that nobody rounds.
    exact, rounded = reference(dtype=torch.float64).x(50), reference(dtype=torch.float16).x(50)
    assert not torch.equal(exact, rounded)


@examples
@given(drawn, real_shape, st.sampled_from(["contiguous", "transposed", "sliced"]))
def test_layouts_that_move_no_values_give_those_of_the_contiguous_one(
    draw: str, shape: Shape, layout: str
) -> None:
    assert torch.equal(
        LAID_OUT[draw](inputs(layout), shape), LAID_OUT[draw](inputs("contiguous"), shape)
    )


@examples
@given(drawn, real_shape)
def test_contiguous_is_contiguous(draw: str, shape: Shape) -> None:
    drawing = inputs("contiguous")
    tensor = LAID_OUT[draw](drawing, shape)
    assert tensor.is_contiguous()
    assert tensor.storage_offset() == 0
    assert drawing.laid_out == 0


@examples
@given(drawn, real_shape)
def test_transposed_is_contiguous_only_when_turned_back(draw: str, shape: Shape) -> None:
    drawing = inputs("transposed")
    tensor = LAID_OUT[draw](drawing, shape)
    assert not tensor.is_contiguous()
    assert tensor.transpose(-1, -2).is_contiguous()
    assert drawing.laid_out == 1


@examples
@given(drawn, real_shape)
def test_sliced_begins_behind_its_storages_beginning_and_has_gaps(draw: str, shape: Shape) -> None:
    drawing = inputs("sliced")
    tensor = LAID_OUT[draw](drawing, shape)
    assert tensor.storage_offset() > 0
    assert tensor.stride(-1) == 1
    assert tensor.stride(-2) > shape[-1]
    assert not tensor.is_contiguous()
    assert drawing.laid_out == 1


def test_sliced_vectors_have_an_offset_too() -> None:
    drawing = inputs("sliced")
    vector = drawing.x(5)
    assert vector.storage_offset() > 0
    assert vector.untyped_storage().nbytes() > 5 * vector.element_size()
    assert drawing.laid_out == 1


@examples
@given(st.sampled_from(sorted({*LAID_OUT} - {"own"})), real_shape)
def test_expanded_repeats_one_slice_with_stride_0(draw: str, shape: Shape) -> None:
    drawing = inputs("expanded")
    tensor = LAID_OUT[draw](drawing, shape)
    assert tensor.stride(0) == 0
    assert tensor[0].is_contiguous()
    assert tensor.untyped_storage().nbytes() == math.prod(shape[1:]) * tensor.element_size()
    assert drawing.laid_out == 1


@examples
@given(drawn, images)
def test_channels_last_is_torchs_memory_format(draw: str, shape: Shape) -> None:
    drawing = inputs("channels_last")
    tensor = LAID_OUT[draw](drawing, shape)
    assert tensor.is_contiguous(memory_format=torch.channels_last)
    assert not tensor.is_contiguous()
    assert drawing.laid_out == 1


@pytest.mark.parametrize(
    ("layout", "shape"),
    [
        ("transposed", ()),
        ("transposed", (6,)),
        ("sliced", ()),
        ("expanded", ()),
        ("expanded", (6,)),
        ("channels_last", (6,)),
        ("channels_last", (3, 4)),
        ("channels_last", (3, 4, 5)),
        ("channels_last", (2, 3, 4, 5, 6)),
    ],
)
@pytest.mark.parametrize("draw", sorted(LAID_OUT))
def test_too_few_dimensions_for_a_layout_stay_contiguous_and_are_not_counted(
    draw: str, layout: str, shape: Shape
) -> None:
    drawing = inputs(layout)
    tensor = LAID_OUT[draw](drawing, shape)
    assert tensor.is_contiguous()
    assert tensor.storage_offset() == 0
    assert drawing.laid_out == 0


@pytest.mark.parametrize("layout", LAYOUTS)
def test_what_is_dense_whatever_the_layout_is_not_counted(layout: str) -> None:
    drawing = inputs(layout)
    for draw in (FLOATS["dense"], FLOATS["like"], WHOLE["index"]):
        tensor = draw(drawing, (2, 3, 4, 5))
        assert tensor.is_contiguous()
        assert tensor.storage_offset() == 0
    assert drawing.laid_out == 0


@pytest.mark.parametrize("layout", LAYOUTS)
def test_the_references_inputs_are_dense_and_on_the_cpu_whatever_the_device(layout: str) -> None:
    elsewhere = Inputs("case", torch.device("meta"), torch.float32, layout, reference=True)
    assert elsewhere.device == CPU
    assert elsewhere.working is torch.float64
    for draw in (*FLOATS.values(), *WHOLE.values()):
        tensor = draw(elsewhere, (2, 3, 4, 5))
        assert tensor.device == CPU
        assert tensor.is_contiguous()
    assert elsewhere.laid_out == 0


@pytest.mark.parametrize("layout", LAYOUTS)
def test_tensors_are_made_on_the_device_in_their_layout(layout: str) -> None:
    # meta holds no values, but it has strides, and a move there keeps none that is forgotten.
    there = Inputs("case", torch.device("meta"), torch.float32, layout)
    here = inputs(layout)
    for draw in (*FLOATS.values(), *WHOLE.values()):
        far, near = draw(there, (2, 3, 4, 5)), draw(here, (2, 3, 4, 5))
        assert far.device.type == "meta"
        assert far.stride() == near.stride()
        assert far.storage_offset() == near.storage_offset()


@examples
@given(any_shape, layouts, dtypes)
def test_own_is_never_expanded_and_can_be_written_to(
    shape: Shape, layout: str, dtype: torch.dtype
) -> None:
    drawing = inputs(layout, dtype)
    owned = drawing.writable(*shape)
    before = owned.clone()
    assert not owned.requires_grad
    assert drawing.leaves == []
    if all(size > 1 for size in shape):
        assert 0 not in owned.stride()
    owned.mul_(0).add_(3)  # an expanded tensor would refuse
    assert before.shape == owned.shape
    assert torch.equal(owned, torch.full_like(owned, 3))


@pytest.mark.parametrize("layout", LAYOUTS)
def test_writing_gradients_into_own_reaches_autograd(layout: str) -> None:
    drawing = inputs(layout)
    source, owned = drawing.x(4, 5), drawing.writable(4, 5)
    owned[:, 1] += source[:, 1]
    (gradient,) = torch.autograd.grad(owned.sum(), source)
    assert gradient[:, 1].tolist() == [1.0] * 4
    assert gradient.sum() == 4


@examples
@given(st.lists(st.integers(1, 4), max_size=4).map(tuple), layouts, dtypes)
def test_distinct_values_are_distinct_and_exact_in_every_dtype(
    shape: Shape, layout: str, dtype: torch.dtype
) -> None:
    assert math.prod(shape) <= 256
    tensor = inputs(layout, dtype).distinct(*shape)
    once = tensor[:1] if layout == "expanded" and len(shape) > 1 else tensor
    assert len(different(once)) == once.numel()
    assert torch.equal(tensor.double(), reference(layout, torch.float64).distinct(*shape))
    assert torch.equal(tensor.bfloat16().double(), tensor.double())


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_256_distinct_values_are_still_exact(dtype: torch.dtype) -> None:
    tensor = inputs(dtype=dtype).distinct(16, 16)
    assert len(different(tensor)) == 256
    assert torch.equal(tensor.double(), reference(dtype=torch.float64).distinct(16, 16))
    assert not torch.equal(tensor.flatten().sort().values, tensor.flatten())


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_draws_keep_to_their_ranges(dtype: torch.dtype) -> None:
    drawing = inputs(dtype=dtype)
    positive, unit = drawing.positive(2000), drawing.unit(2000)
    whole, index = drawing.integers(-4, 3, 2000), drawing.index(5, 2000)
    assert 0.5 <= positive.min() < 0.6 < 1.9 < positive.max() <= 2
    assert 0 < unit.min() < 0.1 < 0.9 < unit.max() < 1
    assert different(whole) == [-4, -3, -2, -1, 0, 1, 2]
    assert different(index) == [0, 1, 2, 3, 4]
    assert 0.4 < drawing.mask(2000).double().mean() < 0.6
    normal = drawing.x(2000, grad=False).double()
    assert abs(float(normal.mean())) < 0.1
    assert abs(float(normal.std()) - 1) < 0.1


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("made", [inputs, reference])
def test_leaves_are_those_that_take_gradients_in_the_order_drawn(
    made: Callable[[str], Inputs], layout: str
) -> None:
    drawing = made(layout)
    first = drawing.x(3, 4)
    constants = [
        drawing.x(3, 4, grad=False),
        drawing.positive(3, 4, grad=False),
        drawing.unit(3, 4, grad=False),
        drawing.distinct(3, 4, grad=False),
        drawing.dense(3, 4, grad=False),
        drawing.writable(3, 4),
        drawing.like(first),
        drawing.integers(0, 9, 3, 4),
        drawing.index(9, 3, 4),
        drawing.mask(3, 4),
    ]
    rest = [drawing.positive(3), drawing.dense(2, 2), drawing.unit(3, 4), drawing.distinct(4)]
    assert [id(leaf) for leaf in drawing.leaves] == [id(leaf) for leaf in (first, *rest)]
    assert all(leaf.requires_grad and leaf.is_leaf for leaf in drawing.leaves)
    assert not any(constant.requires_grad for constant in constants)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_name_always_gives_the_same_values_and_another_name_others(layout: str) -> None:
    every = {**FLOATS, **WHOLE}
    first, again, other = inputs(layout), inputs(layout), inputs(layout, case="another")
    for name, draw in every.items():
        shape = (2, 5, 6, 7)
        one, same, different = draw(first, shape), draw(again, shape), draw(other, shape)
        assert torch.equal(one, same), name
        assert not torch.equal(one, different), name


def test_one_draw_after_the_other_differs() -> None:
    drawing = inputs()
    assert not torch.equal(drawing.x(8), drawing.x(8))


def test_drawing_leaves_torchs_own_generator_alone() -> None:
    before = torch.get_rng_state()
    drawing = inputs("sliced")
    for draw in (*FLOATS.values(), *WHOLE.values()):
        draw(drawing, (3, 4))
    assert torch.equal(torch.get_rng_state(), before)

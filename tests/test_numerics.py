"""How far results are apart: in size, and in what has no size."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from mpstui.numerics import Gap, gap, magnitudes, tolerance
from mpstui.ops.judge import is_close

INF, NAN = math.inf, math.nan
values = st.lists(st.floats(-100, 100, width=32), min_size=1, max_size=8)
examples = settings(max_examples=100, deadline=None)


def tensor(*numbers: float, dtype: torch.dtype = torch.float32) -> torch.Tensor:
    return torch.tensor(numbers, dtype=dtype)


def single(ours: torch.Tensor | None, reference: torch.Tensor | None) -> Gap:
    return gap([("output", ours)], [("output", reference)])


def exact(*numbers: float) -> torch.Tensor:
    return tensor(*numbers, dtype=torch.float64)


@pytest.mark.parametrize(
    ("dtype", "allowed"),
    [
        (torch.float64, 1e-3),
        (torch.float32, 1e-3),
        (torch.float16, 16 * 2**-10),
        (torch.bfloat16, 16 * 2**-7),
        (torch.int64, 0.0),
        (torch.uint8, 0.0),
        (torch.bool, 0.0),
    ],
)
def test_the_tolerance_of_a_dtype(dtype: torch.dtype, allowed: float) -> None:
    assert tolerance(dtype) == allowed


@examples
@given(values)
def test_a_result_is_no_distance_from_itself(numbers: list[float]) -> None:
    assert single(tensor(*numbers), tensor(*numbers).double()).error == 0


def test_the_error_is_a_share_of_the_references_largest_absolute_value() -> None:
    assert single(tensor(1, -8, 2), exact(1, -8, 4)) == Gap(0.25, "output")
    # Of the reference's: ours may hold what is wrong.
    assert single(tensor(1, -800, 2), exact(1, -8, 2)) == Gap(99.0, "output")


@examples
@given(values, values, st.integers(-20, 20))
def test_the_error_does_not_depend_on_the_scale(
    ours: list[float], numbers: list[float], power: int
) -> None:
    short = min(len(ours), len(numbers))
    left, right = exact(*ours[:short]), exact(*numbers[:short])
    before, after = single(left, right), single(left * 2.0**power, right * 2.0**power)
    if bool(right.any()):
        assert after.error == pytest.approx(before.error)
    else:
        assert after.error == pytest.approx(before.error * 2.0**power)


def test_against_a_reference_of_zeros_the_distance_itself_counts() -> None:
    assert single(tensor(0, 0.5), exact(0, 0)) == Gap(0.5, "output")
    assert single(tensor(0, 0), exact(0, 0)).error == 0


def test_halves_are_compared_in_full_precision() -> None:
    # In float16 itself 2049 is 2048, and there would be no difference.
    found = single(tensor(2048, dtype=torch.float16), exact(2049))
    assert found == Gap(1 / 2049, "output")


def test_gradients_may_still_be_attached() -> None:
    ours = tensor(1, 2).requires_grad_()
    assert single(ours * 2, exact(2, 5).requires_grad_()) == Gap(0.2, "output")


@pytest.mark.parametrize(
    ("ours", "reference"),
    [
        ((NAN, 1), (NAN, 1)),
        ((INF, 1), (INF, 1)),
        ((-INF, INF, NAN, 1), (-INF, INF, NAN, 1)),
        ((NAN, NAN), (NAN, NAN)),
        ((-INF,), (-INF,)),
    ],
)
def test_what_is_not_finite_in_both_is_no_difference(
    ours: tuple[float, ...], reference: tuple[float, ...]
) -> None:
    found = single(tensor(*ours), exact(*reference))
    assert (found.error, found.wrong) == (0, "")


def test_finite_values_beside_infinite_ones_are_compared_with_each_other() -> None:
    assert single(tensor(INF, NAN, 1, 4), exact(INF, NAN, 2, 4)) == Gap(0.25, "output")


@pytest.mark.parametrize(
    ("ours", "reference", "count"),
    [
        ((NAN, 1, 2), (0, 1, 2), 1),
        ((0, 1, 2), (NAN, 1, 2), 1),
        ((INF, 1, 2), (0, 1, 2), 1),
        ((NAN, 1, 2), (1, NAN, 2), 2),
        ((NAN, NAN, NAN), (1, 1, 1), 3),
    ],
)
def test_values_that_are_not_finite_elsewhere_are_counted(
    ours: tuple[float, ...], reference: tuple[float, ...], count: int
) -> None:
    found = single(tensor(*ours), exact(*reference))
    assert (found.error, found.where) == (INF, "output")
    assert found.wrong == f"{count} of 3 values not finite as the reference's are"


@pytest.mark.parametrize("numbers", [(INF, 1.0), (-INF, 1.0), (INF, -INF)])
def test_infinities_of_another_sign_are_wrong(numbers: tuple[float, ...]) -> None:
    found = single(tensor(*(-number for number in numbers)), exact(*numbers))
    assert found.error == INF
    assert "not in the right places" in found.wrong


@pytest.mark.parametrize(("ours", "reference"), [(NAN, INF), (INF, NAN), (-INF, NAN), (NAN, -INF)])
def test_nan_is_not_infinity(ours: float, reference: float) -> None:
    found = single(tensor(ours, 1), exact(reference, 1))
    assert found.error == INF
    assert found.wrong


def test_truth_values_that_differ_are_counted() -> None:
    right = torch.tensor([True, False, True, False])
    assert single(right, right.clone()) == Gap(0.0)
    assert single(~right, right) == Gap(INF, "output", "4 of 4 values differ")
    one = right.clone()
    one[2] = False
    assert single(one, right) == Gap(INF, "output", "1 of 4 values differ")


def test_whole_numbers_have_to_be_equal_however_large() -> None:
    # As float64 the two are the same number.
    large, next_one = torch.tensor([2**53]), torch.tensor([2**53 + 1])
    assert single(next_one, next_one.clone()) == Gap(0.0)
    assert single(large, next_one) == Gap(INF, "output", "1 of 1 values differ")
    many = torch.zeros(1500, dtype=torch.int32)
    assert single(many, many + 1).wrong == "1,500 of 1,500 values differ"


@pytest.mark.parametrize(
    ("ours", "right"), [((2, 3), (3, 2)), ((6,), (2, 3)), ((0, 3), (3, 0)), ((1,), ())]
)
@pytest.mark.parametrize("dtype", [torch.float32, torch.int64, torch.bool], ids=str)
def test_another_shape_is_wrong(
    ours: tuple[int, ...], right: tuple[int, ...], dtype: torch.dtype
) -> None:
    found = single(torch.zeros(ours, dtype=dtype), torch.zeros(right, dtype=dtype))
    assert found == Gap(INF, "output", f"shape {ours} where {right} is right")


@pytest.mark.parametrize("dtype", [torch.float32, torch.int64, torch.bool], ids=str)
def test_empty_tensors_of_one_shape_are_equal(dtype: torch.dtype) -> None:
    assert single(torch.zeros(0, 3, dtype=dtype), torch.zeros(0, 3, dtype=dtype)) == Gap(0.0)


def test_a_gradient_that_is_on_one_side_only_is_wrong() -> None:
    assert single(None, exact(1)) == Gap(INF, "output", "there is none")
    assert single(tensor(1), None) == Gap(INF, "output", "there is none")
    assert single(None, None) == Gap(0.0)


def test_nothing_is_no_distance_from_nothing() -> None:
    assert gap([], []) == Gap(0.0)


def test_another_number_of_results_is_wrong() -> None:
    found = gap([("output", tensor(1))], [])
    assert found == Gap(INF, "results", "1 results where 0 are right")


def test_the_worst_of_several_is_named() -> None:
    right = [("output 1", exact(1)), ("output 2", exact(1)), ("gradient of input 1", exact(1))]
    ours = [("output 1", tensor(1.25)), ("output 2", tensor(2)), ("gradient of input 1", tensor(1))]
    assert gap(ours, right) == Gap(1.0, "output 2")
    wrong = [*ours[:2], ("gradient of input 1", tensor(NAN))]
    assert gap(wrong, right) == Gap(
        INF, "gradient of input 1", "1 of 1 values not finite as the reference's are", True
    )


@examples
@given(st.lists(st.floats(-100, 100, width=32), min_size=1, max_size=6))
def test_the_worst_of_several_is_the_largest_of_each(numbers: list[float]) -> None:
    ours = [(f"output {place}", tensor(number)) for place, number in enumerate(numbers)]
    right = [(name, exact(1)) for name, _ in ours]
    found = gap(ours, right)
    each = [single(tensor(number), exact(1)).error for number in numbers]
    assert found.error == max(each)
    assert found.where == f"output {each.index(max(each))}"


@examples
@given(
    st.lists(st.floats(0.5, 100, width=32), min_size=2, max_size=8),
    st.floats(2.0**-10, 2),
    st.data(),
)
def test_one_value_that_is_off_by_a_share_of_the_largest_shows_as_that_share(
    numbers: list[float], share: float, data: st.DataObject
) -> None:
    right = exact(*numbers)
    place = data.draw(st.integers(0, len(numbers) - 1))
    ours = right.clone()
    ours[place] += share * right.max()
    assert single(ours, right).error == pytest.approx(share, rel=1e-6)


def test_a_mask_of_large_values_sets_no_scale_for_the_scores_beside_it() -> None:
    scores = torch.randn(2, 40, 40, generator=torch.Generator().manual_seed(1))
    mask = torch.triu(torch.full((40, 40), -1e9), 1)
    reference = scores + mask
    off = torch.where(mask == 0, reference + 0.1, reference)
    assert not is_close(off, reference)
    assert 0.01 < single(off, reference.double()).error < 0.1
    assert is_close(reference * (1 + 1e-7), reference)


def test_one_large_value_is_no_mask() -> None:
    reference = exact(1e-3, 2e-3, 5e3)
    assert len(magnitudes(reference)) == 1
    assert single(exact(1e-3, 1e-3, 5e3), reference).error < 1e-6

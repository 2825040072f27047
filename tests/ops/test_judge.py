"""Judgements of one op's results, from what the device, the CPU and float64 say."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
import torch

from mpstui.ops.changes import CHANGE
from mpstui.ops.judge import RIGHT, OpJudgement, is_close, judge

X = torch.linspace(-1, 1, 101)
_INF = torch.tensor([1.0, float("inf"), float("inf")])
_SIGN = torch.tensor([1.0, float("inf"), -float("inf")])


def _judged(
    ours: torch.Tensor,
    cpu: torch.Tensor,
    exact: torch.Tensor | None = None,
    rounded: torch.Tensor | None = None,
) -> OpJudgement:
    right = cpu.double() if exact is None else exact
    return judge(
        [("output", ours)],
        [("output", cpu)],
        lambda: [right],
        lambda: [right if rounded is None else rounded],
    )


def _never() -> Sequence[torch.Tensor]:
    raise AssertionError("float64 is only computed on suspicion")


def _off(share: float, values: torch.Tensor = X) -> torch.Tensor:
    changed = values.clone()
    changed[7] += share
    return changed


@pytest.mark.parametrize("ours", [X, X * (1 + 1e-6)], ids=["equal", "rounding"])
def test_equal_and_rounded_results_pass_without_a_second_look(ours: torch.Tensor) -> None:
    assert judge([("o", ours)], [("o", X)], _never, _never) is RIGHT


@pytest.mark.parametrize(
    ("share", "status"), [(3e-6, "right"), (1e-4, "suspect"), (2e-3, "wrong"), (1.0, "wrong")]
)
def test_an_error_beyond_the_cpus_is_suspect_and_a_large_one_wrong(
    share: float, status: str
) -> None:
    found = _judged(_off(share), X)
    assert found.status == status
    if status != "right":
        assert found.error == pytest.approx(share, rel=0.01)
        assert (found.where, found.cpu_error) == ("output", 0.0)
    if status == "wrong":
        assert found.values == "1 of 101 values are wrong"


def test_an_error_that_the_cpu_makes_too_is_right() -> None:
    exact = X.double()
    assert _judged(_off(2e-3), _off(1e-4), exact).status == "right"  # 20 times as far off
    assert _judged(_off(2e-3), _off(5e-5), exact).status == "wrong"  # 40 times


def test_half_precision_may_lose_more() -> None:
    for dtype in (torch.float16, torch.bfloat16):
        eps, values = torch.finfo(dtype).eps, X.to(dtype)
        assert _judged(_off(8 * eps, values), values).status == "right"
        assert _judged(_off(24 * eps, values), values).status == "wrong"


def test_half_precision_is_allowed_a_few_times_the_cpus_own_error() -> None:
    """Not 32 times: there the CPU rounds as the device does."""
    values, exact = X.to(torch.float16), X.to(torch.float16).double()
    cpu = _off(0.01, values)
    assert _judged(_off(0.035, values), cpu, exact).status == "right"
    assert _judged(_off(0.1, values), cpu, exact).status == "wrong"


def test_a_change_in_place_that_is_a_little_off_is_shown_by_the_result_itself() -> None:
    def judged(name: str, share: float) -> str:
        changed, right = [(name, _off(share))], [(name, X)]
        return judge(changed, right, lambda: [X.double()], lambda: [X.double()]).status

    assert judged("output", 1e-4) == "suspect"
    assert judged(f"{CHANGE}weight", 1e-4) == "right"
    assert judged(f"{CHANGE}weight", 1e-2) == "wrong"


def test_cancellation_to_near_zero_is_not_blamed() -> None:
    """A sum of large values that cancel: any rounding of the inputs is all there is."""
    exact = torch.tensor([1e-9], dtype=torch.float64)
    ours, cpu = torch.tensor([3e-8]), torch.tensor([1e-9])
    assert _judged(ours, cpu, exact).status == "wrong"
    assert _judged(ours, cpu, exact, rounded=torch.tensor([2e-8]).double()).status == "right"
    far = torch.tensor([5e-6])
    assert _judged(far, cpu, exact, rounded=torch.tensor([2e-8]).double()).status == "wrong"


@pytest.mark.parametrize(
    ("ours", "cpu", "words"),
    [
        (_off(float("nan")), X, "1 of 101 values not finite"),
        (_off(float("inf")), X, "1 of 101 values not finite"),
        (_SIGN, _INF, "are not in the right places"),
        (torch.tensor([1, 2, 4]), torch.tensor([1, 2, 3]), "1 of 3 values differ"),
        (torch.tensor([True, True]), torch.tensor([True, False]), "1 of 2 values differ"),
        (torch.zeros(2, 3), torch.zeros(3, 2), "shape (2, 3) where (3, 2)"),
    ],
    ids=["nan", "inf", "sign of inf", "int", "bool", "shape"],
)
def test_what_has_no_size_is_wrong_at_once(
    ours: torch.Tensor, cpu: torch.Tensor, words: str
) -> None:
    found = _judged(ours, cpu)
    assert (found.status, found.error) == ("wrong", None)
    assert words in found.values


def test_values_that_are_not_finite_on_both_sides_are_right() -> None:
    odd = _off(float("nan"), _off(float("inf"), X.flip(0)))
    assert _judged(odd.clone(), odd).status == "right"


def test_whole_numbers_are_those_of_the_cpu_whatever_float64_counts() -> None:
    """A comparison or an argmax may go another way in float64."""
    cpu = torch.tensor([3, 4])
    assert _judged(cpu.clone(), cpu, torch.tensor([3, 5])).status == "right"
    assert _judged(torch.tensor([3, 5]), cpu, torch.tensor([3, 5])).status == "wrong"


def test_where_float32_overflows_and_float64_does_not_the_cpu_is_the_reference() -> None:
    cpu = torch.tensor([float("inf"), 1.0])
    exact = torch.tensor([1e60, 1.0], dtype=torch.float64)
    assert _judged(torch.tensor([float("inf"), 1 + 2e-5]), cpu, exact).status == "suspect"
    assert _judged(torch.tensor([float("inf"), 1.0]), cpu, exact).status == "right"
    assert _judged(torch.tensor([float("inf"), 1.1]), cpu, exact).status == "wrong"


def test_of_several_results_the_worst_is_told() -> None:
    named = [("a", _off(1e-4)), ("b", _off(0.5)), ("c", X), ("d", _off(0.1))]
    found = judge(
        named, [(name, X) for name, _ in named], lambda: [X.double()] * 4, lambda: [X.double()] * 4
    )
    assert (found.status, found.where) == ("wrong", "b")
    named[3] = ("d", _off(float("nan")))
    found = judge(
        named, [(name, X) for name, _ in named], lambda: [X.double()] * 4, lambda: [X.double()] * 4
    )
    assert found.where == "d"


def test_alike_asks_for_the_same_shape_and_dtype() -> None:
    assert not is_close(X, X.double())
    assert not is_close(X[None], X)
    assert is_close(X[:0], X[:0].clone())


def test_a_complex_result_may_be_rounded() -> None:
    spectrum = torch.fft.rfft(X)
    assert _judged(spectrum * (1 + 1e-7), spectrum, spectrum).status == "right"


@pytest.mark.parametrize("ours", [3.0, -float("inf")], ids=["finite", "other sign"])
def test_where_infinity_is_right_nothing_else_passes(ours: float) -> None:
    """A mask of -inf that is never written, above all."""
    right = _off(float("inf"))
    assert _judged(_off(0.0).index_fill_(0, torch.tensor(7), ours), right).status == "wrong"


def test_a_lower_precision_explains_its_own_rounding_and_no_more() -> None:
    generator = torch.Generator().manual_seed(1)
    bias, x, w = (
        torch.randn(shape, generator=generator).bfloat16() for shape in ((24,), (16, 32), (32, 24))
    )
    exact = [torch.addmm(bias.double(), x.double(), w.double())]
    on_cpu = [("output", torch.addmm(bias, x, w))]
    without_bias = [("output", x @ w)]
    moved = [exact[0] * (1 + 0.01 * torch.randn(exact[0].shape, generator=generator).double())]
    ours = [("output", (exact[0] * (1 + 2**-8)).bfloat16())]
    assert judge(ours, on_cpu, lambda: exact, lambda: moved).status == "right"
    assert judge(without_bias, on_cpu, lambda: exact, lambda: moved).status == "wrong"


@pytest.mark.parametrize(
    ("ours", "right", "worst"),
    [
        ([1.0, 2.0, 3.0], [1.0, -2.0, 3.1], ((1,), 2.0, -2.0)),
        ([[1, 2], [3, 4]], [[1, 2], [3, 9]], ((1, 1), 4, 9)),
        ([True, False], [True, True], ((1,), False, True)),
        ([2**60, 5], [2**60 + 1, 5], ((0,), 2**60, 2**60 + 1)),
    ],
)
def test_the_value_that_is_farthest_off_is_told(ours: Any, right: Any, worst: Any) -> None:
    mine, theirs = torch.tensor(ours), torch.tensor(right)
    found = judge([("output", mine)], [("output", theirs)], lambda: [theirs], lambda: [theirs])
    assert found.status == "wrong"
    assert (found.at, found.got, found.want) == worst


def test_one_that_is_not_a_number_is_the_farthest_and_other_shapes_have_none() -> None:
    mine, right = torch.tensor([9.0, float("nan"), 3.0]), torch.tensor([1.0, 2.0, 3.0])
    found = judge([("output", mine)], [("output", right)], lambda: [right], lambda: [right])
    assert (found.at, found.want) == ((1,), 2.0)
    found = judge([("output", mine[:2])], [("output", right)], lambda: [right], lambda: [right])
    assert (found.status, found.at) == ("wrong", None)

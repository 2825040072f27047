"""What a wrong result looks like: each guess on a call that went wrong in that way."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from mpstui.faults.library import in_memory_order
from mpstui.investigate.repro.symptom import symptom
from mpstui.ops.call import Call, capture

ATEN: Any = torch.ops.aten
G = torch.Generator().manual_seed(0)
A, B = torch.randn(5, 5, generator=G), torch.randn(5, 5, generator=G)
T = torch.randn(6, 4, generator=G).t()  # strided
O = torch.randn(30, generator=G)[10:].view(4, 5)  # noqa: E741 - behind an offset


def _half_zero() -> torch.Tensor:
    product = A @ B
    product[2:] = 0
    return product


ADD = capture(ATEN.add_.Tensor, (A.clone(), B), {})
MM = capture(ATEN.mm.default, (A, B), {})
CASES: dict[str, tuple[Call, torch.Tensor, str, str]] = {
    "never written": (ADD, A, "argument self", "the result is never written"),
    "other input": (MM, B, "output", "the result is input 2, unchanged"),
    "only input": (capture(ATEN.exp.default, (A,), {}), A, "output", "the result is the input"),
    "strides": (
        *(capture(ATEN.exp.default, (T,), {}), in_memory_order(T).exp(), "output"),
        "strides are ignored: elements are read in memory order",
    ),
    "offset": (
        *(capture(ATEN.exp.default, (O,), {}), O.as_strided((4, 5), (5, 1), 0).exp(), "output"),
        "a storage offset is ignored: reading begins at the storage's first element",
    ),
    "sign": (MM, -(A @ B), "output", "the sign is wrong"),
    "zeros": (MM, torch.zeros(5, 5), "output", "all zeros"),
    "a factor": (MM, 1.2 * (A @ B), "output", "every value is 1.2 times the right one"),
    "some zero": (MM, _half_zero(), "output", "the wrong values are all zero"),
    "nothing known": (MM, A @ B + torch.randn(5, 5, generator=G), "output", ""),
    "some nan": (MM, (A @ B).index_fill_(0, torch.tensor(1), float("nan")), "output", ""),
    "another shape": (MM, torch.ones(3), "output", ""),
    "no such result": (MM, -(A @ B), "results", ""),
}


@pytest.mark.parametrize("name", CASES)
def test_a_guess_is_told_when_it_fits(name: str) -> None:
    call, ours, where, words = CASES[name]
    assert symptom(call, [(where, ours)], where) == words


@pytest.mark.parametrize("place", [0, 1, 2])
def test_strides_may_be_ignored_of_one_input_or_of_all(place: int) -> None:
    left, right = T, torch.randn(3, 6, generator=G).t()
    call = capture(ATEN.mm.default, (left, right), {})
    read = [in_memory_order(each) for each in (left, right)]
    ours = (read[0] @ right, left @ read[1], read[0] @ read[1])[place]
    assert symptom(call, [("output", ours)], "output").startswith("strides are ignored")
    assert symptom(call, [("output", left @ right + 1)], "output") == ""


def test_rounding_does_not_hide_a_guess_and_of_several_results_the_one_asked_for_is_read() -> None:
    ours = [("output 1", torch.zeros(5)), ("output 2", torch.zeros(5))]
    call = capture(ATEN.var_mean.correction, (A, [0]), {})
    assert symptom(call, ours, "output 2") == "all zeros"
    near = [ours[0], ("output 2", -A.mean(0) * (1 + 1e-4))]
    assert symptom(call, near, "output 2") == "the sign is wrong"
    half = capture(ATEN.mm.default, (A.bfloat16(), B.bfloat16()), {})
    product = (A.bfloat16() @ B.bfloat16()).neg()
    assert symptom(half, [("output", product)], "output") == "the sign is wrong"


def test_an_op_that_the_cpu_does_not_have_leaves_one_without_words() -> None:
    call = capture(ATEN.cudnn_grid_sampler.default, (A, B), {})
    assert symptom(call, [("output", A)], "output") == ""

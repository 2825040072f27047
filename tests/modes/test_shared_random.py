"""Shared draws, and a device's own draws judged."""

from __future__ import annotations

import random
from typing import Any

import numpy as np
import pytest
import torch

from mpstui.modes.base import StepMode
from mpstui.modes.recorded_random import DoubleRandom, RecordedRandom
from mpstui.modes.shared_random import SharedRandom
from mpstui.ops.randomness.checks import RandomChecks, RandomProblem
from mpstui.ops.schema import op_info

ATEN: Any = torch.ops.aten


def _drawn(run: Any, seed: int = 3, step: int = 5, skip: int = 0) -> Any:
    draws = SharedRandom(seed)
    draws.restart(step)
    with StepMode(draws):
        for _ in range(skip):
            torch.rand(2)
        return run()


def _normal() -> torch.Tensor:
    return torch.empty(6, 4).normal_()


def test_seed_step_and_count_make_the_numbers_and_nothing_else_does() -> None:
    torch.manual_seed(1)
    first = _drawn(_normal)
    torch.manual_seed(2)
    assert torch.equal(_drawn(_normal), first)
    others = (_drawn(_normal, seed=4), _drawn(_normal, step=6), _drawn(_normal, skip=1))
    assert not any(torch.equal(each, first) for each in others)


def test_the_process_own_random_state_stays() -> None:
    torch.manual_seed(1)
    torch.empty(6, 4).normal_()
    expected = torch.rand(3)
    torch.manual_seed(1)
    _drawn(_normal)
    assert torch.equal(torch.rand(3), expected)


def test_a_restart_gives_the_same_numbers_again() -> None:
    draws = SharedRandom(1)
    with StepMode(draws):
        passes = []
        for _ in range(2):
            draws.restart(2)
            passes.append((torch.rand(4), torch.rand(4)))
    assert torch.equal(passes[0][0], passes[1][0])
    assert torch.equal(passes[0][1], passes[1][1])
    assert not torch.equal(passes[0][0], passes[0][1])


@pytest.mark.parametrize(
    "make",
    [
        lambda: torch.empty(4, 6).t(),
        lambda: torch.empty(6, 9)[:, 2:6],
        lambda: torch.empty(6, 4, dtype=torch.bfloat16),
    ],
    ids=["transposed", "sliced", "bfloat16"],
)
def test_layout_and_dtype_make_no_difference(make: Any) -> None:
    plain = _drawn(_normal)
    other = _drawn(lambda: make().normal_())
    assert torch.equal(other, plain.to(other.dtype))
    assert torch.equal(
        _drawn(lambda: torch.randn(6, 4, dtype=torch.bfloat16)),
        _drawn(lambda: torch.randn(6, 4)).bfloat16(),
    )


def test_fused_dropout_and_a_cpus_bernoulli_get_the_same_mask() -> None:
    x = torch.arange(1.0, 41).view(8, 5)
    out, mask = _drawn(lambda: torch.native_dropout(x.bfloat16(), 0.25, True))
    keep = _drawn(lambda: torch.empty(8, 5).bernoulli_(0.75))
    assert torch.equal(mask, keep.bool())
    assert torch.equal(out, (x * keep / 0.75).bfloat16())
    assert 0 < int(mask.sum()) < 40


def test_a_dropout_keeps_what_its_own_p_means() -> None:
    """CUDA's ``_fused_dropout`` takes what it keeps, ``native_dropout`` what it drops."""
    x = torch.ones(40, 50)
    for op, args, keeps in (
        (ATEN._fused_dropout.default, (x, 0.8), 0.8),
        (ATEN.native_dropout.default, (x, 0.8, True), 0.2),
        (ATEN.native_dropout.default, (x, 1.0, True), 0.0),
        (ATEN.native_dropout.default, (x, 0.8, False), 1.0),
    ):
        out, mask = torch.full_like(x, 9.0), torch.zeros_like(x)
        SharedRandom().share(op, op_info(op), args, {}, (out, mask))
        assert abs(float(mask.mean()) - keeps) < 0.05
        assert torch.allclose(out, mask / max(keeps, 1e-30))


def test_an_op_that_the_cpu_does_not_have_is_told_of() -> None:
    op = ATEN._fused_dropout.default  # stands for any: what is shared is told by the packet
    draws, facts = SharedRandom(), op_info(op)._replace(packet="some_attention")
    out = torch.ones(4)
    draws.share(op, facts, (out, 0.5), {}, (out, out))
    assert draws.unshared == {facts.name}
    assert out.tolist() == [1.0] * 4


def _problem(
    op: Any, args: Any, drawn: torch.Tensor, judge: RandomChecks | None = None, before: Any = ()
) -> RandomProblem | None:
    return (judge or RandomChecks()).problem(op_info(op), args, [drawn], list(before))


def _shows(problem: RandomProblem, got: torch.Tensor) -> bool:
    """Whether a problem's Python is true of some draws, as a repro script runs it."""
    names: dict[str, Any] = {"torch": torch, "got": got.double()}
    for line in problem.setup:
        exec(line, names)
    if problem.per_call:
        values = [eval(problem.per_call, names).flatten()] * problem.calls
        names["values"] = torch.cat(values)
    return bool(eval(problem.code, names))


R = torch.rand(4, 250, generator=torch.Generator().manual_seed(0))
N = torch.randn(4, 250, generator=torch.Generator().manual_seed(0))
B = (R < 0.5).float()
NAN = N.clone().index_fill_(1, torch.tensor([3]), float("nan"))


@pytest.mark.parametrize(
    ("op", "args", "drawn", "words"),
    [
        (ATEN.randn.default, ([4, 250],), NAN, "not finite"),
        (ATEN.randn.default, ([4, 250],), N * 1.5, "standard deviation"),
        (ATEN.randn.default, ([4, 250],), N + 0.5, "mean"),
        (ATEN.randn.default, ([4, 250],), N[:1].expand(4, 250), "every slice"),
        (ATEN.randn.default, ([10, 100],), N[:1, :10].t().expand(10, 100), "every slice"),
        (ATEN.normal_.default, (N, 2.0, 3.0), N * 3, "mean"),
        (ATEN.uniform_.default, (R, -1.0, 1.0), R * 2.5 - 1.25, "draws outside -1 to 1"),
        (ATEN.rand.default, ([4, 250],), R * 0.8, "mean"),
        (ATEN.bernoulli_.float, (B, 0.5), B * 0.5, "other than 0 and 1"),
        (ATEN.bernoulli_.float, (B, 0.8), B, "mean"),
    ],
)
def test_a_problem_is_found_and_its_code_is_true_of_the_draws(
    op: Any, args: Any, drawn: torch.Tensor, words: str
) -> None:
    found = _problem(op, args, drawn)
    assert found is not None
    assert words in found.text
    assert _shows(found, drawn)
    good = {"randn": N, "normal_": N * 3 + 2, "uniform_": R * 2 - 1, "rand": R}
    if op_info(op).packet in good:
        right = good[op_info(op).packet]
        assert _problem(op, args, right) is None
        assert not _shows(found, right)


def test_draws_that_are_not_written_and_those_of_the_time_before_are_found() -> None:
    found = _problem(ATEN.normal_.default, (N,), N, before=[N.clone()])
    assert found is not None
    assert eval(found.code, {"torch": torch, "got": N, "before": N})
    judge = RandomChecks()
    assert _problem(ATEN.normal_.default, (N,), N, judge) is None
    assert _problem(ATEN.normal_.default, (N,), N[:2], judge) is None  # of another shape
    found = _problem(ATEN.normal_.default, (N,), N.clone(), judge)
    assert found is not None
    assert eval(found.code, {"torch": torch, "got": N, "again": N})


def test_good_draws_pass_with_many_seeds() -> None:
    judge = RandomChecks()
    for seed in range(150):
        g = torch.Generator().manual_seed(seed)
        for shape in ((64,), (3, 5, 7), (40, 40)):
            x = torch.empty(shape)
            normal, uniform = x.normal_(generator=g).clone(), x.uniform_(generator=g).clone()
            assert _problem(ATEN.randn.default, (list(shape),), normal, judge) is None
            assert _problem(ATEN.normal_.default, (x, 1.0, 0.02), normal * 0.02 + 1, judge) is None
            assert _problem(ATEN.uniform_.default, (x, -2.0, 2.0), uniform * 4 - 2, judge) is None
            for keep in (0.5, 0.1, 0.9):
                mask = (uniform < keep).float()
                assert _problem(ATEN.bernoulli_.float, (x, keep), mask, judge) is None
    assert _problem(ATEN.randn.default, ([4],), torch.zeros(4), judge) is None  # too few to tell


def _passes(op: Any, args: Any, draw: Any, times: int) -> bool:
    judge = RandomChecks()
    torch.manual_seed(0)
    return not any(_problem(op, args, draw(), judge) for _ in range(times))


@pytest.mark.parametrize("shape", [(64, 1, 1, 1), (2, 64)], ids=["drop path", "two rows"])
def test_a_small_dropout_probability_is_no_fault(shape: tuple[int, ...]) -> None:
    x = torch.empty(shape)
    assert _passes(ATEN.bernoulli_.float, (x, 0.99), lambda: x.clone().bernoulli_(0.99), 40)


def test_draws_at_a_bound_that_bfloat16_rounds_are_no_fault() -> None:
    x = torch.empty(10_000, dtype=torch.bfloat16)
    assert _passes(
        ATEN.uniform_.default, (x, -0.01, 0.01), lambda: x.clone().uniform_(-0.01, 0.01), 3
    )


def test_a_million_uniform_draws_in_bfloat16_are_no_fault() -> None:
    draw = lambda: torch.rand(1_000_000, dtype=torch.bfloat16)  # noqa: E731
    assert _passes(ATEN.rand.default, ([1_000_000],), draw, 4)


@pytest.mark.parametrize(
    ("op", "args", "good"),
    [
        (ATEN.uniform_.default, (R, -1.0), R * 2 - 1),  # x.uniform_(-1, 1)
        (ATEN.normal_.default, (N, 2.0), N + 2),  # x.normal_(2, 1)
    ],
)
def test_good_draws_pass_where_an_argument_is_the_default(
    op: Any, args: Any, good: torch.Tensor
) -> None:
    assert _problem(op, args, good) is None


def test_a_wrong_mean_is_found_where_the_probability_is_the_default() -> None:
    """nn.Dropout(0.5) calls aten.bernoulli_(x)."""
    assert _problem(ATEN.bernoulli_.float, (B,), (R < 0.8).float()) is not None


def test_a_restart_seeds_numpy_and_python_too() -> None:
    def drawn(draws: SharedRandom, step: int) -> tuple[float, float]:
        draws.restart(step)
        return float(np.random.beta(0.4, 0.4)), random.random()

    recorded = RecordedRandom(7)
    first = drawn(recorded, 2)
    assert drawn(SharedRandom(7), 2) == first
    assert drawn(DoubleRandom([], 7), 2) == first  # the float64 pass gets them as well
    assert drawn(SharedRandom(7), 3) != first
    assert drawn(SharedRandom(8), 2) != first

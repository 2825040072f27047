"""A device's own draws, judged: wrong ones are named, right ones of every kind are not."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch

from mpstui.ops.randomness.arguments import generator_state
from mpstui.ops.randomness.checks import RandomChecks, RandomProblem, has_rule
from mpstui.ops.schema import is_random, op_info, results, written

ATEN: Any = torch.ops.aten
Call = tuple[Any, tuple[Any, ...]]


def _problem(
    call: Call, judge: RandomChecks, change: Callable[..., Any] | None = None
) -> RandomProblem | None:
    """Draw, let a fault change what comes of it, and judge that."""
    op, args = call
    facts = op_info(op)
    args = tuple(each.clone() if isinstance(each, torch.Tensor) else each for each in args)
    before = [tensor.clone() for _, tensor in written(facts, args, {})]
    out = [tensor for _, tensor in results(facts, op(*args), args, {})]
    changed = out if change is None else change(*out)
    out = list(changed) if isinstance(changed, (list, tuple)) else [changed]
    return judge.problem(facts, args, out, before)


def _first(
    call: Call, change: Callable[..., Any] | None = None, times: int = 100
) -> RandomProblem | None:
    torch.manual_seed(0)
    judge = RandomChecks()
    seen = (_problem(call, judge, change) for _ in range(times))
    return next((each for each in seen if each is not None), None)


X = torch.linspace(-2, 2, 1500).reshape(30, 50)
P = (X + 2) / 4
W = torch.softmax(torch.randn(16, 24, generator=torch.Generator().manual_seed(1)) * 2, 1)


def _pairs(x: torch.Tensor) -> torch.Tensor:
    flat = x.flatten().clone()
    flat[1::2] = flat[::2][: flat[1::2].numel()]
    return flat.view(x.shape)


def _fours(x: torch.Tensor) -> torch.Tensor:
    flat = x.flatten().clone()
    flat[2::4] = flat[::4][: flat[2::4].numel()]
    return flat.view(x.shape)


LONG = torch.full_like(X, 9)
LAST = W.topk(24).indices[:, -4:]
T = torch.tensor(3)

WRONG: list[tuple[str, Any, tuple[Any, ...], Callable[..., Any], str]] = [
    ("unscaled", "native_dropout", (X, 0.4, True), lambda o, m: (X * m, m), "input × mask"),
    ("all dropped", "native_dropout", (X, 0.4, True), lambda o, m: (o * 0, m * 0), "every slice"),
    ("kept", "native_dropout", (X, 0.4, True), lambda o, m: _kept(0.7), "mean 0.7"),
    ("no std", "normal.Tensor_Tensor", (X, P), lambda o: X + o.normal_(), "deviation of"),
    ("std 1", "normal.Tensor_Tensor", (X, P * 0 + 0.5), lambda o: X + o.normal_(), "deviation of"),
    ("mean", "normal.Tensor_float", (X, 0.5), lambda o: o + 0.1, "mean of (got - mean) / std"),
    ("another", "normal.float_Tensor", (1.0, P + 0.1), lambda o: o + 0.1, "mean of"),
    ("wide", "normal_functional", (X, 1.0, 2.0), lambda o: o * 1.1 - 0.1, "deviation of"),
    ("of no std", "normal_", (X, 1.0, 0.0), lambda o: o + 0.01, "12 standard"),
    ("variance", "randn_like", (X[:9],), lambda o: o * 0.9**0.5, "deviation 0.9"),
    ("one far", "normal_", (X,), lambda o: o.index_fill(0, T, 20.0), "12 standard"),
    ("pairs", "bernoulli_.float", (X[:2], 0.8), _pairs, "1 apart"),
    ("normal pairs", "normal_", (X[:2],), _pairs, "1 apart"),
    ("uniform fours", "uniform_", (X, -1.0, 1.0), _fours, "2 apart"),
    ("integer pairs", "randint_like", (X, 7), _pairs, "1 apart"),
    (
        "half",
        "bernoulli_.Tensor",
        (X, P.clamp(0.1, 0.8)),
        lambda o: _kept(0.5)[1],
        "do not follow p",
    ),
    ("fewer", "bernoulli", (P * 0.8,), lambda o: o * _kept(0.8)[1], "mean 0.3"),
    ("other", "bernoulli.p", (X, 0.3), lambda o: 1 - o, "mean 0.6"),
    ("never", "bernoulli_.float", (X, 0.0), lambda o: o + 1, "probability 0"),
    ("rate", "exponential_", (X, 2.0), lambda o: o * 2, "mean of got * lambd"),
    ("below 0", "exponential_", (X, 2.0), lambda o: -o, "below 0"),
    ("constant", "exponential_", (X, 1.0), lambda o: o * 0 + 0.7, "every slice"),
    ("from 0", "geometric_", (X, 0.3), lambda o: o - 1, "below 1"),
    ("one more", "geometric_", (X, 0.3), lambda o: o + 1, "mean of got * p"),
    ("not whole", "geometric_", (X, 0.3), lambda o: o + 0.5, "whole"),
    ("root", "log_normal_", (X, 0.0, 0.5), torch.sqrt, "deviation of (torch.log"),
    ("twice as wide", "cauchy_", (X, 1.0, 2.0), lambda o: (o - 1) * 2 + 1, "deviation"),
    ("no 9", "random_.to", (X, 10), lambda o: o.clamp(max=8), "deviation"),
    ("11", "random_.from", (X, 5, 10), lambda o: o + 1, "outside 5 to 10"),
    ("negative", "random_", (X,), lambda o: -1 - o, "below 0"),
    ("no permutation", "randperm", (100,), lambda o: o.clamp(min=1), "permutation"),
    ("in order", "randperm", (300,), lambda o: o.sort().values, "1 apart"),
    ("twice", "rrelu_with_noise", (X, X * 0, 0.1, 0.3, True), lambda o, n: (o * 2, n), "× noise"),
    ("noise", "rrelu_with_noise_", (X, X * 0, 0.1, 0.3, True), lambda o, n: (o, n * 2), "noise"),
    ("more", "poisson", (P * 9,), lambda o: o + (o > 4), "mean of got - rate"),
    ("halves", "poisson", (P * 9,), lambda o: o / 2, "whole"),
    ("other", "binomial", (LONG, P.clamp(0.1, 0.8)), lambda o: 9 - o, "mean"),
    ("too many", "binomial", (LONG, P), lambda o: o + 1, "above"),
    ("large", "_standard_gamma", (P + 0.5,), lambda o: o * 1.2, "mean of got / alpha"),
    ("even", "multinomial", (W, 8, True), lambda o: torch.randint_like(o, 24), "not followed"),
    ("flipped", "multinomial", (W, 4), lambda o: o.flip(1), "not followed"),
    ("again", "multinomial", (W, 4), lambda o: o[:, :1].expand(16, 4), "twice"),
    ("weight 0", "multinomial", (W * (W > 0.02), 4), lambda o: LAST, "weight 0"),
    ("beyond", "multinomial", (W, 4), lambda o: o + 24, "outside"),
]


def _kept(share: float) -> tuple[torch.Tensor, torch.Tensor]:
    """Output and mask of a dropout that keeps a share, scaled for 0.6."""
    mask = (torch.rand(X.shape) < share).float()
    return X * mask / 0.6, mask


def _op(name: str) -> Any:
    packet, _, overload = name.partition(".")
    return getattr(getattr(ATEN, packet), overload or "default")


@pytest.mark.parametrize(
    ("name", "args", "change", "words"),
    [each[1:] for each in WRONG],
    ids=[f"{each[1]} {each[0]}" for each in WRONG],
)
def test_wrong_draws_are_named(
    name: str, args: tuple[Any, ...], change: Callable[..., Any], words: str
) -> None:
    found = _first((_op(name), args), change)
    assert found is not None
    assert words in found.text
    assert _first((_op(name), args), times=15) is None


def test_a_mask_in_memory_order_is_looked_at_too() -> None:
    x = torch.empty(4, 6, 8, 8).to(memory_format=torch.channels_last)

    def pairs(o: torch.Tensor) -> torch.Tensor:
        flat = o.permute(0, 2, 3, 1).contiguous().view(-1)
        flat[1::2] = flat[::2]
        return flat.view(4, 8, 8, 6).permute(0, 3, 1, 2)

    judge = RandomChecks()
    words = [_problem((ATEN.bernoulli_.float, (x, 0.5)), judge, pairs) for _ in range(3)]
    assert any(each is not None and "in memory" in each.text for each in words)


def test_draws_add_up_over_calls_with_the_same_arguments_only() -> None:
    narrow = lambda o: o * 0.9**0.5  # noqa: E731
    judge = RandomChecks()
    torch.manual_seed(0)
    at = next(n for n in range(500) if _problem((ATEN.normal_.default, (X[:1],)), judge, narrow))
    assert at * 50 > 2000  # no call tells of it alone
    assert _problem((ATEN.normal_.default, (X[:1], 1.0)), judge) is None


def test_two_places_of_a_short_permutation_are_not_independent_by_right() -> None:
    assert _first((ATEN.randperm.default, (2,)), times=400) is None


def test_a_generator_that_was_put_back_draws_the_same_by_right() -> None:
    judge, x = RandomChecks(), torch.empty(64)
    facts, args = op_info(ATEN.normal_.default), (x,)
    seen = []
    for _ in range(30):  # a checkpoint draws again what its forward pass drew
        torch.manual_seed(5)
        before = generator_state(args, {})
        x.normal_()
        states = before, generator_state(args, {})
        seen.append(judge.problem(facts, args, [x.clone()], [torch.zeros(64)], states))
    assert seen == [None] * 30
    stuck = judge.problem(facts, args, [x.clone()], [torch.zeros(64)], (1, 1))
    assert stuck is not None and "the time before" in stuck.text


def test_a_fused_dropout_is_told_what_it_keeps() -> None:
    """``native_dropout`` is told what it drops; CUDA's ``_fused_dropout`` the other."""
    facts = op_info(ATEN._fused_dropout.default)
    torch.manual_seed(0)
    mask = torch.rand(X.shape) < 0.8
    out = [X * mask / 0.8, mask.byte()]
    assert RandomChecks().problem(facts, (X, 0.8), out, []) is None
    assert RandomChecks().problem(facts, (X, 0.2), out, []) is not None


def test_what_has_no_rule_says_so() -> None:
    attention = ATEN._scaled_dot_product_flash_attention_for_cpu.default
    assert is_random(attention, op_info(attention), (X, X, X, 0.5), {})
    assert not has_rule(op_info(attention))
    assert RandomChecks().problem(op_info(attention), (X, X, X, 0.5), [X], []) is None


SHAPES = ((), (0,), (1,), (3,), (7, 5), (40, 30), (2, 3, 4, 4))


def _right(dtype: torch.dtype) -> Iterator[Call]:
    """Calls of every op with a rule, with arguments as odd as they get."""
    for shape in SHAPES:
        x = torch.empty(shape, dtype=dtype)
        means = torch.linspace(-2, 2, max(1, x.numel()))[: x.numel()].reshape(shape).to(dtype)
        chances = ((means.float() + 2) / 4).clamp(0, 1).to(dtype)
        spreads = (means.abs() * 2).floor()  # of 0, too
        for two in ((0.0, 1.0), (1.0, 0.02), (3.0, 0.0), (1.0, 1e-5)):
            yield ATEN.normal_.default, (x, *two)
        yield ATEN.randn_like.default, (x,)
        yield ATEN.normal.Tensor_Tensor, (means, spreads)
        yield ATEN.normal.float_Tensor, (1.0, spreads)
        for two in ((-0.01, 0.01), (1.0, 1.01), (2.0, 2.0)):
            yield ATEN.uniform_.default, (x, *two)
        yield ATEN.rand_like.default, (x,)
        for p in (0.0, 1.0, 0.5, 0.001, 0.99):
            yield ATEN.bernoulli_.float, (x, p)
            yield ATEN.native_dropout.default, (means, p, True)
        yield ATEN.native_dropout.default, (means, 0.3, False)
        yield ATEN.bernoulli.default, (chances,)
        yield ATEN.bernoulli_.Tensor, (x, (chances > 0.5).to(dtype))
        yield ATEN.exponential_.default, (x, 0.01)
        yield ATEN.geometric_.default, (x, 0.1)
        yield ATEN.geometric_.default, (x, 0.9)
        yield ATEN.log_normal_.default, (x,)
        yield ATEN.cauchy_.default, (x, 2.0, 0.1)
        yield ATEN.random_.default, (x,)
        yield _op("random_.from"), (x, -3, 200)
        yield ATEN.randint_like.default, (x, 5)
        yield ATEN.poisson.default, (chances * 12,)
        if dtype == torch.float32:
            yield ATEN.rrelu_with_noise.default, (means, means * 0, 0.125, 0.33, True)
            yield ATEN.rrelu_with_noise_.default, (means, means * 0, 0.125, 0.33, True)
            yield ATEN.binomial.default, ((means * 5).abs().floor(), chances)
            yield ATEN._standard_gamma.default, (chances + 0.05,)
    image = torch.empty(2, 6, 7, 7, dtype=dtype).to(memory_format=torch.channels_last)
    yield ATEN.bernoulli_.float, (image, 0.8)
    yield ATEN.normal_.default, (image,)
    for n in (1, 2, 5, 100):
        yield ATEN.randperm.default, (n,)
    for size, count, again in ((5, 3, True), (5, 3, False), (48, 1, False), (3, 3, False)):
        weights = torch.rand(16, size, generator=torch.Generator().manual_seed(size)).to(dtype)
        yield ATEN.multinomial.default, (weights, count, again)
        yield (
            ATEN.multinomial.default,
            (weights[0] * (weights[0] > weights[0].amin()), count, again),
        )


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16], ids=str)
def test_right_draws_of_every_kind_pass_many_pooled_looks(dtype: torch.dtype) -> None:
    torch.manual_seed(3)
    for call in _right(dtype):
        judge = RandomChecks()
        for _ in range(25):
            found = _problem(call, judge)
            assert found is None, (call, found)

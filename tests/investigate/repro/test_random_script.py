"""A script for wrong draws shows them with the fault, and nothing without it."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext
from typing import Any

import pytest
import torch

from mpstui.backends import open_backend
from mpstui.domain.devices import parse_device
from mpstui.faults.library import Fault
from mpstui.investigate.repro.attempt import CallContext, attempt
from mpstui.investigate.repro.script import ReproScript, source
from mpstui.investigate.repro.shrink import ShrunkCall
from mpstui.modes.shadow import Shadow
from mpstui.modes.shared_random import SharedRandom
from mpstui.ops.call import capture

ATEN: Any = torch.ops.aten
CPU = open_backend(parse_device("cpu"))


def _planted(op: str, change: Callable[..., Any]) -> Fault:
    class Planted(Fault):
        ops = (op,)

        def faulty(self, call: Any, *args: Any, **kwargs: Any) -> Any:
            return change(call, *args, **kwargs)

    return Planted()  # type: ignore[no-untyped-call]


def _exit(text: str, fault: Any) -> int:
    with fault, pytest.raises(SystemExit) as ended:
        exec(compile(text, "repro.py", "exec"), {"__name__": "__main__"})
    return int(ended.value.code or 0)


X = torch.zeros(6, 50)
W = torch.tensor([[0.1, 0.2, 0.7]]).repeat(4, 1)


def _pairs(call: Any, x: torch.Tensor, *rest: Any) -> torch.Tensor:
    call(x, *rest)
    x.view(-1)[1::2] = x.view(-1)[::2]
    return x


def _unscaled(call: Any, x: torch.Tensor, p: float, train: bool) -> tuple[torch.Tensor, ...]:
    _, mask = call(x, p, train)
    return x * mask, mask


def _noisy(call: Any, x: torch.Tensor, noise: torch.Tensor, *rest: Any) -> Any:
    out = call(x, noise, *rest)
    noise.add_(1)
    return out


FAULTS: list[tuple[Any, tuple[Any, ...], Callable[..., Any]]] = [
    (ATEN.randn_like.default, (X,), lambda call, *a, **k: call(*a, **k) * 0.9),
    (ATEN.normal_.default, (X, 1.0, 0.5), _pairs),
    (ATEN.bernoulli_.float, (X, 0.8), lambda call, x, p: call(x, 2 * p - 1)),
    (ATEN.normal.Tensor_Tensor, (X, X + 0.5), lambda call, m, s: call(m, s * 1.3)),
    (ATEN.native_dropout.default, (X + 1, 0.4, True), _unscaled),
    (ATEN.multinomial.default, (W, 5, True), lambda call, w, *a: call(torch.ones_like(w), *a)),
    (ATEN.exponential_.default, (X, 2.0), lambda call, x, rate: call(x, 1.0)),
    (ATEN.rrelu_with_noise.default, (X - 1, X, 0.1, 0.3, True), _noisy),
    (ATEN.uniform_.default, (X,), lambda call, x: x),
    (ATEN.uniform_.default, (X,), lambda call, x: (torch.manual_seed(3), call(x))[1]),
    (ATEN.uniform_.default, (X,), lambda call, x: call(x).copy_(x[:1].clone())),
]  # fmt: skip


@pytest.mark.parametrize("backward", [False, True])
@pytest.mark.parametrize(
    ("op", "args", "change"), FAULTS, ids=[f"{op}-{n}" for n, (op, *_) in enumerate(FAULTS)]
)
def test_a_script_shows_wrong_draws_and_passes_right_ones(
    op: Any, args: tuple[Any, ...], change: Callable[..., Any], backward: bool
) -> None:
    torch.manual_seed(0)
    call, fault = capture(op, args, {}), _planted(op._schema.name.partition("::")[2], change)
    context = CallContext(backward)
    outcome = attempt(call, CPU, fault, context)
    assert outcome.problem is not None
    recipes = tuple(f"torch.tensor({each.tolist()})" for each in call.storages)
    shrunk = ShrunkCall(call, recipes, 1)
    text = source(ReproScript(shrunk, "cpu", "draws", context, outcome.problem, "they are off"))
    assert _exit(text, fault) == 1
    assert _exit(text, nullcontext()) == 0


def test_draws_that_showed_nothing_make_no_script() -> None:
    call = capture(ATEN.normal_.default, (X,), {})
    with pytest.raises(ValueError, match="are often right"):
        source(
            ReproScript(
                ShrunkCall(call, ("torch.zeros(300)",), 1), "cpu", "draws", CallContext(), None, ""
            )
        )


def test_the_shadow_says_which_draws_have_no_rule() -> None:
    shadow = Shadow(SharedRandom())
    with shadow:
        ATEN._sample_dirichlet.default(torch.ones(3, 4))
        torch.randn(3)
    assert shadow.unreferenced == {"aten._sample_dirichlet.default": "its draws have no rule"}
    assert shadow.checked == 2  # ones, and randn


def test_the_shadow_adds_up_draws_of_several_passes() -> None:
    narrow = _planted("randn_like", lambda call, *a, **k: call(*a, **k).mul_(0.9**0.5))
    shadow = Shadow(SharedRandom())
    for step in range(1, 40):
        shadow.restart(step)
        with narrow, shadow:
            torch.randn_like(torch.empty(25, 40))
    first = shadow.findings[0]
    assert first.op == "aten.randn_like.default"
    assert "standard deviation 0.9" in first.judgement.values
    assert first.number == 2

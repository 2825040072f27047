"""One step on two sides: which phase they part in."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext
from typing import Any

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from mpstui.backends import open_backend
from mpstui.domain.devices import parse_device
from mpstui.domain.investigation import Lockstep
from mpstui.faults.library import Fault
from mpstui.modes.lockstep import in_lockstep
from mpstui.modes.shadow import Shadow
from mpstui.modes.shared_random import SharedRandom
from mpstui.modes.step import Side

CPU = open_backend(parse_device("cpu"))


def _planted(op: str, change: Callable[..., Any]) -> Fault:
    class Planted(Fault):
        ops = (op,)

        def faulty(self, call: Any, *args: Any, **kwargs: Any) -> Any:
            return change(call, *args, **kwargs)

    return Planted()  # type: ignore[no-untyped-call]


def _side(fault: Any, optimizer: Any = torch.optim.Adam) -> Side:
    torch.manual_seed(0)
    model = nn.Sequential(
        *(nn.Linear(6, 8), nn.BatchNorm1d(8), nn.Tanh(), nn.Dropout(0.5), nn.Linear(8, 3))
    )
    objective = lambda model, batch: F.cross_entropy(model(batch[0]), batch[1])  # noqa: E731
    optimizers = (optimizer(model.parameters(), foreach=False),)
    return Side(CPU, model, optimizers, objective, fault=fault)


G = torch.Generator().manual_seed(1)
BATCH = (torch.randn(16, 6, generator=G), torch.randint(3, (16,), generator=G))


def _step(fault: Any, optimizer: Any = torch.optim.Adam, under: Any = None) -> Lockstep:
    ours, theirs = _side(fault, optimizer), _side(nullcontext(), optimizer)
    return in_lockstep(ours, theirs, BATCH, 1, SharedRandom(), under)


def _rounded(call: Any, *args: Any) -> Any:
    noise = 1e-6 * torch.randn((), generator=torch.Generator().manual_seed(3))
    out = call(*args)
    return out * (1 + noise * torch.linspace(-1, 1, out.numel()).view_as(out))


@pytest.mark.parametrize("optimizer", [torch.optim.Adam, torch.optim.SGD])
@pytest.mark.parametrize("under", [False, True], ids=["plain", "shadow"])
def test_without_a_fault_both_sides_agree(optimizer: Any, under: bool) -> None:
    found = _step(nullcontext(), optimizer, Shadow(SharedRandom()) if under else None)
    assert (found.phase, found.step) == ("", 1)
    assert found.loss == found.cpu_loss  # dropout drew the same mask
    assert (found.gradient_gap, found.update_gap) == (0.0, 0.0)


def test_rounding_is_no_parting_even_where_a_gradient_is_nothing_else() -> None:
    """The bias before a batch norm has no gradient but rounding, and Adam makes its sign a step."""
    found = _step(_planted("native_batch_norm_backward", _noisy_gradient))
    assert found.phase == ""
    assert found.gradient_gap is not None
    assert 0 < found.gradient_gap < 1e-3
    assert found.update_gap == 0.0


def _noisy_gradient(call: Any, *args: Any) -> Any:
    grads = call(*args)
    return (grads[0] + 1e-8, *grads[1:])


@pytest.mark.parametrize(
    ("op", "change", "phase"),
    [
        ("tanh", lambda call, x: call(x) * 1.1, "forward"),
        ("tanh", lambda call, x: call(x) * float("nan"), "forward"),
        ("tanh_backward", lambda call, g, y: call(g, y) * 1.2, "backward"),
        ("tanh_backward", lambda call, g, y: call(g, y) * float("nan"), "backward"),
        ("addcdiv_", lambda call, x, *args, **kwargs: x, "optimizer"),
        ("addcdiv_", lambda call, x, *args, **kwargs: x.fill_(float("inf")), "optimizer"),
    ],
)
def test_the_phase_of_a_planted_fault_is_told(op: str, change: Any, phase: str) -> None:
    found = _step(_planted(op, change))
    assert found.phase == phase
    gaps = {"forward": 0, "backward": 1, "optimizer": 2}[phase]
    assert [found.loss_gap, found.gradient_gap, found.update_gap][:gaps] == [0.0] * gaps


@pytest.mark.parametrize("share", [1 + 1e-5, 1.01])
def test_small_differences_of_gradients_are_legitimate(share: float) -> None:
    assert _step(_planted("tanh_backward", lambda call, g, y: call(g, y) * share)).phase == ""


def test_the_parameter_that_is_furthest_off_is_named_and_updates_share_gradients() -> None:
    def grow(call: Any, grad: Any, *args: Any) -> Any:
        return call(grad, *args) * (2 if grad.shape[0] == 8 and grad.shape[1] == 16 else 1)

    found = _step(_planted("mm.default", grow))
    assert (found.phase, found.gradient_of) == ("backward", "0.weight")
    assert found.gradient_gap == pytest.approx(1.0)
    assert found.update_gap == 0.0  # both sides step with the device's gradients

    def stuck(call: Any, x: Any, *args: Any, **kwargs: Any) -> Any:
        return x if x.shape == (3, 8) else call(x, *args, **kwargs)

    found = _step(_planted("addcdiv_", stuck))
    assert (found.phase, found.update_of) == ("optimizer", "4.weight")


def test_both_losses_not_finite_is_no_parting_and_told_as_none() -> None:
    def sides() -> Side:
        side = _side(nullcontext())
        with torch.no_grad():
            side.model[4].bias.fill_(float("nan"))  # type: ignore[index]
        return side

    found = in_lockstep(sides(), sides(), BATCH, 1, SharedRandom())
    assert (found.phase, found.loss, found.cpu_loss, found.loss_gap) == ("", None, None, 0.0)


def test_where_draws_cannot_be_shared_nothing_is_said() -> None:
    draws = SharedRandom()
    draws.unshared.add("aten.some_attention.default")
    wrong = _planted("tanh", lambda call, x: call(x) * 1.1)
    assert in_lockstep(_side(wrong), _side(nullcontext()), BATCH, 1, draws).phase == ""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from torch import nn, optim
from torch.optim import Optimizer
from torch.optim.lr_scheduler import StepLR

from mpstui.domain.plan import SAME
from mpstui.engine.autotune.optimizers import (
    ELEMENTWISE,
    EXECUTION_OPTIONS,
    implement,
    implementations,
    load_state,
)

OPTIONS: dict[type[Optimizer], dict[str, Any]] = {
    optim.SGD: {"lr": 0.1, "momentum": 0.9, "nesterov": True},
    optim.RMSprop: {"lr": 0.01, "momentum": 0.5, "centered": True},
    optim.AdamW: {"lr": 0.01, "amsgrad": True},
    optim.Adam: {"lr": 0.01, "weight_decay": 0.1},
}


def built(kind: type[Optimizer], **options: Any) -> tuple[nn.Sequential, Optimizer]:
    torch.manual_seed(1)
    model = nn.Sequential(nn.Conv2d(1, 3, 3), nn.Flatten(), nn.Linear(48, 4))
    model.to(memory_format=torch.channels_last)
    groups: list[dict[str, Any]] = [
        {"params": list(model[0].parameters())},
        {"params": list(model[2].parameters()), "lr": 0.003},
    ]
    return model, kind(groups, **(OPTIONS.get(kind, {}) | options))


def trained(model: nn.Module, optimizer: Optimizer, steps: int, seed: int = 0) -> list[float]:
    draws = torch.Generator().manual_seed(seed)
    losses = []
    for _ in range(steps):
        images = torch.randn(5, 1, 6, 6, generator=draws)
        optimizer.zero_grad()
        loss = model(images).square().sum()
        torch.autograd.backward(loss)
        optimizer.step()
        losses.append(float(loss.detach()))
    return losses


@pytest.mark.parametrize("kind", ELEMENTWISE)
def test_a_flat_optimizer_steps_like_its_class_to_the_bit(kind: type[Optimizer]) -> None:
    plain_options = {"foreach": False}
    model, plain = built(kind, **plain_options)
    other, same = built(kind, **plain_options)
    trained(model, plain, 2), trained(other, same, 2)  # taken over in the middle
    flat = implement(same, "flat")
    tolerance = 1e-5 if kind in (optim.Adam, optim.AdamW, optim.SGD, optim.Adagrad) else 0.0
    losses, others = trained(model, plain, 4, seed=7), trained(other, flat, 4, seed=7)
    assert others == pytest.approx(losses, rel=tolerance, abs=0)
    for one, two in zip(model.parameters(), other.parameters(), strict=True):
        torch.testing.assert_close(two, one, rtol=tolerance, atol=tolerance)
        assert one.stride() == two.stride()


@pytest.mark.parametrize("kind", [optim.Adadelta, optim.Adam, optim.SGD])
def test_a_flat_optimizers_state_is_that_of_the_plain_one(kind: type[Optimizer]) -> None:
    model, plain = built(kind, foreach=False)
    other, same = built(kind, foreach=False)
    flat = implement(same, "flat")
    trained(model, plain, 3), trained(other, flat, 3)
    ours, theirs = flat.state_dict(), plain.state_dict()
    assert list(ours["state"]) == list(theirs["state"])
    for number, state in theirs["state"].items():
        assert ours["state"][number].keys() == state.keys()
        for name, value in state.items():
            torch.testing.assert_close(ours["state"][number][name], value, rtol=1e-5, atol=1e-7)
    for one, two in zip(ours["param_groups"], theirs["param_groups"], strict=True):
        assert {k: v for k, v in one.items() if k not in EXECUTION_OPTIONS} == {
            k: v for k, v in two.items() if k not in EXECUTION_OPTIONS
        }
    # And back: a plain run goes on from what a flat one saved.
    third, fresh = built(kind)
    third.load_state_dict(other.state_dict())
    load_state(fresh, ours)
    assert trained(third, fresh, 2, seed=5) == pytest.approx(trained(other, flat, 2, seed=5), 1e-5)


def test_a_flat_optimizer_follows_the_schedule() -> None:
    model, optimizer = built(optim.Adadelta)
    flat = implement(optimizer, "flat")
    schedule = StepLR(flat, step_size=1, gamma=0.5)
    trained(model, flat, 1)
    schedule.step()
    before = [parameter.detach().clone() for parameter in model.parameters()]
    for group in flat.param_groups:
        group["lr"] = 0.0
    trained(model, flat, 1)
    assert [group["initial_lr"] for group in flat.param_groups] == [1.0, 0.003]
    for parameter, old in zip(model.parameters(), before, strict=True):
        assert torch.equal(parameter, old)


@pytest.mark.parametrize("name", ["fused", "foreach"])
def test_torchs_own_implementations_go_on_from_the_state(name: str) -> None:
    model, plain = built(optim.Adam)
    other, same = built(optim.Adam)
    trained(model, plain, 2), trained(other, same, 2)
    changed = implement(same, name)
    assert changed.param_groups[0][name] is True
    losses = trained(model, plain, 3, seed=2)
    assert trained(other, changed, 3, seed=2) == pytest.approx(losses, rel=1e-5)


def test_a_saved_state_does_not_say_how_to_compute() -> None:
    _, plain = built(optim.Adam)
    saved = copy.deepcopy(plain.state_dict())
    for group in saved["param_groups"]:
        group |= {"fused": True, "capturable": True, "lr": 0.5}
    load_state(plain, saved)
    group = plain.param_groups[0]
    assert (group["fused"], group["capturable"], group["lr"]) == (None, False, 0.5)


def test_what_is_offered() -> None:
    _, adadelta = built(optim.Adadelta)
    assert implementations(adadelta) == ("foreach", "flat")
    model, adam = built(optim.Adam)
    assert implementations(adam) == ("fused", "foreach", "flat")
    assert implement(adam, SAME) is adam
    model[0].requires_grad_(False)
    trained(model, adam, 1)
    assert "flat" not in implementations(adam)  # it would move what has no gradient
    _, fresh = built(optim.AdamW)
    fresh.param_groups[0]["params"][0].requires_grad_(False)
    assert "flat" not in implementations(fresh)  # it would decay what is frozen

    class Own(optim.SGD):
        """Steps as it likes."""

    assert implementations(Own(model.parameters())) == ()
    assert implementations(optim.LBFGS(model.parameters())) == ()


@pytest.mark.parametrize("name", ["fused", "foreach"])
def test_what_is_hooked_around_a_step_goes_on_around_it(name: str) -> None:
    model, plain = built(optim.Adam)
    called: list[str] = []
    plain.register_step_pre_hook(lambda *_: called.append("before"))
    plain.register_step_post_hook(lambda *_: called.append("after"))
    assert implement(plain, name) is plain
    trained(model, plain, 2)
    assert called == ["before", "after"] * 2


def test_a_parameter_without_dimensions_does_not_make_the_count_of_steps_long() -> None:
    def alone() -> tuple[list[nn.Parameter], Optimizer]:
        parameters = [nn.Parameter(torch.tensor(1.0)), nn.Parameter(torch.ones(4))]
        return parameters, optim.Adam(parameters, lr=0.1, foreach=False)

    parameters, plain = alone()
    for parameter in parameters:
        parameter.grad = torch.ones_like(parameter)
    plain.step()
    flat = implement(plain, "flat")
    flat.zero_grad()
    torch.autograd.backward(parameters[0] * parameters[1].sum())
    flat.step()
    assert float(flat.state_dict()["state"][0]["step"]) == 2

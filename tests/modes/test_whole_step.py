"""A step that the user's code takes whole, on two sides: gradients are shared at each update."""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import nn

from mpstui.backends import open_backend
from mpstui.domain.devices import parse_device
from mpstui.domain.investigation import Lockstep
from mpstui.faults.library import Fault
from mpstui.modes.agreement import step_outcome
from mpstui.modes.lockstep import in_lockstep
from mpstui.modes.shared_random import SharedRandom
from mpstui.modes.step import Side, take_step

CPU = open_backend(parse_device("cpu"))
BATCH = (torch.linspace(-1, 1, 12).view(4, 3),)


class Two(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Linear(3, 3), nn.Linear(3, 1)


def _no_objective(model: nn.Module, batch: Any) -> torch.Tensor:
    raise NotImplementedError


def _side(fault: Any = None, updates: int = 2) -> Side:
    torch.manual_seed(0)
    model = Two()
    optimizers = tuple(
        torch.optim.Adam(part.parameters(), foreach=False) for part in (model.first, model.second)
    )

    def step(model: Any, batch: Any) -> torch.Tensor:
        (values,) = batch
        losses = []
        for number, optimizer in enumerate(optimizers[:updates]):
            optimizer.zero_grad()
            hidden = torch.tanh(model.first(values))
            # Only the second loss has a sigmoid.
            loss = (torch.sigmoid(model.second(hidden)) if number else hidden).square().mean()
            torch.autograd.backward(loss)
            optimizer.step()
            losses.append(loss.detach())
        if not updates:
            loss = torch.tanh(model.first(values)).square().mean()
            torch.autograd.backward(loss)
            losses.append(loss.detach())
        return sum(losses)  # type: ignore[return-value]

    return Side(CPU, model, optimizers, _no_objective, step, fault=fault or nullcontext())


def _wrong(op: str, factor: float = 1.5) -> Fault:
    class Wrong(Fault):
        ops = (op,)

        def faulty(self, call: Any, *args: Any, **kwargs: Any) -> Any:
            return call(*args, **kwargs) * factor

    return Wrong()  # type: ignore[no-untyped-call]


def _compared(fault: Any = None, updates: int = 2) -> Lockstep:
    device, cpu = _side(fault, updates), _side(updates=updates)
    return in_lockstep(device, cpu, BATCH, 1, SharedRandom())


def test_equal_sides_agree_and_report_each_phase() -> None:
    result = _compared()
    assert (result.phase, result.gradient_gap, result.update_gap) == ("", 0.0, 0.0)
    phases: list[str] = []
    take_step(_side(), BATCH, phases.append)
    update = ["backward", "forward", "optimizer", "forward"]
    assert phases == ["forward", *update, *update]


@pytest.mark.parametrize(
    ("op", "updates", "phase", "parameter"),
    [
        ("tanh_backward", 2, "backward", "first."),
        ("sigmoid_backward", 2, "backward", "second."),
        ("tanh_backward", 0, "backward", "first."),
        ("tanh", 2, "forward", ""),
        ("sqrt", 2, "optimizer", "first."),
    ],
)
def test_a_wrong_op_is_seen_in_its_phase(op: str, updates: int, phase: str, parameter: str) -> None:
    result = _compared(_wrong(op), updates)
    assert result.phase == phase
    name = result.update_of if phase == "optimizer" else result.gradient_of
    assert parameter in name
    if op == "sigmoid_backward":
        assert name.endswith(", update 2")


def test_a_wrong_gradient_moves_both_sides_alike() -> None:
    device, cpu = _side(_wrong("tanh_backward")), _side()
    in_lockstep(device, cpu, BATCH, 1, SharedRandom())
    for one, other in zip(device.model.parameters(), cpu.model.parameters(), strict=True):
        assert torch.equal(one, other)


def test_the_hooks_and_wrappers_of_a_compared_step_are_removed() -> None:
    side, backward, grad = _side(), torch.autograd.backward, torch.autograd.grad
    outcome = step_outcome(side, BATCH, 1, SharedRandom(), nullcontext())
    assert [sorted(update) for update in outcome.updates] == [
        ["first.bias", "first.weight"],
        ["second.bias", "second.weight"],
    ]
    assert (torch.autograd.backward, torch.autograd.grad) == (backward, grad)
    for optimizer in side.optimizers:
        assert not optimizer._optimizer_step_pre_hooks
        assert not optimizer._optimizer_step_post_hooks


class TwoPasses(torch.optim.SGD):
    """Sharpness-aware optimizers look like this: the loss is evaluated inside the step."""

    def step(self, closure: Any) -> Any:  # type: ignore[override]
        closure()
        return super().step()


def test_gradients_are_not_shared_with_an_optimizer_that_computes_its_own() -> None:
    side = _side()
    assert side.shares_updates
    parameters = list(side.model.parameters())
    for optimizer in (TwoPasses(parameters, lr=0.1), torch.optim.LBFGS(parameters)):
        assert not replace(side, optimizers=(optimizer,)).shares_updates

"""Writes out of bounds, planted, and steps that have none."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn

from mpstui.backends import open_backend
from mpstui.domain.devices import parse_device
from mpstui.faults.library import Fault
from mpstui.modes.lockstep import in_lockstep
from mpstui.modes.shared_random import SharedRandom
from mpstui.modes.step import Side, load, save
from mpstui.modes.trace import Trace
from mpstui.modes.write_guard import WriteGuard
from mpstui.ops.schema import op_info

from tests.builders.specimens import twin_of  # isort: skip

CPU = open_backend(parse_device("cpu"))


def _planted(op: str, change: Callable[..., Any]) -> Fault:
    class Planted(Fault):
        ops = (op,)

        def faulty(self, call: Any, *args: Any, **kwargs: Any) -> Any:
            return change(call, *args, **kwargs)

    return Planted()  # type: ignore[no-untyped-call]


class _Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.hidden, self.head = nn.Linear(6, 5), nn.Linear(5, 3)
        self.register_buffer("seen", torch.zeros(3))

    def forward(self, x: torch.Tensor) -> Any:
        self.get_buffer("seen").add_(1)
        return self.head(torch.tanh(self.hidden(x)))


def _side() -> Side:
    torch.manual_seed(0)
    model = _Net()
    optimizer = torch.optim.Adam(model.parameters(), foreach=False)
    objective = lambda model, batch: model(batch[0]).square().mean()  # noqa: E731
    side = Side(CPU, model, (optimizer,), objective)
    model(torch.ones(2, 6)).sum().backward()  # so that the optimizer has a state to be hit
    optimizer.step()
    return side


BATCH = (torch.linspace(-1, 1, 24).view(4, 6),)


def _ops() -> list[str]:
    """A step's, in order."""
    side = _side()
    trace = Trace(side, SharedRandom())
    in_lockstep(side, _side(), BATCH, 1, SharedRandom(), trace)
    return [each.op for each in trace.ops]


@pytest.mark.parametrize("victim", ["head.weight", "seen", "exp_avg of hidden.weight"])
@pytest.mark.parametrize(
    ("op", "phase"), [("tanh", "forward"), ("tanh_backward", "backward"), ("addcdiv_", "optimizer")]
)
def test_a_write_out_of_bounds_names_the_op_and_its_victim(
    op: str, phase: str, victim: str
) -> None:
    def trespass(call: Any, *args: Any, **kwargs: Any) -> Any:
        torch.as_strided(side.state_tensors()[victim].detach(), (2,), (1,), 1).add_(3)
        return call(*args, **kwargs)

    side = _side()
    object.__setattr__(side, "fault", _planted(op, trespass))
    guard = WriteGuard(side, SharedRandom())
    in_lockstep(side, _side(), BATCH, 1, SharedRandom(), guard)
    found = guard.write
    assert found is not None
    assert (found.op, found.phase, found.victim) == (f"aten.{op}.default", phase, victim)
    assert found.call.op == found.op
    assert _ops()[found.number - 1] == found.op


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16, torch.uint8])
def test_a_single_bit_in_what_an_earlier_op_returned_is_seen(dtype: torch.dtype) -> None:
    kept: list[torch.Tensor] = []
    side = _side()
    guard = WriteGuard(side, SharedRandom())
    guard.restart(1)

    def trespass(call: Any, x: torch.Tensor) -> Any:
        kept[0].view(torch.uint8)[-1] ^= 1
        return call(x)

    with _planted("tanh", trespass), guard:
        kept.append(torch.ones(5, dtype=dtype).mul(1))
        torch.tanh(torch.ones(3))
    assert guard.write is not None
    assert guard.write.victim == "the output of op 2, aten.mul.Tensor"


@pytest.mark.parametrize("name", ["convnet", "lstm", "column", "half", "transformer"])
def test_steps_that_keep_to_their_own_have_no_trespasser(name: str) -> None:
    twin = twin_of(name)
    guard = WriteGuard(twin.device, SharedRandom())
    for step in (1, 2):
        in_lockstep(twin.device, twin.cpu, twin.batch(step), step, SharedRandom(), guard)
        assert guard.write is None
        load(twin.cpu, save(twin.device))
    assert guard.index > 20


def test_the_batch_norm_of_cuda_may_move_its_running_statistics() -> None:
    facts = op_info(torch.ops.aten.cudnn_batch_norm.default)  # its schema marks no write either
    assert [name for _, name in facts.writes] == ["running_mean", "running_var"]

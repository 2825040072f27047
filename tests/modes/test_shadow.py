"""The shadow over a step with faults planted in it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode

from mpstui.faults.library import Fault
from mpstui.modes.journal import Journal, last_entry
from mpstui.modes.shadow import MAX_CALLS, OpFinding, OpReached, Shadow
from mpstui.modes.shared_random import SharedRandom

Change = Callable[..., Any]


def _planted(op: str, change: Change) -> Fault:
    class Planted(Fault):
        ops = (op,)

        def faulty(self, call: Any, *args: Any, **kwargs: Any) -> Any:
            return change(call, *args, **kwargs)

    return Planted()  # type: ignore[no-untyped-call]


class _Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.enter, self.drop = nn.Linear(6, 8), nn.Dropout(0.5)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        h = torch.tanh(self.drop(self.enter(x)))
        places = (h > 0).long().cumsum(1)
        held = torch.zeros(3, 8).index_add(0, torch.tensor([0, 1, 2, 0]), h * (1 + places))
        held.index_add_(0, torch.tensor([1, 1]), h[:2])
        return held.sigmoid().sum()


def _step(mode: Any, fault: Any, steps: int = 1) -> float:
    torch.manual_seed(0)
    net, x = _Net(), torch.randn(4, 6)
    optimizer = torch.optim.Adam(net.parameters(), foreach=False)
    for step in range(steps):
        optimizer.zero_grad()
        if isinstance(mode, Shadow):
            mode.restart(step)
        with fault, mode:
            mode.phase = "forward"
            loss = net(x)
            mode.phase = "backward"
            loss.backward()
            mode.phase = "optimizer"
            optimizer.step()
    return float(loss.detach())


class _Counter(TorchDispatchMode):
    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.ops: list[str] = []

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Any = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        self.ops.append(str(func))
        return func(*args, **(kwargs or {}))


OPS = _Counter()
_step(OPS, _planted("no such op", lambda: None))

FAULTS: dict[str, tuple[str, Change, str, str, str]] = {
    # op, what it does, its full name, phase, the result that is wrong
    "forward": ("tanh", lambda call, x: call(x) * 1.1, "aten.tanh.default", "forward", "output"),
    "backward": (
        *("sigmoid_backward", lambda call, g, y: -call(g, y), "aten.sigmoid_backward.default"),
        *("backward", "output"),
    ),
    "optimizer": (
        *("addcdiv_", lambda call, x, *args, **kwargs: x, "aten.addcdiv_.default"),
        *("optimizer", "argument self"),
    ),
    "mutated argument": (
        *("index_add_", lambda call, x, *args: x, "aten.index_add_.default"),
        *("forward", "argument self"),
    ),
    "int": ("cumsum", lambda call, x, d: call(x, d) + 1, "aten.cumsum.default", "forward", ""),
}


@pytest.mark.parametrize("keep", [False, True])
@pytest.mark.parametrize("name", FAULTS)
def test_a_planted_fault_is_found_where_it_is_and_nowhere_else(name: str, keep: bool) -> None:
    packet, change, op, phase, where = FAULTS[name]
    shadow = Shadow(SharedRandom(), keep=keep)
    _step(shadow, _planted(packet, change))
    assert [each.op for each in shadow.findings] == [op] * OPS.ops.count(op)
    assert OPS.ops.count(op) == (2 if phase == "optimizer" else 1)
    found = shadow.findings[0]
    assert (found.phase, found.judgement.status) == (phase, "wrong")
    assert found.number == OPS.ops.index(op) + 1
    assert where in found.judgement.where
    # What an op wrote over can only be kept from before.
    assert (found.call is None) == (not keep and where.startswith("argument"))
    if found.call is not None:
        assert found.call.op == op


def test_without_a_fault_it_finds_nothing_counts_each_op_and_leaves_the_step_as_it_is() -> None:
    shadow = Shadow(SharedRandom())
    none = _planted("no such op", lambda: None)
    loss = _step(shadow, none)
    assert (shadow.findings, shadow.unreferenced) == ([], {})
    assert shadow.index == len(OPS.ops)
    assert len(OPS.ops) // 2 < shadow.checked < len(OPS.ops)  # not views, nor empty tensors
    assert _step(Shadow(SharedRandom(), only=frozenset()), none) == loss
    assert _step(Shadow(SharedRandom(1)), none) != loss  # other draws


def test_only_the_ops_asked_for_are_checked_and_only_a_few_wrong_calls_kept() -> None:
    fault = _planted("tanh", lambda call, x: call(x) * 1.1)
    number = OPS.ops.index("aten.tanh.default") + 1
    other = OPS.ops.index("aten.cumsum.default") + 1
    for only, count in ((frozenset({number}), 1), (frozenset({other}), 0)):
        shadow = Shadow(SharedRandom(), only=only)
        _step(shadow, fault)
        assert (shadow.checked, len(shadow.findings)) == (1, count)
    shadow = Shadow(SharedRandom())
    _step(shadow, fault, steps=MAX_CALLS + 2)
    assert [each.call is not None for each in shadow.findings] == [True] * MAX_CALLS + [False] * 2


def test_it_stops_before_an_op_that_has_been_written_down(tmp_path: Path) -> None:
    ran: list[str] = []

    def tanh(call: Any, x: torch.Tensor) -> Any:
        ran.append("tanh")
        return call(x)

    number = OPS.ops.index("aten.tanh.default") + 1
    shadow = Shadow(SharedRandom(), Journal(tmp_path / "journal"), only=frozenset(), stop=number)
    with pytest.raises(OpReached):
        _step(shadow, _planted("tanh", tanh))
    begun = last_entry(tmp_path / "journal")
    assert begun is not None
    assert (begun.index, begun.phase, begun.op) == (number, "forward", "aten.tanh.default")
    assert (ran, shadow.findings) == ([], [])


def test_draws_that_are_never_written_are_found_and_replaced() -> None:
    shadow = Shadow(SharedRandom(), keep=True)
    x = torch.zeros(20, 10)
    with _planted("bernoulli_", lambda call, x: x), shadow:
        x.t().bernoulli_(0.5)
    (found,) = shadow.findings
    assert isinstance(found, OpFinding)
    assert (found.op, found.judgement.where) == ("aten.bernoulli_.float", "draws")
    assert "never written" in found.judgement.values
    assert found.call is not None
    assert 50 < float(x.sum()) < 150


def test_an_op_without_a_reference_is_never_called_right() -> None:
    shadow = Shadow(SharedRandom())
    x, zeros = torch.ones(2), torch.zeros(7)
    with _planted("cudnn_grid_sampler", lambda call, x, grid: zeros), shadow:
        out = torch.ops.aten.cudnn_grid_sampler(x, x)
    assert out.tolist() == [0.0] * 7
    assert (shadow.checked, shadow.findings) == (0, [])
    assert list(shadow.unreferenced) == ["aten.cudnn_grid_sampler.default"]
    assert "NotImplementedError" in shadow.unreferenced["aten.cudnn_grid_sampler.default"]


def test_a_result_that_is_missing_is_wrong() -> None:
    shadow = Shadow(SharedRandom())
    with _planted("unbind_copy", lambda call, x: call(x)[:2]), shadow:
        torch.unbind_copy(torch.ones(3, 2))
    (found,) = [each for each in shadow.findings if "unbind" in each.op]
    assert found.judgement.values == "2 results where 3 are right"

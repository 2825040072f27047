"""Where two sides part, and which line and parameter each op belongs to."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext
from typing import Any

import torch
from torch import nn

from mpstui.backends import open_backend
from mpstui.domain.devices import parse_device
from mpstui.faults.library import Fault
from mpstui.investigate.step_inspector import anomaly
from mpstui.modes.lockstep import in_lockstep
from mpstui.modes.shared_random import SharedRandom
from mpstui.modes.step import Side
from mpstui.modes.trace import FirstDivergence, Trace, TracedOp, first_divergence

CPU = open_backend(parse_device("cpu"))


def _planted(op: str, change: Callable[..., Any]) -> Fault:
    class Planted(Fault):
        ops = (op,)

        def faulty(self, call: Any, *args: Any, **kwargs: Any) -> Any:
            return change(call, *args, **kwargs)

    return Planted()  # type: ignore[no-untyped-call]


class _Net(nn.Module):
    def __init__(self, activation: Any = torch.tanh) -> None:
        super().__init__()
        self.hidden, self.head = nn.Linear(6, 5), nn.Linear(5, 3)
        self.activation = activation
        self.register_buffer("seen", torch.zeros(3))

    def forward(self, x: torch.Tensor) -> Any:
        self.get_buffer("seen").add_(1)
        h = self.activation(self.hidden(x))
        return self.head(h)


def _side(fault: Any = None, activation: Any = torch.tanh) -> Side:
    torch.manual_seed(0)
    model = _Net(activation)
    optimizer = torch.optim.Adam(model.parameters(), foreach=False)
    objective = lambda model, batch: model(batch[0]).square().mean()  # noqa: E731
    side = Side(CPU, model, (optimizer,), objective, fault=fault or nullcontext())
    model(torch.ones(2, 6)).sum().backward()  # so that the optimizer has a state to be hit
    optimizer.step()
    return side


BATCH = (torch.linspace(-1, 1, 24).view(4, 6),)


def _ran(side: Side) -> list[TracedOp]:
    trace = Trace(side, SharedRandom())
    with anomaly():
        in_lockstep(side, _side(), BATCH, 1, SharedRandom(), trace)
    return trace.ops


def test_sides_that_run_the_same_do_not_part() -> None:
    ours = _ran(_side())
    assert len(ours) > 30
    assert first_divergence(ours, _ran(_side())) is None
    assert (
        first_divergence(ours, _ran(_side(_planted("tanh", lambda c, x: c(x) * (1 + 1e-6)))))
        is None
    )


def test_they_part_at_another_op_or_at_another_value_or_where_one_ends() -> None:
    plain, other = _ran(_side()), _ran(_side(activation=torch.sigmoid))
    at = [each.op for each in plain].index("aten.tanh.default")
    found = first_divergence(plain, other)
    assert found == FirstDivergence(at + 1, plain[at], other[at], "op", "")
    assert found.cpu_op is not None
    assert found.cpu_op.op == "aten.sigmoid.default"
    wrong = _ran(_side(_planted("tanh", lambda call, x: call(x) * 1.01)))
    assert first_divergence(wrong, plain) == FirstDivergence(
        at + 1, wrong[at], plain[at], "result", "another result"
    )
    assert first_divergence(plain[:9], plain) == FirstDivergence(10, None, plain[9], "op", "")


def test_a_device_may_run_other_ops_where_its_kernels_are_others() -> None:
    plain, other = _ran(_side()), _ran(_side(activation=torch.sigmoid))
    assert first_divergence(plain[:9], plain, same_ops=False) is None
    place = first_divergence(other, plain, same_ops=False)
    assert place is not None
    # What another op made of it is read by the next.
    assert (place.kind, place.device_op.op if place.device_op else "") == (
        "input",
        "aten.detach.default",
    )


def test_an_input_that_differs_already_names_what_it_comes_from() -> None:
    def shifted(call: Any, x: torch.Tensor) -> Any:
        view = call(x)
        return view.roll(1, 0) if view.shape == (5, 3) else view

    ours, theirs = _ran(_side(_planted("t", shifted))), _ran(_side())
    place = first_divergence(ours, theirs)
    assert place is not None and place.device_op is not None
    assert place.device_op.op == "aten.t.default"
    assert place.kind == "result"


def test_another_argument_is_named_with_both_values() -> None:
    ours = _ran(_side(activation=lambda x: torch.nn.functional.leaky_relu(x, 0.2)))
    theirs = _ran(_side(activation=lambda x: torch.nn.functional.leaky_relu(x, 0.1)))
    place = first_divergence(ours, theirs)
    assert place is not None
    assert (place.kind, place.text) == ("argument", "negative_slope=0.2 where 0.1 is right")


def test_the_line_and_the_parameters_of_each_op() -> None:
    ran = _ran(_side())
    lines = {(each.op, each.phase, each.origin.code): each.origin for each in ran}
    hidden, head = "h = self.activation(self.hidden(x))", "return self.head(h)"
    for code, name in ((hidden, "hidden"), (head, "head")):
        both = {f"{name}.weight", f"{name}.bias"}
        forward = lines["aten.addmm.default", "forward", code]
        assert set(forward.parameters) == both
        assert forward.source.startswith("test_trace.py:")
        backward = [
            each for each in ran if each.op == "aten.mm.default" and each.origin.code == code
        ]
        assert {each.phase for each in backward} == {"backward"}
        assert any(each.origin.parameters == (f"{name}.weight",) for each in backward)
    assert lines["aten.tanh_backward.default", "backward", hidden].parameters == ()
    steps = [each.origin for each in ran if each.op == "aten.addcdiv_.default"]
    assert [place.parameters for place in steps] == [
        *(("hidden.weight",), ("hidden.bias",), ("head.weight",), ("head.bias",))
    ]
    assert {(place.source, place.code) for place in steps} == {("", "")}


def test_the_sum_that_makes_a_bias_gradient_belongs_to_the_bias() -> None:
    sums = [each for each in _ran(_side()) if each.op == "aten.sum.dim_IntList"]
    assert [each.origin.parameters for each in sums] == [("head.bias",), ("hidden.bias",)]

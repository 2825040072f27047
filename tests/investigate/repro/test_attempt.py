"""A call again, alone, in each of the contexts that a fault may need."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext
from typing import Any

import pytest
import torch

from mpstui.backends import open_backend
from mpstui.domain.devices import parse_device
from mpstui.faults.library import FAULTS, Fault, in_backward
from mpstui.investigate.repro.attempt import CallContext, CallOutcome, attempt
from mpstui.ops.call import Call, capture

CPU = open_backend(parse_device("cpu"))
ATEN: Any = torch.ops.aten
TANH = capture(ATEN.tanh.default, (torch.linspace(-2, 2, 30).view(5, 6).t(),), {})


def _planted(op: str, change: Callable[..., Any]) -> Fault:
    class Planted(Fault):
        ops = (op,)

        def faulty(self, call: Any, *args: Any, **kwargs: Any) -> Any:
            return change(call, *args, **kwargs)

    return Planted()  # type: ignore[no-untyped-call]


def _after(wrong: Callable[[list[str]], bool]) -> Fault:
    """Tanh is wrong when what has run says so."""
    ran: list[str] = []

    def change(call: Any, *args: Any) -> Any:
        ran.append(str(call))
        return call(*args) * (2 if "tanh" in str(call) and wrong(ran) else 1)

    fault = _planted("tanh", change)
    type(fault).ops = ("tanh", "exp")
    return fault


def _tried(
    fault: Any,
    context: CallContext = CallContext(),  # noqa: B008
    call: Call = TANH,
    **kwargs: Any,
) -> CallOutcome:
    return attempt(call, CPU, fault, context, **kwargs)


def test_a_sound_call_is_right_also_in_backward_and_several_times() -> None:
    outcome = _tried(nullcontext())
    assert (outcome.wrong, outcome.text, outcome.well_posed) == (0, "right", True)
    assert torch.equal(dict(outcome.results[0])["output"], torch.tanh(TANH.view(TANH.slots[0])))
    assert _tried(nullcontext(), CallContext(True, 3)).text == "right 3 of 3 times"


def test_what_goes_wrong_inside_a_backward_pass_alone() -> None:
    fault = _after(lambda ran: in_backward())
    assert _tried(fault).text == "right"
    outcome = _tried(fault, CallContext(backward=True))
    assert (outcome.text, outcome.wrong, outcome.well_posed) == ("wrong", 1, True)
    assert outcome.judgements[0].where == "output"


def test_what_goes_wrong_from_the_second_time_on() -> None:
    assert _tried(_after(lambda ran: len(ran) > 1)).text == "right"
    outcome = _tried(_after(lambda ran: len(ran) > 1), CallContext(times=3))
    assert outcome.text == "wrong 2 of 3 times"
    assert len(outcome.results) == 3


@pytest.mark.parametrize("backward", [False, True])
def test_what_goes_wrong_behind_another_call(backward: bool) -> None:
    exp = capture(ATEN.exp.default, (torch.ones(2),), {})
    fault = _after(lambda ran: ran[0] == "aten.exp.default" and in_backward() == backward)
    assert _tried(fault, CallContext(backward)).text == "right"
    fault = _after(lambda ran: ran[0] == "aten.exp.default" and in_backward() == backward)
    assert _tried(fault, CallContext(backward, before=(exp,))).text == "wrong"


def test_a_fault_of_strides_is_gone_when_dense() -> None:
    x = torch.linspace(-2, 2, 30).view(5, 6).t()
    call = capture(ATEN.softplus.default, (x,), {})
    assert _tried(FAULTS["softplus-strided"](), call=call).text == "wrong"
    assert _tried(FAULTS["softplus-strided"](), call=call, dense=True).text == "right"


def test_draws_are_looked_at_until_it_shows_and_their_problem_is_kept() -> None:
    call = capture(ATEN.normal_.default, (torch.zeros(20, 10).t(), 0.0, 1.0), {})
    outcome = _tried(FAULTS["random-strided"](), call=call)
    assert (outcome.text, outcome.wrong) == ("wrong", 1)
    assert outcome.problem is not None
    assert outcome.problem.code == "torch.equal(got, before)"
    assert _tried(nullcontext(), call=call).text == "right, 100 calls"


def test_draws_add_up_over_as_many_calls_as_it_takes() -> None:
    call = capture(ATEN.normal_.default, (torch.zeros(30, 40), 0.0, 1.0), {})
    narrow = _planted("normal_", lambda call, *a: call(*a).mul_(0.9**0.5))
    outcome = _tried(narrow, call=call, context=CallContext(times=2))
    assert outcome.wrong == 2
    assert 3 < outcome.calls < 30
    assert outcome.text == f"wrong 2 of 2 times, {outcome.calls} calls each"
    assert outcome.problem is not None
    assert outcome.problem.calls > outcome.calls


def test_a_repro_repeats_what_not_every_call_shows() -> None:
    call = capture(ATEN.normal_.default, (torch.zeros(1), 0.0, 1.0), {})
    runs = iter(range(1000))
    far = _planted("normal_", lambda call, x, *a: call(x, *a).add_(next(runs) % 7 // 6 * 50))
    outcome = _tried(far, call=call)
    assert (outcome.wrong, outcome.calls) == (1, 7)
    assert outcome.problem is not None
    assert outcome.problem.calls == 28


def test_an_op_whose_draws_have_no_rule_is_not_judged() -> None:
    x = torch.ones(1, 1, 2, 4)
    attention = ATEN._scaled_dot_product_flash_attention_for_cpu.default
    outcome = _tried(nullcontext(), call=capture(attention, (x, x, x, 0.5), {}))
    assert outcome.text == "not run: its draws have no rule"


def test_what_is_refused_is_neither_right_nor_wrong() -> None:
    call = capture(ATEN.mm.default, (torch.ones(2, 3), torch.ones(2, 3)), {})
    outcome = _tried(nullcontext(), call=call)
    # Torch 2.15 puts the op's name in front of what 2.14 said.
    assert outcome.text.startswith("not run: RuntimeError: ")
    assert "mat1 and mat2 shapes cannot be multiplied" in outcome.text
    assert (outcome.judgements, outcome.wrong) == ((), 0)


def test_a_call_that_the_cpu_itself_loses_is_not_well_posed() -> None:
    values = torch.tensor([3e7, 1.0, -3e7])
    call = capture(ATEN.cumsum.default, (values, 0), {})
    tripled = _planted("cumsum", lambda call, x, dim: call(x, dim) * 3)
    assert _tried(tripled, call=call).well_posed  # the largest value is right
    call = capture(ATEN.sum.default, (torch.tensor([1e8, 1.0, -1e8, 0.5]),), {})
    outcome = _tried(_planted("sum", lambda call, x: call(x) + 900), call=call)
    assert (outcome.text, outcome.well_posed) == ("wrong", False)


def test_a_result_too_many_is_wrong() -> None:
    call = capture(ATEN.unbind_copy.int, (torch.ones(3, 2),), {})
    outcome = _tried(_planted("unbind_copy", lambda call, x: call(x)[:2]), call=call)
    assert outcome.judgements[0].values == "2 results where 3 are right"

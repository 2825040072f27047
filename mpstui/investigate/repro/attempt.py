"""Repeats one call alone: several times, in a backward pass, or after other calls."""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import Any, NamedTuple

import torch

from mpstui.backends import Backend
from mpstui.numerics import REFUSALS, tolerance
from mpstui.ops.call import Call
from mpstui.ops.changes import before_call, with_changes
from mpstui.ops.judge import NamedTensors, OpJudgement, judge
from mpstui.ops.randomness.checks import NO_RULE, REPEATED, RandomChecks, RandomProblem, has_rule
from mpstui.ops.references import run
from mpstui.ops.schema import is_random, op_info, results, written

ENOUGH_NUMBERS = 2**17
"""Number of random numbers after which a call without a finding counts as right."""

ENOUGH_CALLS = 100
"""Number of calls with few random numbers after which the same holds."""


class CallContext(NamedTuple):
    """How a call is repeated: with its backward, how often, and after which other calls."""

    backward: bool = False
    """Whether it runs in autograd's backward, which some faults require."""
    times: int = 1
    """The number of repetitions."""
    before: tuple[Call, ...] = ()
    """Calls that run first."""


class CallOutcome(NamedTuple):
    """The outcome of a call."""

    judgements: tuple[OpJudgement, ...]
    """One per repetition."""
    results: tuple[list[tuple[str, torch.Tensor]], ...] = ()
    """The results of each repetition, on the CPU."""
    problem: RandomProblem | None = None
    """The problem with its random numbers, if any."""
    refused: str = ""
    """Why it could not be judged; empty if it was."""
    calls: int = 1
    """Most calls needed per repetition: random numbers of several calls are combined."""
    well_posed: bool = True
    """Whether the CPU computes the call accurately; otherwise it cannot show a fault."""

    @property
    def wrong(self) -> int:
        """The number of wrong repetitions."""
        return sum(judgement.status == "wrong" for judgement in self.judgements)

    @property
    def text(self) -> str:
        """The outcome as a short text."""
        if self.refused:
            return f"not run: {self.refused}"
        count, calls_text = len(self.judgements), f", {self.calls} calls" if self.calls > 1 else ""
        calls_text += " each" if calls_text and count > 1 else ""
        if not self.wrong:
            return (
                f"right{calls_text}"
                if count == 1
                else f"right {count} of {count} times{calls_text}"
            )
        return (
            f"wrong{calls_text}"
            if count == 1
            else f"wrong {self.wrong} of {count} times{calls_text}"
        )


def attempt(
    call: Call,
    backend: Backend,
    fault: AbstractContextManager[Any],
    context: CallContext = CallContext(),  # noqa: B008 - immutable
    *,
    dense: bool = False,
) -> CallOutcome:
    """Run a call on a device and judge it.

    Args:
        call: The call.
        backend: The device.
        fault: A simulated fault, active while it runs.
        context: The context.
        dense: Whether to make its inputs contiguous.
    """
    try:
        for earlier in context.before:
            _run(earlier, backend, fault, context.backward)
        return _judge(call, backend, fault, context, dense)
    except (*REFUSALS, run.Unreferenced) as error:
        return CallOutcome((), refused=" ".join(str(error).split())[:160] or type(error).__name__)


def _judge(
    call: Call, backend: Backend, fault: Any, context: CallContext, dense: bool
) -> CallOutcome:
    op, info = call.function, op_info(call.function)
    args, kwargs = call.on()
    if is_random(op, info, args, kwargs):
        return _judge_random(call, backend, fault, context, dense)
    before = before_call(info, args, kwargs)
    cpu_results = run.of_call(call, dense=dense)
    expected = with_changes(cpu_results, before)

    def exact(rounded: bool = False) -> NamedTensors:
        exact_results = run.exact(call, cpu_results, dense=dense, rounded=rounded)
        return with_changes(exact_results, before)

    judgements, returned = [], []
    for _ in range(context.times):
        device_results = run.comparable_results(
            info, _run(call, backend, fault, context.backward, dense)
        )
        actual = with_changes(device_results, before)
        if [name for name, _ in actual] != [name for name, _ in expected]:
            message = f"{len(actual)} results where {len(expected)} are right"
            judgements.append(OpJudgement("wrong", "results", values=message))
            continue
        judgements.append(
            judge(
                actual,
                expected,
                lambda: [tensor for _, tensor in exact()],
                lambda: [tensor for _, tensor in exact(rounded=True)],
                before,
            )
        )
        returned.append(device_results)
    wrong = any(judgement.status == "wrong" for judgement in judgements)
    return CallOutcome(
        tuple(judgements), tuple(returned), well_posed=not wrong or _well_posed(expected, exact())
    )


def _well_posed(cpu_results: NamedTensors, exact: NamedTensors) -> bool:
    for (_, cpu_tensor), (_, exact_tensor) in zip(cpu_results, exact, strict=True):
        if cpu_tensor.is_floating_point() and cpu_tensor.numel():
            error = (cpu_tensor.double() - exact_tensor.double()).abs().amax()
            if not error <= tolerance(cpu_tensor.dtype) / 8 * exact_tensor.double().abs().amax():
                return False
    return True


def _judge_random(
    call: Call, backend: Backend, fault: Any, context: CallContext, dense: bool
) -> CallOutcome:
    """Repeat a random call until it shows a fault, or enough numbers show none."""
    info = op_info(call.function)
    if not has_rule(info):
        raise run.Unreferenced(NO_RULE)
    judgements, results, problem, most_calls = [], [], None, 1
    for _ in range(context.times):
        checks, found_problem, number_count, outputs, calls = RandomChecks(), None, 0, [], 0
        while found_problem is None and (
            calls < 2 or (calls < ENOUGH_CALLS and number_count < ENOUGH_NUMBERS)
        ):
            args, kwargs = call.on(dense=dense)
            before = [tensor for _, tensor in written(info, args, kwargs)]
            outputs = _run(call, backend, fault, context.backward, dense)
            found_problem = checks.problem(info, args, [tensor for _, tensor in outputs], before)
            number_count += sum(tensor.numel() for _, tensor in outputs)
            calls += 1
        if (
            found_problem is not None
            and not found_problem.per_call
            and "again" not in found_problem.code
            and calls > 1
        ):
            found_problem = found_problem._replace(
                calls=REPEATED * calls
            )  # a single call may not show it
        judgements.append(
            OpJudgement("wrong" if found_problem else "right", "draws", values=_text(found_problem))
        )
        problem, most_calls = problem or found_problem, max(most_calls, calls)
        results.append(outputs)
    return CallOutcome(tuple(judgements), tuple(results), problem, calls=most_calls)


def _text(problem: RandomProblem | None) -> str:
    return problem.text if problem else ""


def _run(
    call: Call, backend: Backend, fault: Any, backward: bool, dense: bool = False
) -> list[tuple[str, torch.Tensor]]:
    op, info = call.function, op_info(call.function)
    args, kwargs = call.on(backend.device, dense=dense)
    if not backward:
        with torch.no_grad(), fault:
            out = op(*args, **kwargs)
    else:
        out = in_backward(lambda: op(*args, **kwargs), backend.device, fault)
    backend.synchronize()
    return [(name, tensor.cpu()) for name, tensor in results(info, out, args, kwargs)]


def in_backward(run: Any, device: torch.device, fault: Any) -> Any:
    """Run a function inside a backward pass; returns its result."""
    returned: list[Any] = []

    class Inside(torch.autograd.Function):
        @staticmethod
        def forward(ctx: Any, x: torch.Tensor) -> torch.Tensor:
            return x.clone()

        @staticmethod
        def backward(ctx: Any, gradient: torch.Tensor) -> torch.Tensor:
            returned.append(run())
            return gradient

    x = torch.ones((), device=device, requires_grad=True)
    y = Inside.apply(x)
    with fault:
        torch.autograd.backward(y)
    return returned[0]

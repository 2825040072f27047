"""One call again, alone: as it was, several times, inside a backward pass, behind other calls."""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import Any, NamedTuple

import torch

from mpstui.backends import Backend
from mpstui.numerics import REFUSALS, tolerance
from mpstui.ops.call import Call
from mpstui.ops.changes import before_call, with_changes
from mpstui.ops.judge import Named, OpJudgement, judge
from mpstui.ops.randomness.checks import NO_RULE, REPEATED, RandomChecks, RandomProblem, has_rule
from mpstui.ops.references import run
from mpstui.ops.schema import is_random, op_info, results, written

DRAWN = 2**17
"""Draws after which right ones are called right."""

DRAWN_CALLS = 100
"""Calls of a few draws after which they are."""


class CallContext(NamedTuple):
    """What a call is surrounded by."""

    backward: bool = False
    """Whether it runs inside autograd's backward: some faults need that."""
    times: int = 1
    """How often it is run."""
    before: tuple[Call, ...] = ()
    """What is run first."""


class CallOutcome(NamedTuple):
    """How a call went."""

    judgements: tuple[OpJudgement, ...]
    """One each time."""
    results: tuple[list[tuple[str, torch.Tensor]], ...] = ()
    """What it gave each time, on the CPU."""
    problem: RandomProblem | None = None
    """Of draws."""
    refused: str = ""
    """Why there is nothing to judge."""
    calls: int = 1
    """How many calls it took to see it each time, at most: draws add up."""
    well_posed: bool = True
    """Whether the CPU itself gets the call right, by far: else it cannot show a fault."""

    @property
    def wrong(self) -> int:
        """How many times it was wrong."""
        return sum(judgement.status == "wrong" for judgement in self.judgements)

    @property
    def words(self) -> str:
        """In a few words."""
        if self.refused:
            return f"not run: {self.refused}"
        count, several = len(self.judgements), f", {self.calls} calls" if self.calls > 1 else ""
        several += " each" if several and count > 1 else ""
        if not self.wrong:
            return f"right{several}" if count == 1 else f"right {count} of {count} times{several}"
        return f"wrong{several}" if count == 1 else f"wrong {self.wrong} of {count} times{several}"


def attempt(
    call: Call,
    backend: Backend,
    fault: AbstractContextManager[Any],
    context: CallContext = CallContext(),  # noqa: B008 - it cannot change
    *,
    dense: bool = False,
) -> CallOutcome:
    """Run a call on a device and judge it.

    Args:
        call: What to run.
        backend: The device.
        fault: A simulated fault to run it in.
        context: What surrounds it.
        dense: Whether its inputs are made contiguous.
    """
    try:
        for earlier in context.before:
            _run(earlier, backend, fault, context.backward)
        return _judged(call, backend, fault, context, dense)
    except (*REFUSALS, run.Unreferenced) as error:
        return CallOutcome((), refused=" ".join(str(error).split())[:160] or type(error).__name__)


def _judged(
    call: Call, backend: Backend, fault: Any, context: CallContext, dense: bool
) -> CallOutcome:
    op, facts = call.function, op_info(call.function)
    args, kwargs = call.on()
    if is_random(op, facts, args, kwargs):
        return _drawn(call, backend, fault, context, dense)
    before = before_call(facts, args, kwargs)
    plain = run.of_call(call, dense=dense)
    on_cpu = with_changes(plain, before)

    def exact(rounded: bool = False) -> Named:
        named = run.exact(call, plain, dense=dense, rounded=rounded)
        return with_changes(named, before)

    judgements, given = [], []
    for _ in range(context.times):
        ran = run.compared(facts, _run(call, backend, fault, context.backward, dense))
        ours = with_changes(ran, before)
        if [name for name, _ in ours] != [name for name, _ in on_cpu]:
            words = f"{len(ours)} results where {len(on_cpu)} are right"
            judgements.append(OpJudgement("wrong", "results", values=words))
            continue
        judgements.append(
            judge(
                ours,
                on_cpu,
                lambda: [tensor for _, tensor in exact()],
                lambda: [tensor for _, tensor in exact(rounded=True)],
                before,
            )
        )
        given.append(ran)
    wrong = any(each.status == "wrong" for each in judgements)
    return CallOutcome(
        tuple(judgements), tuple(given), well_posed=not wrong or _well_posed(on_cpu, exact())
    )


def _well_posed(on_cpu: Named, exact: Named) -> bool:
    for (_, ours), (_, right) in zip(on_cpu, exact, strict=True):
        if ours.is_floating_point() and ours.numel():
            off = (ours.double() - right.double()).abs().amax()
            if not off <= tolerance(ours.dtype) / 8 * right.double().abs().amax():
                return False
    return True


def _drawn(
    call: Call, backend: Backend, fault: Any, context: CallContext, dense: bool
) -> CallOutcome:
    """Draw as often as it takes to see a fault, or to see that there is none of any size."""
    facts = op_info(call.function)
    if not has_rule(facts):
        raise run.Unreferenced(NO_RULE)
    judgements, results, problem, most = [], [], None, 1
    for _ in range(context.times):
        looker, found, draws, ours, calls = RandomChecks(), None, 0, [], 0
        while found is None and (calls < 2 or (calls < DRAWN_CALLS and draws < DRAWN)):
            args, kwargs = call.on(dense=dense)
            before = [tensor for _, tensor in written(facts, args, kwargs)]
            ours = _run(call, backend, fault, context.backward, dense)
            found = looker.problem(facts, args, [tensor for _, tensor in ours], before)
            draws += sum(tensor.numel() for _, tensor in ours)
            calls += 1
        if found is not None and not found.each and "again" not in found.code and calls > 1:
            found = found._replace(calls=REPEATED * calls)  # not every call shows it
        judgements.append(OpJudgement("wrong" if found else "right", "draws", values=_words(found)))
        problem, most = problem or found, max(most, calls)
        results.append(ours)
    return CallOutcome(tuple(judgements), tuple(results), problem, calls=most)


def _words(problem: RandomProblem | None) -> str:
    return problem.words if problem else ""


def _run(
    call: Call, backend: Backend, fault: Any, backward: bool, dense: bool = False
) -> list[tuple[str, torch.Tensor]]:
    op, facts = call.function, op_info(call.function)
    args, kwargs = call.on(backend.device, dense=dense)
    if not backward:
        with torch.no_grad(), fault:
            out = op(*args, **kwargs)
    else:
        out = in_backward(lambda: op(*args, **kwargs), backend.device, fault)
    backend.synchronize()
    return [(name, tensor.cpu()) for name, tensor in results(facts, out, args, kwargs)]


def in_backward(run: Any, device: torch.device, fault: Any) -> Any:
    """Run something inside a backward pass; returns what it returns."""
    given: list[Any] = []

    class Inside(torch.autograd.Function):
        @staticmethod
        def forward(ctx: Any, x: torch.Tensor) -> torch.Tensor:
            return x.clone()

        @staticmethod
        def backward(ctx: Any, gradient: torch.Tensor) -> torch.Tensor:
            given.append(run())
            return gradient

    x = torch.ones((), device=device, requires_grad=True)
    y = Inside.apply(x)
    with fault:
        torch.autograd.backward(y)
    return given[0]

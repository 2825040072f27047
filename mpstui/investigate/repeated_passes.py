"""Locates where two steps diverge although every op is right.

The first visible difference is not necessarily its cause. An op counts as faulty here only if its
call is wrong on its own; anything else is only a place to look at.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from mpstui.domain.investigation import Evidence, OpAtFault, Stage, Verdict
from mpstui.modes.shadow import AttributedOp
from mpstui.modes.step import StepState
from mpstui.modes.trace import FirstDivergence, TracedOp, first_divergence

from .conclusion import Conclusion, from_isolation, origin_sentence
from .isolate import OpIsolator
from .progress import ProgressReporter
from .step_inspector import StepInspector, StepResult


class PassPair(NamedTuple):
    """Two passes that should agree, of a step or a test batch."""

    step: int
    same_ops: bool
    """Whether both sides must run the same ops."""
    device_ops: list[TracedOp]
    """The device's ops."""
    cpu_ops: list[TracedOp]
    """The CPU's ops."""
    capture: Callable[[int], AttributedOp | None]
    """Returns one of the device's ops by number, with its inputs."""


def step_passes(inspector: StepInspector, result: StepResult) -> PassPair:
    """Trace a step on both sides."""
    device_ops, cpu_ops = inspector.traces(result.step, result.state)
    return PassPair(
        result.step,
        _same_ops(inspector),
        device_ops,
        cpu_ops,
        lambda index: inspector.capture(result.step, result.state, index),
    )


def evaluation_passes(inspector: StepInspector, step: int, state: StepState) -> PassPair:
    """Trace a test batch on both sides, with the weights of a step."""
    device_ops, cpu_ops = inspector.test_traces(state)
    return PassPair(step, _same_ops(inspector), device_ops, cpu_ops, lambda _: None)


def _same_ops(inspector: StepInspector) -> bool:
    return inspector.twin.device.backend.device.type == "cpu"


def locate_divergence(
    passes: PassPair, device: str, isolator: OpIsolator, reporter: ProgressReporter
) -> Conclusion | None:
    """Conclude where the device's pass and the CPU's diverge; None if they do not.

    Args:
        passes: Both passes.
        device: The device, as text.
        isolator: Tests the call of an op on its own.
        reporter: Reports the outcome.
    """
    divergence = first_divergence(passes.device_ops, passes.cpu_ops, passes.same_ops)
    if divergence is None:
        return None
    match divergence.kind:
        case "op":
            return _other_op(divergence, passes, reporter)
        case "argument":
            return _other_argument(divergence, passes, reporter)
        case "input":
            return _other_input(divergence, passes, reporter)
        case _:
            return _other_result(divergence, passes, device, isolator, reporter)


def _other_op(
    divergence: FirstDivergence, passes: PassPair, reporter: ProgressReporter
) -> Conclusion:
    traced_op = divergence.cpu_op or divergence.device_op
    assert traced_op is not None  # the divergence is at an op of one side
    device_name = divergence.device_op.op if divergence.device_op else "nothing"
    cpu_name = divergence.cpu_op.op if divergence.cpu_op else "nothing"
    message = f"the device ran {device_name} where the CPU runs {cpu_name}"
    return _conclude_other_calls(divergence, traced_op, message, passes, reporter)


def _other_argument(
    divergence: FirstDivergence, passes: PassPair, reporter: ProgressReporter
) -> Conclusion:
    assert divergence.device_op is not None
    message = f"{divergence.device_op.op} is called with {divergence.text}"
    return _conclude_other_calls(divergence, divergence.device_op, message, passes, reporter)


def _conclude_other_calls(
    divergence: FirstDivergence,
    traced_op: TracedOp,
    message: str,
    passes: PassPair,
    reporter: ProgressReporter,
) -> Conclusion:
    """Conclude that the code that calls the ops behaves differently on the device."""
    reporter.finish(Stage.OPS, message)
    op = _op_at_fault(divergence.number, traced_op, passes, message)
    return Conclusion(
        Verdict.OTHER_OPS,
        f"op {divergence.number} in {traced_op.phase}: {message}. The op itself is right."
        f"{origin_sentence(op)}",
        op=op,
        evidence=(Evidence(tried="its call again on the CPU", outcome="the same result"),),
        repro_note="none: every op is right; what calls them is not",
    )


def _other_input(
    divergence: FirstDivergence, passes: PassPair, reporter: ProgressReporter
) -> Conclusion:
    """Conclude about an input that differs although every op before it agrees with the CPU's."""
    assert divergence.device_op is not None
    reader = f"op {divergence.number}, {divergence.device_op.op}"
    makers = [(number, passes.device_ops[number - 1]) for number in divergence.made_by]
    message = f"{divergence.text} of {reader} differs already, before the op runs"
    if makers:
        number, maker = makers[-1]
        message += f"; it comes from op {number}, {maker.op}, which gave what the CPU's gives"
    views = [f"op {number}, {traced_op.op}" for number, traced_op in makers if traced_op.is_view]
    if views:
        message += f", through {', '.join(reversed(views))}"
    reporter.finish(Stage.OPS, message)
    number, source = makers[0] if makers else (divergence.number, divergence.device_op)
    unchecked = f" {source.op} was not checked." if not source.is_checked else ""
    op = _op_at_fault(number, source, passes, "what reads its output gets something else")
    return Conclusion(
        Verdict.SUSPECT,
        f"Step {passes.step}: {message}.{unchecked}{origin_sentence(op)}",
        op=op,
        evidence=(Evidence(tried="every op again on the CPU", outcome="the same results"),),
        repro_note="none: no call alone shows the difference",
    )


def _other_result(
    divergence: FirstDivergence,
    passes: PassPair,
    device: str,
    isolator: OpIsolator,
    reporter: ProgressReporter,
) -> Conclusion:
    """Conclude about an op with another result on the same inputs, although its check passed."""
    assert divergence.device_op is not None
    traced_op = divergence.device_op
    message = f"{traced_op.op} gives another result than in the CPU's step, on the same inputs"
    attributed = passes.capture(divergence.number)
    if (
        attributed is not None
        and attributed.finding.op == traced_op.op
        and attributed.finding.call is not None
    ):
        reporter.report(Stage.OPS, f"{message}; trying its call")
        isolation = isolator.isolate(attributed, passes.step, list)
        if any("wrong" in evidence.outcome.split(":")[0] for evidence in isolation.evidence):
            return from_isolation(isolation, device)
        evidence = isolation.evidence
    else:
        evidence = ()
    reporter.finish(Stage.OPS, message)
    op = _op_at_fault(divergence.number, traced_op, passes, message)
    return Conclusion(
        Verdict.SUSPECT,
        f"Step {passes.step}: op {divergence.number}, {message}; its call alone is right."
        f"{origin_sentence(op)}",
        op=op,
        evidence=evidence,
        repro_note="none: its call alone is right",
    )


def _op_at_fault(number: int, traced_op: TracedOp, passes: PassPair, message: str) -> OpAtFault:
    return OpAtFault(
        op=traced_op.op,
        phase=traced_op.phase,
        index=number,
        step=passes.step,
        values=message,
        source=traced_op.origin.source,
        code=traced_op.origin.code,
        parameters=traced_op.origin.parameters,
    )

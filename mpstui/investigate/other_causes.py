"""Explains a step that differs although every op is right.

The causes: a setting, a race, a write out of bounds, or other ops.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from contextlib import nullcontext
from dataclasses import replace as changed

from msgspec.structs import replace

from mpstui.domain.investigation import Evidence, OpAtFault, Stage, Verdict
from mpstui.modes.attribution import OpOrigin
from mpstui.modes.shadow import AttributedOp

from .conclusion import Conclusion, origin_sentence
from .isolate import OpIsolator, op_at_fault
from .progress import ProgressReporter
from .repeated_passes import locate_divergence, step_passes
from .step_inspector import StepInspector, StepResult
from .twin import Twin


def explain(
    inspector: StepInspector, result: StepResult, isolator: OpIsolator, reporter: ProgressReporter
) -> Conclusion:
    """Explain why a step differs from the CPU's.

    Args:
        inspector: Inspects steps.
        result: The step's result; none of its ops is wrong.
        isolator: Tests the call of an op on its own.
        reporter: Reports the progress.
    """
    conclusion = check_precision(inspector.twin, result, reporter)
    if conclusion is None and result.without_check.phase and not result.with_check.phase:
        conclusion = _race(result, reporter)
    if conclusion is None:
        reporter.report(Stage.OPS, "every op is right; looking for writes out of bounds")
        conclusion = _out_of_bounds(inspector, result, reporter)
    if conclusion is None and not lower_precisions(
        inspector.twin
    ):  # two precisions diverge immediately
        reporter.report(Stage.OPS, "every op is right; comparing both steps, op by op")
        conclusion = _diverged(inspector, result, isolator, reporter)
    return conclusion or conclude_suspects(result, reporter)


def _diverged(
    inspector: StepInspector, result: StepResult, isolator: OpIsolator, reporter: ProgressReporter
) -> Conclusion | None:
    device = inspector.twin.config.spec.device
    return locate_divergence(step_passes(inspector, result), device, isolator, reporter)


def conclude_suspects(result: StepResult, reporter: ProgressReporter) -> Conclusion:
    """Conclude with the ops that are less exact than the CPU's in the differing phase, if any."""
    reporter.finish(Stage.OPS, "every op is right")
    where = f"step {result.step} differs from the CPU's in {result.without_check.phase}"
    inexact_ops = [
        op_finding
        for op_finding in result.suspects
        if op_finding.phase == result.without_check.phase
    ]
    if not inexact_ops:
        return Conclusion(Verdict.NOTHING, f"{where}, and no single op does.")
    first = inexact_ops[0]
    error = f"{first.judgement.error:.2g} off" if first.judgement.error else "off"
    op = op_at_fault(AttributedOp(first, OpOrigin("", "", ())), result.step)
    detail = f"no op is wrong, but {first.op} is {error}, more than the CPU's own rounding."
    return Conclusion(Verdict.SUSPECT, f"{where}; {detail}", op=op)


def lower_precisions(twin: Twin) -> list[tuple[str, str]]:
    """Return the active lower precisions, each with the setting that turns it off."""
    return twin.device.backend.lower_precision(twin.config.precision)


@contextlib.contextmanager
def full_precision(twin: Twin) -> Iterator[Twin]:
    """Yield the twin without its lower precision."""
    backend = twin.device.backend
    backend.set_precision("float32")
    try:
        yield twin._replace(device=changed(twin.device, autocast=nullcontext, scaler=None))
    finally:
        backend.set_precision(twin.config.precision)


def check_precision(
    twin: Twin, result: StepResult, reporter: ProgressReporter
) -> Conclusion | None:
    """Conclude that a lower precision is the cause, if the step is right without it; else None."""
    precisions = lower_precisions(twin)
    if not precisions:
        return None
    reporter.report(Stage.OPS, "the same step in full precision")
    with full_precision(twin) as precise_twin:
        without = StepInspector(precise_twin).lockstep(result.step, result.state)
    gap, remaining = result.without_check.gradient_gap, without.gradient_gap
    if without.phase or remaining is None or (gap is not None and remaining > gap / 4):
        return None
    gap_text = "not finite" if gap is None else f"{gap:.2g} off"
    reporter.finish(Stage.OPS, f"gradients are {gap_text}, and {remaining:.2g} without the setting")
    return Conclusion(
        Verdict.LOWER_PRECISION,
        f"{' and '.join(name for name, _ in precisions)} explains the difference: gradients are "
        f"{gap_text} with it, {remaining:.2g} without.",
        evidence=(Evidence(tried="the same step in full precision", outcome="right"),),
        remedy="; ".join(switch for _, switch in precisions),
    )


def _race(result: StepResult, reporter: ProgressReporter) -> Conclusion:
    """Conclude from all repeats of a step that was wrong only without the check."""
    times = 1 + len(result.repeats)
    wrong = 1 + sum(bool(repeat.without_check) for repeat in result.repeats)
    wrong_checked = sum(bool(repeat.with_check) for repeat in result.repeats)
    evidence = (
        Evidence(tried="the step under the check", outcome=_format_count(wrong_checked, times)),
        Evidence(tried="the step without it", outcome=_format_count(wrong, times)),
    )
    if wrong == times and not wrong_checked:
        reporter.finish(Stage.OPS, "every op is right, and with the check so is the step")
        return Conclusion(
            Verdict.RACE,
            f"{result.without_check.phase} is wrong at step {result.step} each time, and right "
            "each time that every op is waited for: an operation does not wait for its input.",
            evidence=evidence,
        )
    reporter.finish(Stage.OPS, f"the step is wrong {wrong} of {times} times, and no op is")
    return Conclusion(
        Verdict.INTERMITTENT,
        f"{result.without_check.phase} of step {result.step} is wrong {wrong} of {times} times, "
        f"and {wrong_checked} of {times} under the check; no op was caught.",
        evidence=evidence,
        remedy="investigate again: an intermittent fault does not show every time",
    )


def _format_count(wrong: int, times: int) -> str:
    return f"wrong {wrong} of {times} times" if wrong else f"right {times} of {times} times"


def _out_of_bounds(
    inspector: StepInspector, result: StepResult, reporter: ProgressReporter
) -> Conclusion | None:
    finding = inspector.out_of_bounds_write(result.step, result.state)
    if finding is None:
        return None
    write, attributed = finding
    effect = f"writes into {write.victim}"
    reporter.finish(Stage.OPS, f"{write.op} {effect}")
    op = OpAtFault(op=write.op, phase=write.phase, index=write.number, step=result.step)
    if attributed is not None:
        op = op_at_fault(attributed, result.step)
    op = replace(
        op,
        phase=write.phase,
        where=write.victim,
        values=effect,
        symptom="its own result is right; memory outside its arguments changes",
        inputs=write.call.describe_tensors(),
    )
    return Conclusion(
        Verdict.FAULTY_OP,
        f"{op.op} in {op.phase} {effect}, out of bounds.{origin_sentence(op)}",
        kind="writes out of bounds",
        op=op,
        evidence=(Evidence(tried="its own result", outcome="right"),),
        repro_note="none: alone, the call has no neighbour to write into",
    )

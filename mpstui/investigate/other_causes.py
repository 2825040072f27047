"""A step that differs although every op is right: a setting, a race, a trespass, or other ops."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from contextlib import nullcontext
from dataclasses import replace as changed

from msgspec.structs import replace

from mpstui.domain.investigation import Evidence, OpAtFault, Stage, Verdict
from mpstui.modes.attribution import OpOrigin
from mpstui.modes.shadow import AttributedOp

from .conclusion import Conclusion, belongs
from .isolate import OpIsolator, op_at_fault
from .progress import ProgressReporter
from .repeated_passes import explain_divergence, step_scene
from .step_inspector import StepInspector, StepResult
from .twin import Twin


def explain(
    looker: StepInspector, look: StepResult, blamer: OpIsolator, teller: ProgressReporter
) -> Conclusion:
    """Why a step differs from the CPU's.

    Args:
        looker: Looks at steps.
        look: What the step showed; no op of it is wrong.
        blamer: Tries the call of an op on its own.
        teller: Told what is tried.
    """
    conclusion = by_setting(looker.twin, look, teller)
    if conclusion is None and look.plain.phase and not look.shadowed.phase:
        conclusion = _race(look, teller)
    if conclusion is None:
        teller.say(Stage.OPS, "every op is right; looking for writes out of bounds")
        conclusion = _trespass(looker, look, teller)
    if conclusion is None and not settings(looker.twin):  # two precisions part at once
        teller.say(Stage.OPS, "every op is right; comparing both steps, op by op")
        conclusion = _parted(looker, look, blamer, teller)
    return conclusion or suspected(look, teller)


def _parted(
    looker: StepInspector, look: StepResult, blamer: OpIsolator, teller: ProgressReporter
) -> Conclusion | None:
    device = looker.twin.config.spec.device
    return explain_divergence(step_scene(looker, look), device, blamer, teller)


def suspected(look: StepResult, teller: ProgressReporter) -> Conclusion:
    """What is left: ops that are less exact than the CPU's in the phase that differs, if any."""
    teller.done(Stage.OPS, "every op is right")
    where = f"step {look.step} differs from the CPU's in {look.plain.phase}"
    inexact = [seen for seen in look.suspects if seen.phase == look.plain.phase]
    if not inexact:
        return Conclusion(Verdict.NOTHING, f"{where}, and no single op does.")
    first = inexact[0]
    error = f"{first.judgement.error:.2g} off" if first.judgement.error else "off"
    op = op_at_fault(AttributedOp(first, OpOrigin("", "", ())), look.step)
    words = f"no op is wrong, but {first.op} is {error}, more than the CPU's own rounding."
    return Conclusion(Verdict.SUSPECT, f"{where}; {words}", op=op)


def settings(twin: Twin) -> list[tuple[str, str]]:
    """Lower precisions that are on, each with the switch that turns it off."""
    return twin.device.backend.lower_precision(twin.config.precision)


@contextlib.contextmanager
def full_precision(twin: Twin) -> Iterator[Twin]:
    """The twin without the lower precision that was asked for."""
    backend = twin.device.backend
    backend.set_precision("float32")
    try:
        yield twin._replace(device=changed(twin.device, autocast=nullcontext, scaler=None))
    finally:
        backend.set_precision(twin.config.precision)


def by_setting(twin: Twin, look: StepResult, teller: ProgressReporter) -> Conclusion | None:
    """Whether the step is right without a lower precision that is on."""
    names = settings(twin)
    if not names:
        return None
    teller.say(Stage.OPS, "the same step in full precision")
    with full_precision(twin) as plain:
        without = StepInspector(plain).lockstep(look.step, look.state)
    gap, left = look.plain.gradient_gap, without.gradient_gap
    if without.phase or left is None or (gap is not None and left > gap / 4):
        return None
    shown = "not finite" if gap is None else f"{gap:.2g} off"
    teller.done(Stage.OPS, f"gradients are {shown}, and {left:.2g} without the setting")
    return Conclusion(
        Verdict.LOWER_PRECISION,
        f"{' and '.join(name for name, _ in names)} explains the difference: gradients are "
        f"{shown} with it, {left:.2g} without.",
        evidence=(Evidence(tried="the same step in full precision", outcome="right"),),
        remedy="; ".join(switch for _, switch in names),
    )


def _race(look: StepResult, teller: ProgressReporter) -> Conclusion:
    """A step that was wrong without the check only: what all the times it was taken show."""
    times = 1 + len(look.repeats)
    wrong = 1 + sum(bool(repeat.plain) for repeat in look.repeats)
    wrong_checked = sum(bool(repeat.shadowed) for repeat in look.repeats)
    evidence = (
        Evidence(tried="the step under the check", outcome=_of(wrong_checked, times)),
        Evidence(tried="the step without it", outcome=_of(wrong, times)),
    )
    if wrong == times and not wrong_checked:
        teller.done(Stage.OPS, "every op is right, and with the check so is the step")
        return Conclusion(
            Verdict.RACE,
            f"{look.plain.phase} is wrong at step {look.step} each time, and right each time that "
            "every op is waited for: something does not wait for what it needs.",
            evidence=evidence,
        )
    teller.done(Stage.OPS, f"the step is wrong {wrong} of {times} times, and no op is")
    return Conclusion(
        Verdict.INTERMITTENT,
        f"{look.plain.phase} of step {look.step} is wrong {wrong} of {times} times, and "
        f"{wrong_checked} of {times} under the check; no op was caught.",
        evidence=evidence,
        remedy="investigate again: what is wrong now and then takes luck to catch",
    )


def _of(wrong: int, times: int) -> str:
    return f"wrong {wrong} of {times} times" if wrong else f"right {times} of {times} times"


def _trespass(
    looker: StepInspector, look: StepResult, teller: ProgressReporter
) -> Conclusion | None:
    trespass = looker.trespass(look.step, look.state)
    if trespass is None:
        return None
    found, witnessed = trespass
    words = f"writes into {found.victim}"
    teller.done(Stage.OPS, f"{found.op} {words}")
    op = OpAtFault(op=found.op, phase=found.phase, index=found.number, step=look.step)
    if witnessed is not None:
        op = op_at_fault(witnessed, look.step)
    op = replace(
        op,
        phase=found.phase,
        where=found.victim,
        values=words,
        symptom="its own result is right; memory that it was not given changes",
        inputs=found.call.described(),
    )
    return Conclusion(
        Verdict.FAULTY_OP,
        f"{op.op} in {op.phase} {words}, out of bounds.{belongs(op)}",
        kind="writes out of bounds",
        op=op,
        evidence=(Evidence(tried="its own result", outcome="right"),),
        repro_note="none: alone, the call has no neighbour to write into",
    )

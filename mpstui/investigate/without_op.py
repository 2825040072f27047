"""A step that differs although every op is right: a setting, a race, a trespass, or other ops."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from contextlib import nullcontext
from dataclasses import replace as changed

from msgspec.structs import replace

from mpstui.divergence.trace import Parting
from mpstui.domain.investigation import Evidence, OpAtFault, Stage, Verdict

from .blame import op_at_fault
from .conclusion import Conclusion, belongs
from .look import Looked, Looker
from .telling import Teller
from .twin import Twin


def explain(looker: Looker, look: Looked, teller: Teller) -> Conclusion:
    """Why a step differs from the CPU's.

    Args:
        looker: Looks at steps.
        look: What the step showed; no op of it is wrong.
        teller: Told what is tried.
    """
    found = by_setting(looker.twin, look, teller)
    if found is None and look.plain.phase and not look.shadowed.phase:
        found = _race(looker, look, teller)
    if found is None:
        teller.say(Stage.OPS, "every op is right; looking for writes out of bounds")
        found = _trespass(looker, look, teller)
    if found is None and looker.twin.device.backend.device.type == "cpu":
        parting = looker.parting(look.step, look.state)
        found = None if parting is None else _parted(parting, look, teller)
    if found is None:
        teller.done(Stage.OPS, "every op is right")
        where = f"differs from the CPU's in {look.plain.phase}, and no single op does"
        found = Conclusion(Verdict.NOTHING, f"step {look.step} {where}.")
    return found


def settings(twin: Twin) -> list[tuple[str, str]]:
    """Lower precisions that are on, each with the switch that turns it off."""
    return twin.device.backend.lower_precision(twin.config.precision)


@contextlib.contextmanager
def full_precision(twin: Twin) -> Iterator[Twin]:
    """The twin without the lower precision that was asked for."""
    backend = twin.device.backend
    backend.set_precision("float32")
    try:
        yield twin._replace(device=changed(twin.device, autocast=nullcontext))
    finally:
        backend.set_precision(twin.config.precision)


def by_setting(twin: Twin, look: Looked, teller: Teller) -> Conclusion | None:
    """Whether the step is right without a lower precision that is on."""
    names = settings(twin)
    if not names:
        return None
    teller.say(Stage.OPS, "the same step in full precision")
    with full_precision(twin) as plain:
        without = Looker(plain).lockstep(look.step, look.state)
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


def _race(looker: Looker, look: Looked, teller: Teller) -> Conclusion | None:
    again = looker.lockstep(look.step, look.state)
    if not again.phase:
        return None
    teller.done(Stage.OPS, "every op is right, and with the check so is the step")
    evidence = (
        Evidence(tried="the step under the check", outcome="right"),
        Evidence(tried="the step without it, again", outcome=f"wrong in {again.phase}"),
    )
    return Conclusion(
        Verdict.RACE,
        f"{look.plain.phase} is wrong at step {look.step}, and right when every op is waited for: "
        "something does not wait for what it needs.",
        evidence=evidence,
    )


def _trespass(looker: Looker, look: Looked, teller: Teller) -> Conclusion | None:
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


def _parted(parting: Parting, look: Looked, teller: Teller) -> Conclusion:
    ran = parting.theirs or parting.ours
    assert ran is not None  # they part at an op of one of them
    if parting.other_op:
        mine = parting.ours.op if parting.ours else "nothing"
        words = f"the device ran {mine} where the CPU runs {ran.op}"
        verdict, kind = Verdict.OTHER_OPS, ""
        note = "none: each op is right; what calls them is not"
        tried = "each op again on the CPU"
    else:
        words = f"{ran.op} gives another result than in the CPU's step"
        verdict, kind = Verdict.FAULTY_OP, "wrong result"
        note = "none: called side by side, the CPU's op gives the same wrong result"
        tried = "the op again on the CPU, in the device's step"
    teller.done(Stage.OPS, words)
    op = OpAtFault(
        op=ran.op,
        phase=ran.phase,
        index=parting.number,
        step=look.step,
        values=words,
        source=ran.place.source,
        code=ran.place.code,
        parameters=ran.place.parameters,
    )
    return Conclusion(
        verdict,
        f"op {parting.number} in {ran.phase}: {words}.{belongs(op)}",
        kind=kind,
        op=op,
        evidence=(Evidence(tried=tried, outcome="the same"),),
        repro_note=note,
    )

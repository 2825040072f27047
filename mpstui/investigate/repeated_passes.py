"""Where two steps part although every op is right: between which ops, and in what.

The first difference that can be seen is not its cause. An op is accused here only when its own
call, tried on its own, is wrong; everything else names a place to look at.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from mpstui.domain.investigation import Evidence, OpAtFault, Stage, Verdict
from mpstui.modes.shadow import AttributedOp
from mpstui.modes.step import StepState
from mpstui.modes.trace import FirstDivergence, TracedOp, first_divergence

from .conclusion import Conclusion, belongs, of_blame
from .isolate import OpIsolator
from .progress import ProgressReporter
from .step_inspector import StepInspector, StepResult


class PassPair(NamedTuple):
    """Two passes that should be alike: of a step, or of a test batch."""

    step: int
    same_ops: bool
    """Whether both sides have to run the same ops."""
    ours: list[TracedOp]
    """The device's."""
    theirs: list[TracedOp]
    """The CPU's."""
    capture: Callable[[int], AttributedOp | None]
    """Gives one of the device's ops, by its number, with its inputs."""


def step_scene(looker: StepInspector, look: StepResult) -> PassPair:
    """Both passes of a step."""
    ours, theirs = looker.traces(look.step, look.state)
    return PassPair(
        look.step,
        _same_ops(looker),
        ours,
        theirs,
        lambda index: looker.captured(look.step, look.state, index),
    )


def test_scene(looker: StepInspector, step: int, state: StepState) -> PassPair:
    """Both passes of a test batch, with the weights of a step."""
    ours, theirs = looker.test_traces(state)
    return PassPair(step, _same_ops(looker), ours, theirs, lambda _: None)


def _same_ops(looker: StepInspector) -> bool:
    return looker.twin.device.backend.device.type == "cpu"


def explain_divergence(
    scene: PassPair, device: str, blamer: OpIsolator, teller: ProgressReporter
) -> Conclusion | None:
    """Where the device's pass and the CPU's part; None when they do not.

    Args:
        scene: Both passes.
        device: The device, in words.
        blamer: Tries the call of an op on its own.
        teller: Told what comes of it.
    """
    place = first_divergence(scene.ours, scene.theirs, scene.same_ops)
    if place is None:
        return None
    match place.what:
        case "op":
            return _other_op(place, scene, teller)
        case "argument":
            return _other_argument(place, scene, teller)
        case "input":
            return _other_input(place, scene, teller)
        case _:
            return _other_result(place, scene, device, blamer, teller)


def _other_op(place: FirstDivergence, scene: PassPair, teller: ProgressReporter) -> Conclusion:
    ran = place.theirs or place.ours
    assert ran is not None  # they part at an op of one of them
    mine = place.ours.op if place.ours else "nothing"
    other = place.theirs.op if place.theirs else "nothing"
    words = f"the device ran {mine} where the CPU runs {other}"
    return _calls(place, ran, words, scene, teller)


def _other_argument(
    place: FirstDivergence, scene: PassPair, teller: ProgressReporter
) -> Conclusion:
    assert place.ours is not None
    words = f"{place.ours.op} is called with {place.words}"
    return _calls(place, place.ours, words, scene, teller)


def _calls(
    place: FirstDivergence, ran: TracedOp, words: str, scene: PassPair, teller: ProgressReporter
) -> Conclusion:
    """Something above the ops calls them otherwise than on the CPU."""
    teller.done(Stage.OPS, words)
    op = _op(place.number, ran, scene, words)
    return Conclusion(
        Verdict.OTHER_OPS,
        f"op {place.number} in {ran.phase}: {words}. The op itself is right.{belongs(op)}",
        op=op,
        evidence=(Evidence(tried="its call again on the CPU", outcome="the same result"),),
        repro_note="none: every op is right; what calls them is not",
    )


def _other_input(place: FirstDivergence, scene: PassPair, teller: ProgressReporter) -> Conclusion:
    """An input differs, although every op before it gave what it gives in the CPU's step."""
    assert place.ours is not None
    reader = f"op {place.number}, {place.ours.op}"
    makers = [(number, scene.ours[number - 1]) for number in place.made_by]
    words = f"{place.words} of {reader} differs already, before the op runs"
    if makers:
        number, maker = makers[-1]
        words += f"; it comes from op {number}, {maker.op}, which gave what the CPU's gives"
    views = [f"op {number}, {ran.op}" for number, ran in makers if ran.is_view]
    if views:
        words += f", through {', '.join(reversed(views))}"
    teller.done(Stage.OPS, words)
    number, source = makers[0] if makers else (place.number, place.ours)
    unchecked = f" {source.op} was not checked." if not source.is_checked else ""
    op = _op(number, source, scene, "what reads its output gets something else")
    return Conclusion(
        Verdict.SUSPECT,
        f"Step {scene.step}: {words}.{unchecked}{belongs(op)}",
        op=op,
        evidence=(Evidence(tried="every op again on the CPU", outcome="the same results"),),
        repro_note="none: no call alone shows the difference",
    )


def _other_result(
    place: FirstDivergence,
    scene: PassPair,
    device: str,
    blamer: OpIsolator,
    teller: ProgressReporter,
) -> Conclusion:
    """An op gives another result on the same inputs, though the check finds it right."""
    assert place.ours is not None
    ran = place.ours
    words = f"{ran.op} gives another result than in the CPU's step, on the same inputs"
    seen = scene.capture(place.number)
    if seen is not None and seen.found.op == ran.op and seen.found.call is not None:
        teller.say(Stage.OPS, f"{words}; trying its call")
        blame = blamer.blame(seen, scene.step, list)
        if any("wrong" in evidence.outcome.split(":")[0] for evidence in blame.evidence):
            return of_blame(blame, device)
        evidence = blame.evidence
    else:
        evidence = ()
    teller.done(Stage.OPS, words)
    op = _op(place.number, ran, scene, words)
    return Conclusion(
        Verdict.SUSPECT,
        f"Step {scene.step}: op {place.number}, {words}; its call alone is right.{belongs(op)}",
        op=op,
        evidence=evidence,
        repro_note="none: its call alone is right",
    )


def _op(number: int, ran: TracedOp, scene: PassPair, words: str) -> OpAtFault:
    return OpAtFault(
        op=ran.op,
        phase=ran.phase,
        index=number,
        step=scene.step,
        values=words,
        source=ran.place.source,
        code=ran.place.code,
        parameters=ran.place.parameters,
    )

"""A close look at one training step: in lockstep, op by op, and what else there is to see."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import torch

from mpstui.domain.investigation import Lockstep
from mpstui.modes.attribution import Attribution
from mpstui.modes.base import StepMode
from mpstui.modes.journal import NO_JOURNAL, Journal
from mpstui.modes.lockstep import in_lockstep
from mpstui.modes.shadow import AttributedOp, OpFinding, OpReached, Shadow
from mpstui.modes.shared_random import SharedRandom
from mpstui.modes.step import Side, StepState, load, save, take_step
from mpstui.modes.trace import Trace, TracedOp
from mpstui.modes.write_guard import OutOfBoundsWrite, WriteGuard
from mpstui.numerics import Gap, gap
from mpstui.ops.randomness.checks import RandomChecks

from .twin import Named, Test, Twin

ERRORS = (RuntimeError, ValueError, TypeError, IndexError, NotImplementedError)
"""What a step may raise: the CPU's BCE refuses NaN, for one."""

CONFIRMED = 6
"""Ops of a step that are looked at a second time, with their inputs kept."""

PASSES = 3
"""Passes over a step in which an op that looked wrong is looked for again."""


class RepeatedStep(NamedTuple):
    """The phases in which a step differed when it was taken once more, empty where it was right."""

    plain: str
    shadowed: str


class StepResult(NamedTuple):
    """What one step showed."""

    step: int
    state: StepState
    """What it started from."""
    plain: Lockstep
    """Without the check."""
    shadowed: Lockstep
    """Under the check, which waits for every op."""
    wrong: tuple[AttributedOp, ...]
    """Ops that are wrong, in their order."""
    suspects: tuple[OpFinding, ...]
    checked: int
    unreferenced: dict[str, str]
    raised: str = ""
    """The error that the device's step ended with, and the CPU's did not."""
    raising: AttributedOp | None = None
    """The op that raised it, where it was one."""
    repeats: tuple[RepeatedStep, ...] = ()
    """The same step again, where it was wrong only without the check."""


class EvaluationResult(NamedTuple):
    """What an evaluation showed."""

    gap: Gap
    """Of the scores, against the CPU's."""
    wrong: tuple[AttributedOp, ...]
    checked: int
    unreferenced: dict[str, str]


class StepInspector:
    """Looks at steps of a twin. Each look starts both sides from the device's state."""

    def __init__(
        self,
        twin: Twin,
        journal: Journal | Any = NO_JOURNAL,
        draw_judge: RandomChecks | None = None,
    ) -> None:
        self.twin = twin
        self.draw_judge = draw_judge or RandomChecks()  # draws of all steps add up
        self._journal = journal
        self._draws = SharedRandom(twin.seed)

    def look(self, step: int, before: Callable[[StepState], None] | None = None) -> StepResult:
        """Take a step under the check; the device then stands behind that step.

        Args:
            step: Its number; the device stands before it.
            before: Told the state that it starts from, in case the process does not survive it.
        """
        state = save(self.twin.device)
        if before is not None:
            before(state)
        # The check comes first: it writes down each op, should one end the process.
        shadow = Shadow(self._draws, self._journal, draw_judge=self.draw_judge)
        try:
            shadowed = self.lockstep(step, state, under=shadow)
        except ERRORS as error:
            return self._after_error(step, state, shadow, error)
        wrong = self._confirm(step, state, shadow)
        try:
            plain = self.lockstep(step, state)
        except ERRORS as error:  # not the first time: some faults wait
            return self._again(step, state, error)
        suspects = tuple(each for each in shadow.found if each.judgement.status == "suspect")
        return StepResult(
            step,
            state,
            plain,
            shadowed,
            wrong,
            suspects,
            shadow.checked,
            shadow.unreferenced
            | dict.fromkeys(self._draws.unshared, "it draws inside, which cannot be shared"),
        )

    def lockstep(self, step: int, state: StepState, under: Any = None) -> Lockstep:
        """One step of both sides from a state."""
        device, cpu = self.twin.device, self.twin.cpu
        load(device, state)
        load(cpu, state)
        mode = under or StepMode(self._draws, self._journal)
        self._journal.is_stepping = True
        try:
            return in_lockstep(device, cpu, self.twin.batch(step), step, self._draws, mode)
        finally:
            self._journal.is_stepping = False

    def test(self, state: StepState) -> EvaluationResult | None:
        """Evaluate one batch with a step's weights, op by op; None when the twin has no test."""
        if self.twin.tests is None:
            return None
        ours, theirs = self.twin.tests
        shadow = Shadow(self._draws, self._journal)
        score = self._evaluate(self.twin.device, state, ours, shadow)
        wrong: tuple[AttributedOp, ...] = ()
        if doubted := _doubted(shadow):
            only = frozenset(before.number for before in doubted)
            attribution = Attribution(self.twin.device)
            again = Shadow(self._draws, self._journal, only, keep=True, attribution=attribution)
            self._evaluate(self.twin.device, state, ours, again)
            wrong = _confirmed(doubted, again.witnessed)
        expected = self._evaluate(self.twin.cpu, state, theirs, StepMode(self._draws))
        return EvaluationResult(gap(score, expected), wrong, shadow.checked, shadow.unreferenced)

    def _evaluate(self, side: Side, state: StepState, test: Test, under: Any) -> Named:
        load(side, state)
        under.restart(0)
        under.phase = "evaluation"
        side.model.eval()
        self._journal.is_stepping = True
        try:
            with torch.no_grad(), side.fault, under:
                score = test()
            side.backend.synchronize()
        finally:
            self._journal.is_stepping = False
            side.model.train()
        return [(name, tensor.detach().cpu()) for name, tensor in score]

    def witness(self, step: int, state: StepState, only: frozenset[int]) -> dict[int, AttributedOp]:
        """The step once more, with the inputs and the places of some ops kept."""
        attribution = Attribution(self.twin.device)
        shadow = Shadow(
            self._draws,
            self._journal,
            only,
            keep=True,
            attribution=attribution,
            draw_judge=self.draw_judge,
        )
        with anomaly(), contextlib.suppress(*ERRORS):
            self.lockstep(step, state, under=shadow)
        return shadow.witnessed

    def before_op(self, step: int, state: StepState, index: int) -> AttributedOp | None:
        """An op that ends the process: its inputs and place, without running it."""
        attribution = Attribution(self.twin.device)
        nothing: frozenset[int] = frozenset()
        for _ in range(2):
            shadow = Shadow(self._draws, only=nothing, attribution=attribution, stop=index)
            try:
                with anomaly():
                    self.lockstep(step, state, under=shadow)
            except OpReached:
                return shadow.witnessed[index]
            except ERRORS:
                index = shadow.index  # an op raises earlier than it did before: that one, then
        return None

    def trespass(
        self, step: int, state: StepState
    ) -> tuple[OutOfBoundsWrite, AttributedOp | None] | None:
        """An op that writes where it must not."""
        guard = WriteGuard(self.twin.device, self._draws)
        self.lockstep(step, state, under=guard)
        if guard.found is None:
            return None
        index = guard.found.number
        return guard.found, self.witness(step, state, frozenset({index})).get(index)

    def traces(self, step: int, state: StepState) -> tuple[list[TracedOp], list[TracedOp]]:
        """The ops of the device's step, and of the CPU's."""
        device, cpu = self.twin.device, self.twin.cpu
        return self._trace(device, step, state), self._trace(cpu, step, state)

    def _trace(self, side: Side, step: int, state: StepState) -> list[TracedOp]:
        load(side, state)
        batch = self.twin.batch(step)
        trace = Trace(side, self._draws)
        trace.restart(step)
        with anomaly(), side.fault, trace:
            objective = side.forward(side.place(batch))
            trace.phase = "backward"
            update = side.backward(objective)
            trace.phase = "optimizer"
            update()
        return trace.ran

    def test_traces(self, state: StepState) -> tuple[list[TracedOp], list[TracedOp]]:
        """The ops of the device's evaluation of a batch, and of the CPU's."""
        assert self.twin.tests is not None
        passes = []
        sides = (self.twin.device, self.twin.cpu)
        for side, test in zip(sides, self.twin.tests, strict=True):
            trace = Trace(side, self._draws)
            self._evaluate(side, state, test, trace)
            passes.append(trace.ran)
        return passes[0], passes[1]

    def captured(self, step: int, state: StepState, index: int) -> AttributedOp | None:
        """An op of a step that passes the check, with its inputs and its place."""
        return self.witness(step, state, frozenset({index})).get(index)

    def _after_error(
        self, step: int, state: StepState, shadow: Shadow, error: Exception
    ) -> StepResult:
        """The device's step raised an error: what was wrong before, or the op that raised it."""
        wrong = self._confirm(step, state, shadow)
        if not wrong and not self._cpu_takes(step, state):
            raise error  # by right
        said = " ".join(str(error).split())[:200]
        apart = Lockstep(
            step=step,
            loss=None,
            cpu_loss=None,
            loss_gap=None,
            gradient_gap=None,
            phase=shadow.phase,
        )
        return StepResult(
            step,
            state,
            apart,
            apart,
            wrong,
            (),
            shadow.checked,
            shadow.unreferenced,
            f"{type(error).__name__}: {said}",
            self.before_op(step, state, shadow.index) if not wrong else None,
        )

    def _again(self, step: int, state: StepState, error: Exception) -> StepResult:
        """The step raised an error that it did not raise under the check: under the check again."""
        shadow = Shadow(self._draws, self._journal, draw_judge=self.draw_judge)
        with contextlib.suppress(*ERRORS):
            self.lockstep(step, state, under=shadow)
        return self._after_error(step, state, shadow, error)

    def _cpu_takes(self, step: int, state: StepState) -> bool:
        """Whether the CPU's own step raises nothing."""
        cpu = self.twin.cpu
        load(cpu, state)
        self._draws.restart(step)
        try:
            with StepMode(self._draws):
                take_step(cpu, cpu.place(self.twin.batch(step)))
        except ERRORS:
            return False
        return True

    def _confirm(self, step: int, state: StepState, shadow: Shadow) -> tuple[AttributedOp, ...]:
        """Of what looked wrong, what is: some inputs were overwritten before they could be kept."""
        doubted = _doubted(shadow)
        if not doubted:
            return ()
        only = frozenset(before.number for before in doubted)
        for _ in range(PASSES):  # one that is wrong now and then may be right the next time
            confirmed = _confirmed(doubted, self.witness(step, state, only))
            if confirmed:
                return confirmed
        return ()


def _doubted(shadow: Shadow) -> list[OpFinding]:
    """What a first pass could not call right."""
    odd = [seen for seen in shadow.found if seen.judgement.status == "wrong" or not seen.call]
    return odd[:CONFIRMED]


def _confirmed(
    doubted: list[OpFinding], again: dict[int, AttributedOp]
) -> tuple[AttributedOp, ...]:
    """Of what was doubted, what is wrong with its inputs kept."""
    confirmed = []
    for before in doubted:
        seen = again.get(before.number)
        if seen is None or seen.found.op != before.op:
            continue
        if seen.found.judgement.status == "wrong":
            confirmed.append(seen)
        elif before.call is not None:
            confirmed.append(seen._replace(found=before))  # right this time: by its state
    return tuple(confirmed)


@contextlib.contextmanager
def anomaly() -> Iterator[None]:
    """Autograd's nodes remember the line that made them."""
    import warnings

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that it is slow
        with torch.autograd.set_detect_anomaly(True, check_nan=False):
            yield

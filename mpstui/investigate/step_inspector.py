"""Inspects a training step: in lockstep with the CPU, op by op, and in further ways."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import torch

from mpstui.domain.investigation import Lockstep
from mpstui.modes.attribution import SideAttribution
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

from .twin import NamedTensors, Test, Twin

ERRORS = (RuntimeError, ValueError, TypeError, IndexError, NotImplementedError)
"""Errors that a step may raise; for example, the CPU's BCE rejects NaN."""

CONFIRMED = 6
"""Most ops of a step that are checked a second time, with their inputs stored."""

PASSES = 3
"""Passes over a step to confirm an op that looked wrong."""


class RepeatedStep(NamedTuple):
    """The phases in which a repeated step differed; empty if it was right."""

    without_check: str
    with_check: str


class StepResult(NamedTuple):
    """The result of inspecting a step."""

    step: int
    state: StepState
    """The state before the step."""
    without_check: Lockstep
    """Without the check."""
    with_check: Lockstep
    """With the check, which waits for every op."""
    wrong: tuple[AttributedOp, ...]
    """The wrong ops, in order."""
    suspects: tuple[OpFinding, ...]
    checked: int
    unreferenced: dict[str, str]
    raised: str = ""
    """The error that the device's step raised and the CPU's did not."""
    raising: AttributedOp | None = None
    """The op that raised it; None if no op did."""
    repeats: tuple[RepeatedStep, ...] = ()
    """Repeats of the step, if it was wrong only without the check."""


class EvaluationResult(NamedTuple):
    """The result of checking an evaluation."""

    gap: Gap
    """The gap between the device's scores and the CPU's."""
    wrong: tuple[AttributedOp, ...]
    checked: int
    unreferenced: dict[str, str]


class StepInspector:
    """An inspector of a twin's steps; each inspection starts both sides from the device's state."""

    def __init__(
        self,
        twin: Twin,
        journal: Journal | Any = NO_JOURNAL,
        random_checks: RandomChecks | None = None,
    ) -> None:
        self.twin = twin
        self.random_checks = (
            random_checks or RandomChecks()
        )  # combines the random numbers of all steps
        self._journal = journal
        self._random = SharedRandom(twin.seed)

    def inspect(self, step: int, before: Callable[[StepState], None] | None = None) -> StepResult:
        """Take a step with the check; the device is then in the state after it.

        Args:
            step: The step's number; the device is in the state before it.
            before: Called with the state before the step, in case the process does not survive it.
        """
        state = save(self.twin.device)
        if before is not None:
            before(state)
        # The check comes first because it records each op, in case one ends the process.
        shadow = Shadow(self._random, self._journal, random_checks=self.random_checks)
        try:
            with_check = self.lockstep(step, state, under=shadow)
        except ERRORS as error:
            return self._after_error(step, state, shadow, error)
        wrong = self._confirm(step, state, shadow)
        try:
            without_check = self.lockstep(step, state)
        except ERRORS as error:  # only now: some faults start later
            return self._check_again(step, state, error)
        suspects = tuple(
            finding for finding in shadow.findings if finding.judgement.status == "suspect"
        )
        return StepResult(
            step,
            state,
            without_check,
            with_check,
            wrong,
            suspects,
            shadow.checked,
            shadow.unreferenced
            | dict.fromkeys(self._random.unshared, "its internal random numbers cannot be shared"),
        )

    def lockstep(self, step: int, state: StepState, under: Any = None) -> Lockstep:
        """Take a step on both sides from a state, and compare them."""
        device, cpu = self.twin.device, self.twin.cpu
        load(device, state)
        load(cpu, state)
        mode = under or StepMode(self._random, self._journal)
        self._journal.is_stepping = True
        try:
            return in_lockstep(device, cpu, self.twin.batch(step), step, self._random, mode)
        finally:
            self._journal.is_stepping = False

    def test(self, state: StepState) -> EvaluationResult | None:
        """Check the evaluation of one batch, op by op; None if the twin has no test."""
        if self.twin.tests is None:
            return None
        device_test, cpu_test = self.twin.tests
        shadow = Shadow(self._random, self._journal)
        score = self._evaluate(self.twin.device, state, device_test, shadow)
        wrong: tuple[AttributedOp, ...] = ()
        if doubted := _doubted(shadow):
            only = frozenset(finding.number for finding in doubted)
            attribution = SideAttribution(self.twin.device)
            repeated = Shadow(self._random, self._journal, only, keep=True, attribution=attribution)
            self._evaluate(self.twin.device, state, device_test, repeated)
            wrong = _confirmed(doubted, repeated.attributed)
        expected = self._evaluate(self.twin.cpu, state, cpu_test, StepMode(self._random))
        return EvaluationResult(gap(score, expected), wrong, shadow.checked, shadow.unreferenced)

    def _evaluate(self, side: Side, state: StepState, test: Test, under: Any) -> NamedTensors:
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

    def attribute(
        self, step: int, state: StepState, only: frozenset[int]
    ) -> dict[int, AttributedOp]:
        """Repeat a step; returns the selected ops with their inputs and origins."""
        attribution = SideAttribution(self.twin.device)
        shadow = Shadow(
            self._random,
            self._journal,
            only,
            keep=True,
            attribution=attribution,
            random_checks=self.random_checks,
        )
        with anomaly(), contextlib.suppress(*ERRORS):
            self.lockstep(step, state, under=shadow)
        return shadow.attributed

    def before_op(self, step: int, state: StepState, index: int) -> AttributedOp | None:
        """Return an op that ends the process, with its inputs and origin, without running it."""
        attribution = SideAttribution(self.twin.device)
        no_ops: frozenset[int] = frozenset()
        for _ in range(2):
            shadow = Shadow(self._random, only=no_ops, attribution=attribution, stop=index)
            try:
                with anomaly():
                    self.lockstep(step, state, under=shadow)
            except OpReached:
                return shadow.attributed[index]
            except ERRORS:
                index = shadow.index  # another op raised earlier: use that one
        return None

    def out_of_bounds_write(
        self, step: int, state: StepState
    ) -> tuple[OutOfBoundsWrite, AttributedOp | None] | None:
        """Return an op that writes out of bounds; None if none does."""
        guard = WriteGuard(self.twin.device, self._random)
        self.lockstep(step, state, under=guard)
        if guard.write is None:
            return None
        index = guard.write.number
        return guard.write, self.attribute(step, state, frozenset({index})).get(index)

    def traces(self, step: int, state: StepState) -> tuple[list[TracedOp], list[TracedOp]]:
        """Trace the device's step and the CPU's; returns their ops."""
        device, cpu = self.twin.device, self.twin.cpu
        return self._trace(device, step, state), self._trace(cpu, step, state)

    def _trace(self, side: Side, step: int, state: StepState) -> list[TracedOp]:
        load(side, state)
        batch = self.twin.batch(step)
        trace = Trace(side, self._random)
        trace.restart(step)

        def enter(phase: str) -> None:
            trace.phase = phase

        with anomaly(), side.fault, trace:
            take_step(side, side.place(batch), enter)
        return trace.ops

    def test_traces(self, state: StepState) -> tuple[list[TracedOp], list[TracedOp]]:
        """Trace the device's evaluation of a batch and the CPU's; returns their ops."""
        assert self.twin.tests is not None
        passes = []
        sides = (self.twin.device, self.twin.cpu)
        for side, test in zip(sides, self.twin.tests, strict=True):
            trace = Trace(side, self._random)
            self._evaluate(side, state, test, trace)
            passes.append(trace.ops)
        return passes[0], passes[1]

    def capture(self, step: int, state: StepState, index: int) -> AttributedOp | None:
        """Return an op of a step with its inputs and origin; None if it did not run."""
        return self.attribute(step, state, frozenset({index})).get(index)

    def _after_error(
        self, step: int, state: StepState, shadow: Shadow, error: Exception
    ) -> StepResult:
        """Return the result of a step that raised an error: wrong ops, or the op that raised it."""
        wrong = self._confirm(step, state, shadow)
        if not wrong and not self._cpu_succeeds(step, state):
            raise error  # the CPU's step raises it too
        message = " ".join(str(error).split())[:200]
        lockstep = Lockstep(
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
            lockstep,
            lockstep,
            wrong,
            (),
            shadow.checked,
            shadow.unreferenced,
            f"{type(error).__name__}: {message}",
            self.before_op(step, state, shadow.index) if not wrong else None,
        )

    def _check_again(self, step: int, state: StepState, error: Exception) -> StepResult:
        """Repeat the check of a step that raised an error only without the check."""
        shadow = Shadow(self._random, self._journal, random_checks=self.random_checks)
        with contextlib.suppress(*ERRORS):
            self.lockstep(step, state, under=shadow)
        return self._after_error(step, state, shadow, error)

    def _cpu_succeeds(self, step: int, state: StepState) -> bool:
        """Return whether the CPU's own step raises no error."""
        cpu = self.twin.cpu
        load(cpu, state)
        self._random.restart(step)
        try:
            with StepMode(self._random):
                take_step(cpu, cpu.place(self.twin.batch(step)))
        except ERRORS:
            return False
        return True

    def _confirm(self, step: int, state: StepState, shadow: Shadow) -> tuple[AttributedOp, ...]:
        """Confirm ops that looked wrong: some inputs were overwritten before they were stored."""
        doubted = _doubted(shadow)
        if not doubted:
            return ()
        only = frozenset(finding.number for finding in doubted)
        for _ in range(PASSES):  # an intermittent fault may be absent in a pass
            confirmed = _confirmed(doubted, self.attribute(step, state, only))
            if confirmed:
                return confirmed
        return ()


def _doubted(shadow: Shadow) -> list[OpFinding]:
    """Return the ops that a first pass could not call right."""
    doubted = [
        finding
        for finding in shadow.findings
        if finding.judgement.status == "wrong" or not finding.call
    ]
    return doubted[:CONFIRMED]


def _confirmed(
    doubted: list[OpFinding], repeated: dict[int, AttributedOp]
) -> tuple[AttributedOp, ...]:
    """Return the doubted ops that are wrong with their inputs stored."""
    confirmed = []
    for finding in doubted:
        attributed = repeated.get(finding.number)
        if attributed is None or attributed.finding.op != finding.op:
            continue
        if attributed.finding.judgement.status == "wrong":
            confirmed.append(attributed)
        elif finding.call is not None:
            confirmed.append(
                attributed._replace(finding=finding)
            )  # right this time: it depends on state
    return tuple(confirmed)


@contextlib.contextmanager
def anomaly() -> Iterator[None]:
    """Make autograd's nodes record the line that created them."""
    import warnings

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about anomaly mode being slow
        with torch.autograd.set_detect_anomaly(True, check_nan=False):
            yield

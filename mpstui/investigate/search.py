"""From a twin to a finding: which step, which op, and when no op, what else."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import torch
from msgspec.structs import replace

from mpstui.domain.investigation import Evidence, Investigation, Lockstep, LossCurve, Stage, Verdict
from mpstui.modes.journal import NO_JOURNAL, Journal, JournalEntry
from mpstui.modes.step import StepState, load, save
from mpstui.ops.call import Call

from .conclusion import Conclusion, belongs, of_blame, too_slow_in
from .isolate import IsolationResult, OpIsolator, op_at_fault
from .other_causes import explain, full_precision, settings
from .progress import ProgressReporter
from .repeated_passes import explain_divergence, test_scene
from .request import InvestigationFolder, InvestigationRequest
from .solo_training import SoloTraining
from .start import Start
from .step_inspector import ERRORS, RepeatedStep, StepInspector, StepResult
from .twin import Twin

SETTING_SHOWS = 1e-5
"""A gap that a lower precision leaves in gradients, at least; rounding leaves less."""

RETRIES = 4
"""How many more times a step is checked that is wrong only without the check."""

TEST_GAP = 1e-3
"""A gap between the scores of a test batch that is more than rounding."""

EARLIER_OPS = 400
"""How many ops before the one at fault are searched for earlier calls of it."""


class Search:
    """One investigation."""

    def __init__(
        self,
        twin: Twin,
        request: InvestigationRequest,
        folder: InvestigationFolder,
        teller: ProgressReporter,
        journal: Journal | Any = NO_JOURNAL,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._twin = twin
        self._request = request
        self._folder = folder
        self._teller = teller
        self._clock = clock
        run_dir = Path(request.run) if request.run else folder.path
        self._blamer = OpIsolator(twin, folder, run_dir, teller, self._write_early)
        self._looker = StepInspector(twin, journal)
        self._alone = SoloTraining(twin, clock)
        self._looks: list[StepResult] = []
        self._entered: tuple[int, StepState] | None = None
        """The first step that was looked at, and the state before it."""
        self._raised = False
        self._tested_ops = 0
        self._untested: dict[str, str] = {}
        """Ops of the evaluation that were not checked, and why."""

    def close(self) -> None:
        """End the processes that are still there."""
        self._blamer.close()

    def run(self, start: Start) -> Investigation:
        """Search from the run's snapshots, or from the first step."""
        look = self._walk(start)
        if look is None:
            return self._finding(self._clean(start), self._looks[-1] if self._looks else None)
        differs = f"differs in {look.plain.phase}" if look.plain.phase else "agrees with the CPU"
        self._teller.done(Stage.LOCKSTEP, f"step {look.step} {differs}")
        if look.raised and not look.wrong:
            return self._finding(self._raises(look), look)
        if look.wrong:
            return self._finding(self._faulty(look), look)
        if (exact := self._wrong_in_full_precision(look)) is not None:
            return self._finding(self._faulty(exact), look)
        return self._finding(explain(self._looker, look, self._blamer, self._teller), look)

    def after_death(self, begun: JournalEntry, state: StepState, how: str) -> Investigation:
        """The op that ended the last process, from the state of the step that it was in."""
        ended = f"the process ended ({how})" if how else "mpstui ended the process, too slow,"
        if begun.phase == "evaluation":
            words = (
                f"{ended} in op {begun.index} of the evaluation, {begun.op}; it was not tried alone"
            )
            return self._finding(Conclusion(Verdict.INCOMPLETE, words), None, curves=False)
        self._entered = begun.step, state
        self._teller.say(Stage.OPS, f"the process ended in {begun.op}; looking at its inputs")
        witnessed = self._looker.before_op(begun.step, state, begun.index)
        if witnessed is None:
            words = f"{ended} in {begun.op}, and did not come there again"
            return self._finding(Conclusion(Verdict.INCOMPLETE, words), None, curves=False)
        self._teller.done(Stage.OPS, f"op {begun.index}, {begun.op}, in {begun.phase}")
        blame = self._blamer.blame_deadly(witnessed, begun.step, how)
        if blame is None:
            return self._finding(too_slow_in(begun), None, curves=False)
        return self._finding(of_blame(blame, self._device), None, curves=False)

    @property
    def _device(self) -> str:
        return self._twin.config.spec.device

    def _walk(self, start: Start) -> StepResult | None:
        """Go through steps until one differs from the CPU's."""
        deadline = self._clock() + self._request.seconds
        for point in start.points:
            done = point.enter(self._twin)
            self._entered = done + 1, save(self._twin.device)
            closely = steps_to_look_at(done, self._request.steps, start.bad_step)
            for step in range(done + 1, min(closely[-1], self._twin.total_steps) + 1):
                if self._clock() > deadline:
                    break
                try:
                    if step not in closely:
                        self._alone.take_step(self._twin.device, step)
                        continue
                    place = closely.index(step)
                    said = f"step {step}, {place + 1} of {len(closely)}"
                    self._teller.say(Stage.LOCKSTEP, said, place / len(closely))
                    look = self._look(step)
                except ERRORS:  # on the CPU too
                    self._raised = True
                    break
                self._looks.append(look)
                if look.wrong or look.raised or look.plain.phase or self._lower(look):
                    return look
                if look.plain.loss is None:
                    break
        return None

    def _look(self, step: int) -> StepResult:
        look = self._looker.look(step, self._keep)
        if look.plain.phase and not (look.shadowed.phase or look.wrong or look.raised):
            # Right the first time: some faults wait for what memory held before, or for luck.
            repeats: list[RepeatedStep] = []
            for _ in range(RETRIES):
                load(self._twin.device, look.state)
                again = self._looker.look(step, self._keep)
                if again.wrong:
                    return again
                repeats.append(RepeatedStep(again.plain.phase, again.shadowed.phase))
            return look._replace(repeats=tuple(repeats))
        return look

    def _keep(self, state: StepState) -> None:
        """Should the process not survive the step, the next one begins with this."""
        torch.save(state._asdict(), self._folder.state)

    def _lower(self, look: StepResult) -> bool:
        """Whether a lower precision that is on shows."""
        gap = look.plain.gradient_gap
        return bool(settings(self._twin)) and (gap is None or gap > SETTING_SHOWS)

    def _wrong_in_full_precision(self, look: StepResult) -> StepResult | None:
        """The step without a lower precision, where an op is wrong in it that was right with it.

        What a lower precision allows can hide an op that is wrong in any.
        """
        if not settings(self._twin):
            return None
        load(self._twin.device, look.state)
        with full_precision(self._twin) as plain:
            judge = self._looker.draw_judge
            exact = StepInspector(plain, draw_judge=judge).look(look.step)
        return exact if exact.wrong else None

    def _in_full_precision(self, look: StepResult) -> tuple[Evidence, ...]:
        """Whether a lower precision that is on has a part in a wrong result.

        It is no excuse: what a precision costs is within the bound that the op was judged by.
        """
        names = settings(self._twin)
        if not names:
            return ()
        load(self._twin.device, look.state)
        with full_precision(self._twin) as plain:
            judge = self._looker.draw_judge
            wrong = StepInspector(plain, draw_judge=judge).look(look.step).wrong
        same = any(seen.found.op == look.wrong[0].found.op for seen in wrong)
        tried = f"the step without {' and '.join(name for name, _ in names)}"
        return (Evidence(tried=tried, outcome="wrong as well" if same else "right"),)

    def _faulty(self, look: StepResult) -> Conclusion:
        first, *others = look.wrong
        more = f", and {len(others)} more" if others else ""
        said = f"{first.found.op} in {first.found.phase} is wrong{more}"
        self._teller.done(Stage.OPS, said)
        blame = self._blamer.blame(first, look.step, lambda: self._earlier(look))
        also = tuple(op_at_fault(each, look.step) for each in others)
        conclusion = of_blame(blame, self._device, also)
        more_evidence = self._in_full_precision(look)
        return conclusion._replace(evidence=(*conclusion.evidence, *more_evidence))

    def _write_early(self, blame: IsolationResult) -> None:
        """Write the finding down before its call is made small, which may end in anything."""
        note = "none: the investigation ended before it was written"
        conclusion = of_blame(blame._replace(repro_note=note), self._device)
        look = self._looks[-1] if self._looks else None
        self._folder.write_finding(self._finding(conclusion, look, curves=False))

    def _raises(self, look: StepResult) -> Conclusion:
        """An error that the CPU's step does not raise."""
        self._teller.done(Stage.OPS, f"the device's step raises {look.raised}")
        evidence = (Evidence(tried="the same step on the CPU", outcome="raises nothing"),)
        where = f"step {look.step} raises an error on {self._device}, in {look.plain.phase}"
        if look.raising is None:
            words = f"{where}, outside of any op: {look.raised}"
            return Conclusion(Verdict.OTHER_OPS, words, evidence=evidence)
        op = replace(op_at_fault(look.raising, look.step), where="", values=look.raised)
        return Conclusion(
            Verdict.FAULTY_OP,
            f"{op.op} in {op.phase} raises {look.raised}.{belongs(op)}",
            kind="raises an error",
            op=op,
            evidence=evidence,
            repro_note="none: the error itself says what the device refuses",
        )

    def _earlier(self, look: StepResult) -> list[Call]:
        """Calls of the same op in the same step that came before it, one of each shape."""
        index, op = look.wrong[0].found.number, look.wrong[0].found.op
        before = frozenset(range(max(1, index - EARLIER_OPS), index))
        seen = self._looker.witness(look.step, look.state, before)
        calls = {
            each.found.call.described(): each.found.call
            for each in seen.values()
            if each.found.op == op and each.found.call is not None
        }
        return list(calls.values())

    def _clean(self, start: Start) -> Conclusion:
        steps = ranges([look.step for look in self._looks])
        if self._looks:
            checked = sum(look.checked for look in self._looks)
            self._teller.done(Stage.LOCKSTEP, f"{steps} agree with the CPU")
            self._teller.done(Stage.OPS, f"{checked:,} ops checked, none is wrong")
        not_finite = any(look.plain.loss is None for look in self._looks)
        if self._entered and (start.bad_step is not None or self._raised or not_finite):
            first, state = self._entered
            seconds = self._request.seconds
            bad = start.bad_step
            found = self._alone.diverges_too(first, state, bad, seconds, self._teller)
            if found is not None:
                return found
        if not self._looks:
            raised = "the first step raises an error on the CPU too"
            return Conclusion(Verdict.INCOMPLETE, f"No step could be looked at: {raised}.")
        return self._tested() or Conclusion(
            Verdict.NOTHING,
            f"{steps} agree with the CPU, op by op.",
            remedy="a fault that begins later is found with more --steps, or --from the run",
        )

    def _tested(self) -> Conclusion | None:
        """What the evaluation shows, when every step is right."""
        self._teller.say(Stage.OPS, "the evaluation of one test batch")
        step = self._looks[-1].step
        state = save(self._twin.device)
        try:
            tested = self._looker.test(state)
        except ERRORS as error:  # the CPU's step is right, and so is what follows it
            words = " ".join(str(error).split())[:120]
            self._untested = {"evaluation": f"it raised {type(error).__name__}: {words}"}
            return None
        if tested is None:
            return None
        self._tested_ops, self._untested = tested.checked, tested.unreferenced
        if tested.wrong:
            first, *others = tested.wrong
            self._teller.done(Stage.OPS, f"{first.found.op} in the evaluation is wrong")
            blame = self._blamer.blame(first, step, list)
            also = tuple(op_at_fault(seen, step) for seen in others)
            return of_blame(blame, self._device, also)
        if tested.gap.error > TEST_GAP:
            scene = test_scene(self._looker, step, state)
            parted = explain_divergence(scene, self._device, self._blamer, self._teller)
            words = f"{tested.gap.where} of a test batch differ from the CPU's"
            return parted or Conclusion(Verdict.NOTHING, f"The {words}, and no single op does.")
        self._teller.done(Stage.OPS, f"{tested.checked:,} ops of the evaluation are right")
        return None

    def _finding(
        self, conclusion: Conclusion, look: StepResult | None, curves: bool = True
    ) -> Investigation:
        twin = self._twin
        drawn: tuple[LossCurve, ...] = ()
        if curves and self._entered is not None:
            self._teller.say(Stage.REPORT, "both losses over the same steps")
            drawn = self._alone.curves(*self._entered)
        return Investigation(
            workload=twin.config.workload,
            device=twin.config.device,
            device_name=twin.device_name,
            torch=str(torch.__version__),
            run=Path(self._request.run).name,
            known=conclusion.known,
            lockstep=self._per_sample(look.plain) if look else None,
            suspects=_names(f"{s.op} ({s.phase})" for each in self._looks for s in each.suspects),
            ops_checked=sum(look.checked for look in self._looks) + self._tested_ops,
            steps_checked=len(self._looks),
            unreferenced=_names(
                f"{op} ({reason})"
                for reasons in (*(look.unreferenced for look in self._looks), self._untested)
                for op, reason in reasons.items()
            ),
            curves=drawn,
            notes=tuple(sorted(twin.notes, key=lambda note: "SIMULATED" not in note)),
            seconds=self._teller.seconds,
            **conclusion._asdict(),
        )

    def _per_sample(self, found: Lockstep) -> Lockstep:
        """Losses as the run's log shows them."""
        if not self._twin.per_sample:
            return found
        size = self._twin.config.batch_size
        loss = None if found.loss is None else found.loss / size
        cpu_loss = None if found.cpu_loss is None else found.cpu_loss / size
        return replace(found, loss=loss, cpu_loss=cpu_loss)


def steps_to_look_at(done: int, count: int, bad_step: int | None) -> list[int]:
    """The first steps; and where a run went wrong far behind them, those around that, too.

    Args:
        done: Steps that are done already.
        count: How many to look at, in each place.
        bad_step: The step at which the run went wrong.
    """
    steps = set(range(done + 1, done + count + 1))
    if bad_step is not None and bad_step > done:
        steps |= set(range(max(done + 1, bad_step + 2 - count), bad_step + 2))
    return sorted(steps)


def ranges(steps: list[int]) -> str:
    """Steps in words: ``steps 1–20 and 841–860``."""
    spans: list[list[int]] = []
    for step in sorted(set(steps)):
        if spans and spans[-1][1] == step - 1:
            spans[-1][1] = step
        else:
            spans.append([step, step])
    words = " and ".join(f"{low}–{high}" if high > low else f"{low}" for low, high in spans)
    return f"step{'' if len(set(steps)) == 1 else 's'} {words or 'none'}"


def _names(found: Iterable[str]) -> tuple[str, ...]:
    return tuple(sorted(set(found)))

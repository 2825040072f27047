"""Searches a twin for a fault: which step, which op, or if no op, which other cause."""

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

from .conclusion import Conclusion, from_isolation, origin_sentence, too_slow_in
from .isolate import CheckedDevice, IsolationResult, OpIsolator, op_at_fault
from .other_causes import explain, full_precision, lower_precisions
from .progress import ProgressReporter
from .repeated_passes import evaluation_passes, locate_divergence
from .request import InvestigationFolder, InvestigationRequest
from .solo_training import SoloTraining
from .start import Start
from .step_inspector import ERRORS, RepeatedStep, StepInspector, StepResult
from .twin import Twin

SETTING_SHOWS = 1e-5
"""Least gradient gap that a lower precision causes; rounding causes less."""

RETRIES = 4
"""Number of additional checks of a step that is wrong only without the check."""

TEST_GAP = 1e-3
"""Gap between the scores of a test batch that exceeds rounding."""

EARLIER_OPS = 400
"""Number of ops before the one at fault that are searched for earlier calls of it."""


class Search:
    """One investigation."""

    def __init__(
        self,
        twin: Twin,
        request: InvestigationRequest,
        folder: InvestigationFolder,
        reporter: ProgressReporter,
        journal: Journal | Any = NO_JOURNAL,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._twin = twin
        self._request = request
        self._folder = folder
        self._reporter = reporter
        self._clock = clock
        run_dir = Path(request.run) if request.run else folder.path
        device = CheckedDevice(twin.config.spec, twin.device.backend, twin.device.fault)
        self._isolator = OpIsolator(device, folder, run_dir, reporter, self._write_early)
        self._inspector = StepInspector(twin, journal)
        self._solo = SoloTraining(twin, clock)
        self._results: list[StepResult] = []
        self._entered: tuple[int, StepState] | None = None
        """The first step inspected, and the state before it."""
        self._raised = False
        self._tested_ops = 0
        self._untested: dict[str, str] = {}
        """Ops of the evaluation that were not checked, with the reason."""

    def close(self) -> None:
        """End the remaining processes."""
        self._isolator.close()

    def run(self, start: Start) -> Investigation:
        """Search from the run's snapshots or the first step."""
        result = self._walk(start)
        if result is None:
            return self._finding(
                self._conclude_clean(start), self._results[-1] if self._results else None
            )
        differs = (
            f"differs in {result.without_check.phase}"
            if result.without_check.phase
            else "agrees with the CPU"
        )
        self._reporter.finish(Stage.LOCKSTEP, f"step {result.step} {differs}")
        if result.raised and not result.wrong:
            return self._finding(self._conclude_error(result), result)
        if result.wrong:
            return self._finding(self._conclude_faulty(result), result)
        if (exact := self._wrong_in_full_precision(result)) is not None:
            return self._finding(self._conclude_faulty(exact), result)
        return self._finding(
            explain(self._inspector, result, self._isolator, self._reporter), result
        )

    def after_death(self, last_op: JournalEntry, state: StepState, exit_text: str) -> Investigation:
        """Investigate the op that ended the last process, from the state before its step."""
        ended = (
            f"the process ended ({exit_text})"
            if exit_text
            else "mpstui ended the process, too slow,"
        )
        if last_op.phase == "evaluation":
            message = (
                f"{ended} in op {last_op.index} of the evaluation, {last_op.op}; "
                "it was not tried alone"
            )
            return self._finding(Conclusion(Verdict.INCOMPLETE, message), None, curves=False)
        self._entered = last_op.step, state
        self._reporter.report(
            Stage.OPS, f"the process ended in {last_op.op}; looking at its inputs"
        )
        attributed = self._inspector.before_op(last_op.step, state, last_op.index)
        if attributed is None:
            message = f"{ended} in {last_op.op}, and did not reach it again"
            return self._finding(Conclusion(Verdict.INCOMPLETE, message), None, curves=False)
        self._reporter.finish(Stage.OPS, f"op {last_op.index}, {last_op.op}, in {last_op.phase}")
        isolation = self._isolator.isolate_deadly(attributed, last_op.step, exit_text)
        if isolation is None:
            return self._finding(too_slow_in(last_op), None, curves=False)
        return self._finding(from_isolation(isolation, self._device), None, curves=False)

    @property
    def _device(self) -> str:
        return self._twin.config.spec.device

    def _walk(self, start: Start) -> StepResult | None:
        """Inspect steps until one differs from the CPU's; None if none does."""
        deadline = self._clock() + self._request.seconds
        for point in start.points:
            done = point.enter(self._twin)
            self._entered = done + 1, save(self._twin.device)
            steps_to_check = steps_to_inspect(done, self._request.steps, start.bad_step)
            for step in range(done + 1, min(steps_to_check[-1], self._twin.total_steps) + 1):
                if self._clock() > deadline:
                    break
                try:
                    if step not in steps_to_check:
                        self._solo.take_step(self._twin.device, step)
                        continue
                    index = steps_to_check.index(step)
                    message = f"step {step}, {index + 1} of {len(steps_to_check)}"
                    self._reporter.report(Stage.LOCKSTEP, message, index / len(steps_to_check))
                    result = self._inspect(step)
                except ERRORS:  # the CPU's step raises it too
                    self._raised = True
                    break
                self._results.append(result)
                if (
                    result.wrong
                    or result.raised
                    or result.without_check.phase
                    or self._shows_lower_precision(result)
                ):
                    return result
                if result.without_check.loss is None:
                    break
        return None

    def _inspect(self, step: int) -> StepResult:
        result = self._inspector.inspect(step, self._save_state)
        if result.without_check.phase and not (
            result.with_check.phase or result.wrong or result.raised
        ):
            # Right with the check: some faults depend on previous memory contents, or on chance.
            repeats: list[RepeatedStep] = []
            for _ in range(RETRIES):
                load(self._twin.device, result.state)
                repeated = self._inspector.inspect(step, self._save_state)
                if repeated.wrong:
                    return repeated
                repeats.append(
                    RepeatedStep(repeated.without_check.phase, repeated.with_check.phase)
                )
            return result._replace(repeats=tuple(repeats))
        return result

    def _save_state(self, state: StepState) -> None:
        """Save the state before a step: if the process dies, the next one starts from it."""
        torch.save(state._asdict(), self._folder.state)

    def _shows_lower_precision(self, result: StepResult) -> bool:
        """Return whether a lower precision is active and affects the step."""
        gap = result.without_check.gradient_gap
        return bool(lower_precisions(self._twin)) and (gap is None or gap > SETTING_SHOWS)

    def _wrong_in_full_precision(self, result: StepResult) -> StepResult | None:
        """Return the step in full precision if one of its ops is wrong; else None.

        The tolerance of a lower precision can hide an op that is wrong in any precision.
        """
        if not lower_precisions(self._twin):
            return None
        load(self._twin.device, result.state)
        with full_precision(self._twin) as precise_twin:
            checks = self._inspector.random_checks
            precise = StepInspector(precise_twin, random_checks=checks).inspect(result.step)
        return precise if precise.wrong else None

    def _in_full_precision(self, result: StepResult) -> tuple[Evidence, ...]:
        """Check whether an active lower precision contributes to a wrong result.

        It does not excuse the op: the op's tolerance already allows for the precision.
        """
        precisions = lower_precisions(self._twin)
        if not precisions:
            return ()
        load(self._twin.device, result.state)
        with full_precision(self._twin) as precise_twin:
            checks = self._inspector.random_checks
            wrong = StepInspector(precise_twin, random_checks=checks).inspect(result.step).wrong
        still_wrong = any(op.finding.op == result.wrong[0].finding.op for op in wrong)
        tried = f"the step without {' and '.join(name for name, _ in precisions)}"
        return (Evidence(tried=tried, outcome="wrong as well" if still_wrong else "right"),)

    def _conclude_faulty(self, result: StepResult) -> Conclusion:
        first, *further = result.wrong
        more = f", and {len(further)} more" if further else ""
        message = f"{first.finding.op} in {first.finding.phase} is wrong{more}"
        self._reporter.finish(Stage.OPS, message)
        isolation = self._isolator.isolate(first, result.step, lambda: self._earlier_calls(result))
        also = tuple(op_at_fault(op, result.step) for op in further)
        conclusion = from_isolation(isolation, self._device, also)
        more_evidence = self._in_full_precision(result)
        return conclusion._replace(evidence=(*conclusion.evidence, *more_evidence))

    def _write_early(self, isolation: IsolationResult) -> None:
        """Write the finding before its call is shrunk, which may end the process."""
        note = "none: the investigation ended before it was written"
        conclusion = from_isolation(isolation._replace(repro_note=note), self._device)
        result = self._results[-1] if self._results else None
        self._folder.write_finding(self._finding(conclusion, result, curves=False))

    def _conclude_error(self, result: StepResult) -> Conclusion:
        """Conclude about an error that the CPU's step does not raise."""
        self._reporter.finish(Stage.OPS, f"the device's step raises {result.raised}")
        evidence = (Evidence(tried="the same step on the CPU", outcome="raises nothing"),)
        where = (
            f"step {result.step} raises an error on {self._device}, in {result.without_check.phase}"
        )
        if result.raising is None:
            message = f"{where}, outside of any op: {result.raised}"
            return Conclusion(Verdict.OTHER_OPS, message, evidence=evidence)
        op = replace(op_at_fault(result.raising, result.step), where="", values=result.raised)
        return Conclusion(
            Verdict.FAULTY_OP,
            f"{op.op} in {op.phase} raises {result.raised}.{origin_sentence(op)}",
            kind="raises an error",
            op=op,
            evidence=evidence,
            repro_note="none: the error itself says what the device rejects",
        )

    def _earlier_calls(self, result: StepResult) -> list[Call]:
        """Return earlier calls of the same op in the same step, one of each shape."""
        index, op = result.wrong[0].finding.number, result.wrong[0].finding.op
        before = frozenset(range(max(1, index - EARLIER_OPS), index))
        ops = self._inspector.attribute(result.step, result.state, before)
        calls = {
            candidate.finding.call.describe_tensors(): candidate.finding.call
            for candidate in ops.values()
            if candidate.finding.op == op and candidate.finding.call is not None
        }
        return list(calls.values())

    def _conclude_clean(self, start: Start) -> Conclusion:
        steps = format_ranges([result.step for result in self._results])
        if self._results:
            checked = sum(result.checked for result in self._results)
            self._reporter.finish(Stage.LOCKSTEP, f"{steps} agree with the CPU")
            self._reporter.finish(Stage.OPS, f"{checked:,} ops checked, none is wrong")
        not_finite = any(result.without_check.loss is None for result in self._results)
        if self._entered and (start.bad_step is not None or self._raised or not_finite):
            first, state = self._entered
            seconds = self._request.seconds
            bad = start.bad_step
            conclusion = self._solo.check_cpu_training(first, state, bad, seconds, self._reporter)
            if conclusion is not None:
                return conclusion
        if not self._results:
            raised = "the first step raises an error on the CPU too"
            return Conclusion(Verdict.INCOMPLETE, f"No step could be checked: {raised}.")
        return self._check_evaluation() or Conclusion(
            Verdict.NOTHING,
            f"{steps} agree with the CPU, op by op.",
            remedy="a fault that begins later is found with more --steps, or --from the run",
        )

    def _check_evaluation(self) -> Conclusion | None:
        """Check the evaluation when every step is right; None if it is right too."""
        self._reporter.report(Stage.OPS, "the evaluation of one test batch")
        step = self._results[-1].step
        state = save(self._twin.device)
        try:
            evaluation = self._inspector.test(state)
        except ERRORS as error:  # the steps are right; the evaluation stays unchecked
            message = " ".join(str(error).split())[:120]
            self._untested = {"evaluation": f"it raised {type(error).__name__}: {message}"}
            return None
        if evaluation is None:
            return None
        self._tested_ops, self._untested = evaluation.checked, evaluation.unreferenced
        if evaluation.wrong:
            first, *further = evaluation.wrong
            self._reporter.finish(Stage.OPS, f"{first.finding.op} in the evaluation is wrong")
            isolation = self._isolator.isolate(first, step, list)
            also = tuple(op_at_fault(op, step) for op in further)
            return from_isolation(isolation, self._device, also)
        if evaluation.gap.error > TEST_GAP:
            passes = evaluation_passes(self._inspector, step, state)
            conclusion = locate_divergence(passes, self._device, self._isolator, self._reporter)
            message = f"{evaluation.gap.where} of a test batch differ from the CPU's"
            return conclusion or Conclusion(
                Verdict.NOTHING, f"The {message}, and no single op does."
            )
        self._reporter.finish(Stage.OPS, f"{evaluation.checked:,} ops of the evaluation are right")
        return None

    def _finding(
        self, conclusion: Conclusion, result: StepResult | None, curves: bool = True
    ) -> Investigation:
        twin = self._twin
        loss_curves: tuple[LossCurve, ...] = ()
        if curves and self._entered is not None:
            self._reporter.report(Stage.REPORT, "both losses over the same steps")
            loss_curves = self._solo.curves(*self._entered)
        return Investigation(
            workload=twin.config.workload,
            device=twin.config.device,
            device_name=twin.device_name,
            torch=str(torch.__version__),
            run=Path(self._request.run).name,
            known=conclusion.known,
            lockstep=self._per_sample(result.without_check) if result else None,
            suspects=_sorted_names(
                f"{s.op} ({s.phase})" for result in self._results for s in result.suspects
            ),
            ops_checked=sum(result.checked for result in self._results) + self._tested_ops,
            steps_checked=len(self._results),
            unreferenced=_sorted_names(
                f"{op} ({reason})"
                for reasons in (*(result.unreferenced for result in self._results), self._untested)
                for op, reason in reasons.items()
            ),
            curves=loss_curves,
            notes=tuple(sorted(twin.notes, key=lambda note: "SIMULATED" not in note)),
            seconds=self._reporter.seconds,
            **conclusion._asdict(),
        )

    def _per_sample(self, lockstep: Lockstep) -> Lockstep:
        """Return the lockstep with losses per sample, as in the run's log."""
        if not self._twin.per_sample:
            return lockstep
        size = self._twin.config.batch_size
        loss = None if lockstep.loss is None else lockstep.loss / size
        cpu_loss = None if lockstep.cpu_loss is None else lockstep.cpu_loss / size
        return replace(lockstep, loss=loss, cpu_loss=cpu_loss)


def steps_to_inspect(done: int, count: int, bad_step: int | None) -> list[int]:
    """Return the steps to inspect: the first ones, and those around the run's bad step.

    Args:
        done: The number of steps already done.
        count: The number of steps to inspect in each place.
        bad_step: The step at which the run went wrong.
    """
    steps = set(range(done + 1, done + count + 1))
    if bad_step is not None and bad_step > done:
        steps |= set(range(max(done + 1, bad_step + 2 - count), bad_step + 2))
    return sorted(steps)


def format_ranges(steps: list[int]) -> str:
    """Format steps as text: ``steps 1–20 and 841–860``."""
    spans: list[list[int]] = []
    for step in sorted(set(steps)):
        if spans and spans[-1][1] == step - 1:
            spans[-1][1] = step
        else:
            spans.append([step, step])
    text = " and ".join(f"{low}–{high}" if high > low else f"{low}" for low, high in spans)
    return f"step{'' if len(set(steps)) == 1 else 's'} {text or 'none'}"


def _sorted_names(names: Iterable[str]) -> tuple[str, ...]:
    return tuple(sorted(set(names)))

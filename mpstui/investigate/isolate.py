"""Tests the op at fault on its own: alone, dense, in a fresh process; writes a small repro."""

from __future__ import annotations

import contextlib
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from msgspec.structs import replace

from mpstui.backends import Backend
from mpstui.domain.devices import DeviceSpec, fault_file
from mpstui.domain.investigation import Evidence, OpAtFault, Stage, shorten
from mpstui.domain.units import DASH
from mpstui.modes.shadow import AttributedOp
from mpstui.ops.call import Call
from mpstui.ops.judge import OpJudgement
from mpstui.ops.references import run
from mpstui.processes.command import child_environment, module_command
from mpstui.runs.rundir import RunDir

from .progress import ProgressReporter
from .repro.attempt import CallContext, CallOutcome, attempt
from .repro.client import ReplayClient
from .repro.public_call import public_call
from .repro.script import ReproScript, source
from .repro.shrink import shrink
from .repro.symptom import symptom
from .request import InvestigationFolder

TIMES = 3
"""The number of times a call is repeated."""

FEW_CALLS = 25
"""Calls that a repro of random numbers may combine; with more, larger calls are better."""

EARLIER = 3
"""Number of earlier calls of the same op that are tried as the cause of a later wrong one."""

REPRO_SECONDS = 300.0
"""How long repro.py may take, with the import of torch; after that its status is unknown."""

OUTPUT = 8
"""Lines of a repro's output in the report."""

DEADLY_TRIALS = 4
"""Trials of a call that ends its process; each needs a new process."""


class IsolationResult(NamedTuple):
    """The result of testing an op on its own."""

    op: OpAtFault
    evidence: tuple[Evidence, ...]
    state_dependent: bool
    kind: str
    repro: str = ""
    repro_note: str = ""
    repro_output: str = ""


class ReproRun(NamedTuple):
    """A repro script's name and how it ran."""

    name: str = ""
    note: str = ""
    output: str = ""


def op_at_fault(op: AttributedOp, step: int, symptom: str = "") -> OpAtFault:
    """Return the finding about an op from a step, with an optional symptom."""
    finding, origin = op.finding, op.origin
    judgement = finding.judgement
    return OpAtFault(
        op=finding.op,
        phase=finding.phase,
        index=finding.number,
        step=step,
        where=judgement.where,
        error=judgement.error,
        cpu_error=judgement.cpu_error,
        values=judgement.values,
        symptom=symptom,
        source=origin.source,
        code=origin.code,
        parameters=origin.parameters,
        inputs=finding.call.describe_tensors() if finding.call else (),
        worst=worst_value(judgement),
        public=public_call(finding.call) if finding.call else "",
    )


def worst_value(judgement: OpJudgement) -> str:
    """Describe the value with the largest error; empty if there is none."""
    if judgement.at is None or judgement.got is None or judgement.want is None:
        return ""
    index = f"[{', '.join(map(str, judgement.at))}]"
    return f"{index}: {judgement.got:.9g} where {judgement.want:.9g} is right"


class CheckedDevice(NamedTuple):
    """The device whose ops are tested."""

    spec: DeviceSpec
    backend: Backend
    fault: contextlib.AbstractContextManager[Any]
    """The simulated fault of the spec; does nothing if it has none."""


class OpIsolator:
    """A tester of single op calls on a device.

    Args:
        device: The device.
        folder: The folder for repro.py.
        run_dir: The run's folder, with the copy of a fault's file.
        reporter: Reports the progress.
        before_shrinking: Called with the result so far before a call is reduced.
    """

    def __init__(
        self,
        device: CheckedDevice,
        folder: InvestigationFolder,
        run_dir: Path,
        reporter: ProgressReporter,
        before_shrinking: Callable[[IsolationResult], None],
    ) -> None:
        self._folder = folder
        self._run_dir = run_dir
        self._reporter = reporter
        self._backend, self._fault = device.backend, device.fault
        self._fault_name = device.spec.option("fault") or ""
        self._replay = ReplayClient(device.spec.device, self._fault_name, run_dir)
        self._before_shrinking = before_shrinking

    def close(self) -> None:
        """End the process that runs calls."""
        self._replay.close()

    def isolate(
        self, attributed: AttributedOp, step: int, earlier: Callable[[], Sequence[Call]]
    ) -> IsolationResult:
        """Repeat and shrink a call whose result was wrong, and write a repro.

        Args:
            attributed: The op, with its call.
            step: The training step.
            earlier: Returns earlier calls of the same op.
        """
        call = attributed.finding.call
        if call is None:
            op = op_at_fault(attributed, step)
            return IsolationResult(
                op, (), True, "wrong result", repro_note="its inputs were not stored"
            )
        self._reporter.report(Stage.REPEAT, "the same call alone", 0.0)
        alone = self._attempt(call, CallContext(times=TIMES))
        evidence = [Evidence(tried="the same call alone", outcome=alone.text)]
        context, outcome = CallContext(times=TIMES), alone
        if not alone.wrong:
            in_backward = CallContext(backward=True, times=TIMES)
            outcome = self._attempt(call, in_backward)
            label = "the same call inside a backward pass"
            evidence.append(Evidence(tried=label, outcome=outcome.text))
            context = in_backward if outcome.wrong else context
        self._reporter.report(Stage.REPEAT, "with contiguous inputs", 0.3)
        evidence += self._try_dense(call, context)
        self._reporter.report(Stage.REPEAT, "in a fresh process", 0.4)
        fresh = self._replay.fresh(call, context)
        evidence.append(Evidence(tried="in a fresh process", outcome=fresh.text))
        state_dependent = fresh.wrong < fresh.times
        if not fresh.wrong:
            after_earlier = self._after_earlier(call, context, earlier())
            if after_earlier is not None:
                context, label = after_earlier
                evidence.append(Evidence(tried="behind an earlier call of the op", outcome=label))
        symptom = self._symptom(attributed, outcome)
        kind = "result never written" if "never written" in symptom else "wrong result"
        self._reporter.finish(Stage.REPEAT, "; ".join(f"{e.tried}: {e.outcome}" for e in evidence))
        op = op_at_fault(attributed, step, symptom)
        always = fresh.wrong == fresh.times or bool(context.before)
        context = context._replace(times=1 if always else TIMES)
        isolation = IsolationResult(op, tuple(evidence), state_dependent, kind)
        self._before_shrinking(isolation)
        repro = self._write_repro(op, call, context, outcome)
        self._replay.close()
        return IsolationResult(op, tuple(evidence), state_dependent, kind, *repro)

    def isolate_deadly(
        self, attributed: AttributedOp, step: int, exit_text: str
    ) -> IsolationResult | None:
        """Repeat a call that ended its process or did not return, and write a repro.

        Args:
            attributed: The op, with its call.
            step: The training step.
            exit_text: How the process ended; empty if the call took too long.

        Returns:
            The result; None if undecided: the call took long, but does not hang on its own.
        """
        call = attributed.finding.call
        assert call is not None  # captured before the op could run
        self._reporter.report(Stage.REPEAT, "in a fresh process")
        context = CallContext(backward=attributed.finding.phase == "backward")
        fresh = self._replay.fresh(call, context)
        self._reporter.finish(Stage.REPEAT, fresh.text)
        if not exit_text and not fresh.hangs:
            return None
        kind = "hangs" if fresh.hangs else "aborts the process"
        op = replace(op_at_fault(attributed, step), where="", values=exit_text or fresh.text)
        evidence = [Evidence(tried="in a fresh process", outcome=fresh.text)]
        if fresh.hangs:
            note = "none: the call never returns; its inputs are listed"
            return IsolationResult(op, tuple(evidence), False, kind, repro_note=note)
        self._reporter.report(Stage.SHRINK, "smaller inputs, a process for each trial")
        trials = 0

        def fails(smaller: Call) -> bool:
            nonlocal trials
            trials += 1
            return trials <= DEADLY_TRIALS and self._replay.fresh(smaller, context).died

        shrunk_call = shrink(call, fails)
        repro = self._write_script(
            ReproScript(shrunk_call, self._backend.device.type, "output", context, None, kind)
        )
        self._reporter.finish(Stage.SHRINK, repro.note)
        self._replay.close()
        return IsolationResult(op, tuple(evidence), fresh.wrong < fresh.times, kind, *repro)

    def _still_fails(self, call: Call, context: CallContext, calls: int) -> bool:
        # A smaller call may end its process.
        replayed = self._replay.again(call, context)
        if replayed.problem is not None:  # random numbers differ each time: all calls must show it
            return replayed.wrong == replayed.times and replayed.calls <= calls
        return replayed.wrong > 0 and replayed.well_posed and not replayed.died

    def _attempt(self, call: Call, context: CallContext) -> CallOutcome:
        return attempt(call, self._backend, self._fault, context)

    def _try_dense(self, call: Call, context: CallContext) -> list[Evidence]:
        views = [call.view(slot) for slot in call.slots]
        if all(view.is_contiguous() and not view.storage_offset() for view in views):
            return []
        dense = self._replay.again(call, context, dense=True)
        outcome = dense.text
        if dense.times and not dense.wrong:
            outcome += ": the memory layout makes it wrong"
        return [Evidence(tried="with contiguous inputs", outcome=outcome)]

    def _after_earlier(
        self, call: Call, context: CallContext, earlier: Sequence[Call]
    ) -> tuple[CallContext, str] | None:
        for earlier_call in earlier[-EARLIER:]:
            with_earlier = context._replace(before=(earlier_call,))
            fresh = self._replay.fresh(call, with_earlier)
            if fresh.wrong:
                outcome = f"{fresh.text}, behind {', '.join(earlier_call.describe_tensors())}"
                return with_earlier, outcome
        return None

    def _symptom(self, attributed: AttributedOp, outcome: CallOutcome) -> str:
        finding = attributed.finding
        if finding.judgement.where == "draws":
            return finding.judgement.values
        wrong_results = [
            result
            for result, judgement in zip(outcome.results, outcome.judgements, strict=False)
            if judgement.status == "wrong"
        ]
        if not wrong_results or finding.call is None:
            return ""
        with contextlib.suppress(RuntimeError):
            return symptom(finding.call, wrong_results[0], finding.judgement.where)
        return ""

    def _write_repro(
        self, op: OpAtFault, call: Call, context: CallContext, outcome: CallOutcome
    ) -> ReproRun:
        if not outcome.wrong:
            return ReproRun(note="none: the call alone is right on this device")
        self._reporter.report(Stage.SHRINK, "seeded values, smaller shapes")
        # In this process later calls may be wrong although the first in a fresh one is right.
        trial_context = context._replace(times=TIMES if outcome.problem else 1)
        calls = max(outcome.calls, FEW_CALLS)
        shrunk_call = shrink(call, lambda smaller: self._still_fails(smaller, trial_context, calls))
        final = self._replay.again(shrunk_call.call, context)
        where = final.where or op.where
        summary = op.symptom or final.values or "a wrong result"
        repro = self._write_script(
            ReproScript(
                shrunk_call, self._backend.device.type, where, context, final.problem, summary
            )
        )
        if repro.name:
            size = shorten(shrunk_call.call.describe_tensors(), "; ")
            repro = repro._replace(note=f"{size} after {shrunk_call.trials} trials; {repro.note}")
        self._reporter.finish(Stage.SHRINK, repro.note)
        return repro

    def _write_script(self, script: ReproScript) -> ReproRun:
        notes = []
        if self._fault_name:
            fault_parts = fault_file(self._fault_name)
            name = f"fault.py:{fault_parts[1]}" if fault_parts else self._fault_name
            command = f"python -m mpstui.faults.simulate {name} repro.py"
            notes = [f"SIMULATED: the fault is there under `{command}`."]
        try:
            text = source(script._replace(notes=tuple(notes), simulated=bool(self._fault_name)))
        except (ValueError, run.Unreferenced) as error:
            return ReproRun(note=f"none: {error}")
        self._folder.repro.write_text(text, encoding="utf-8")
        with_fault, output = self._run(self._fault_name)
        if with_fault is None:
            return ReproRun(self._folder.repro.name, "not decided: repro.py took too long")
        if with_fault == 0:
            note = "In a fresh process it exits with 0: the fault depends on what ran before."
            final_script = script._replace(notes=(*notes, note), simulated=bool(self._fault_name))
            self._folder.repro.write_text(source(final_script), encoding="utf-8")
        status = f"exit status {with_fault}"
        if self._fault_name:
            without, _ = self._run("")
            if without:  # the script would fail on correct devices too
                self._folder.repro.unlink()
                return ReproRun(note="none: a script fails without the fault too")
            status += f" with the fault, {DASH if without is None else without} without"
        if with_fault == 0:
            status += ": a fresh process is right, since the fault depends on what ran before"
        return ReproRun(self._folder.repro.name, status, output)

    def _run(self, fault: str) -> tuple[int | None, str]:
        """Run repro.py; returns its exit status and the last lines of its output.

        The status is None if it takes too long, which proves nothing.
        """
        script = str(self._folder.repro)
        command = (
            module_command("mpstui.faults.simulate", self._fault_path(fault), script)
            if fault
            else [sys.executable, script]
        )
        with contextlib.suppress(subprocess.TimeoutExpired):
            process = subprocess.run(
                command,
                env=child_environment(),
                capture_output=True,
                text=True,
                timeout=REPRO_SECONDS,
            )
            printed = (process.stdout if process.stdout.strip() else process.stderr).strip()
            return process.returncode, "\n".join(printed.splitlines()[-OUTPUT:])
        return None, ""

    def _fault_path(self, fault: str) -> str:
        """Return the fault with its file replaced by the run's copy, if there is one."""
        kind = fault.rpartition(":")[2]
        copy = RunDir(self._run_dir).fault
        return f"{copy}:{kind}" if fault_file(fault) and copy.is_file() else fault

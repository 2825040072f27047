"""An op at fault, tried on its own: alone, dense, in a fresh process; made small; written down."""

from __future__ import annotations

import contextlib
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

from msgspec.structs import replace

from mpstui.backends import Backend
from mpstui.domain.devices import fault_file
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
from .twin import Twin

TIMES = 3
"""How often a call is repeated."""

FEW_CALLS = 25
"""Calls that a repro of draws may add up, before it is better with larger ones."""

EARLIER = 3
"""Earlier calls of the same op that are tried as what makes a later one go wrong."""

REPRO_SECONDS = 300.0
"""How long repro.py may take, the import of torch included, before its status stays unknown."""

OUTPUT = 8
"""Lines of a repro's output that the report has."""

DEADLY_TRIALS = 4
"""Trials of a call that ends its process: each takes a process."""


class IsolationResult(NamedTuple):
    """What was found out about one op."""

    op: OpAtFault
    evidence: tuple[Evidence, ...]
    state_dependent: bool
    kind: str
    repro: str = ""
    repro_note: str = ""
    repro_output: str = ""


class ReproRun(NamedTuple):
    """A repro script, as it was written and run."""

    name: str = ""
    note: str = ""
    output: str = ""


def op_at_fault(witnessed: AttributedOp, step: int, look: str = "") -> OpAtFault:
    """The finding about one op, as far as the step alone shows it."""
    found, place = witnessed.found, witnessed.place
    judgement = found.judgement
    return OpAtFault(
        op=found.op,
        phase=found.phase,
        index=found.number,
        step=step,
        where=judgement.where,
        error=judgement.error,
        cpu_error=judgement.cpu_error,
        values=judgement.values,
        symptom=look,
        source=place.source,
        code=place.code,
        parameters=place.parameters,
        inputs=found.call.described() if found.call else (),
        worst=worst_value(judgement),
        public=public_call(found.call) if found.call else "",
    )


def worst_value(judgement: OpJudgement) -> str:
    """The value that is farthest off, in words; empty where there is none."""
    if judgement.at is None or judgement.got is None or judgement.want is None:
        return ""
    index = f"[{', '.join(map(str, judgement.at))}]"
    return f"{index}: {judgement.got:.9g} where {judgement.want:.9g} is right"


class OpIsolator:
    """Tries an op's call on the device of a twin.

    Args:
        twin: The run, built twice.
        folder: Where repro.py goes.
        run_dir: The run's folder, with the copy of a fault's file.
        teller: Told what is tried.
        before_shrinking: Called with what is known of an op before its call is made small.
    """

    def __init__(
        self,
        twin: Twin,
        folder: InvestigationFolder,
        run_dir: Path,
        teller: ProgressReporter,
        before_shrinking: Callable[[IsolationResult], None],
    ) -> None:
        self._twin = twin
        self._folder = folder
        self._run_dir = run_dir
        self._teller = teller
        self._backend: Backend = twin.device.backend
        self._fault = twin.device.fault
        self._fault_name = twin.config.spec.option("fault") or ""
        self._trials = ReplayClient(twin.config.spec.device, self._fault_name, run_dir)
        self._before_shrinking = before_shrinking

    def close(self) -> None:
        """End the process that tries calls."""
        self._trials.close()

    def blame(
        self, witnessed: AttributedOp, step: int, earlier: Callable[[], Sequence[Call]]
    ) -> IsolationResult:
        """Repeat, shrink and write down a call whose result was wrong.

        Args:
            witnessed: The op, with its call.
            step: Of training.
            earlier: Gives calls of the same op that came before it.
        """
        call = witnessed.found.call
        if call is None:
            op = op_at_fault(witnessed, step)
            return IsolationResult(
                op, (), True, "wrong result", repro_note="its inputs were not kept"
            )
        self._teller.say(Stage.REPEAT, "the same call alone", 0.0)
        alone = self._try(call, CallContext(times=TIMES))
        evidence = [Evidence(tried="the same call alone", outcome=alone.words)]
        context, outcome = CallContext(times=TIMES), alone
        if not alone.wrong:
            inside = CallContext(backward=True, times=TIMES)
            outcome = self._try(call, inside)
            words = "the same call inside a backward pass"
            evidence.append(Evidence(tried=words, outcome=outcome.words))
            context = inside if outcome.wrong else context
        self._teller.say(Stage.REPEAT, "with contiguous inputs", 0.3)
        evidence += self._dense(call, context)
        self._teller.say(Stage.REPEAT, "in a fresh process", 0.4)
        fresh = self._trials.fresh(call, context)
        evidence.append(Evidence(tried="in a fresh process", outcome=fresh.words))
        state_dependent = fresh.wrong < fresh.times
        if not fresh.wrong:
            behind = self._behind(call, context, earlier())
            if behind is not None:
                context, words = behind
                evidence.append(Evidence(tried="behind an earlier call of the op", outcome=words))
        look = self._symptom(witnessed, outcome)
        kind = "result never written" if "never written" in look else "wrong result"
        self._teller.done(Stage.REPEAT, "; ".join(f"{e.tried}: {e.outcome}" for e in evidence))
        op = op_at_fault(witnessed, step, look)
        once = fresh.wrong == fresh.times or bool(context.before)
        context = context._replace(times=1 if once else TIMES)
        blame = IsolationResult(op, tuple(evidence), state_dependent, kind)
        self._before_shrinking(blame)
        repro = self._write(op, call, context, outcome)
        self._trials.close()
        return IsolationResult(op, tuple(evidence), state_dependent, kind, *repro)

    def blame_deadly(self, witnessed: AttributedOp, step: int, how: str) -> IsolationResult | None:
        """Repeat and write down a call that ended its process, or never returned.

        Args:
            witnessed: The op, with its call.
            step: Of training.
            how: How the process ended; empty when the call was under way for too long.

        Returns:
            None when nothing is decided: a call that took long, and does not hang on its own.
        """
        call = witnessed.found.call
        assert call is not None  # it was captured before it could be run
        self._teller.say(Stage.REPEAT, "in a fresh process")
        context = CallContext(backward=witnessed.found.phase == "backward")
        fresh = self._trials.fresh(call, context)
        self._teller.done(Stage.REPEAT, fresh.words)
        if not how and not fresh.hangs:
            return None
        kind = "hangs" if fresh.hangs else "aborts the process"
        op = replace(op_at_fault(witnessed, step), where="", values=how or fresh.words)
        evidence = [Evidence(tried="in a fresh process", outcome=fresh.words)]
        if fresh.hangs:
            note = "none: the call never returns; its inputs are listed"
            return IsolationResult(op, tuple(evidence), False, kind, repro_note=note)
        self._teller.say(Stage.SHRINK, "smaller inputs, a process for each trial")
        trials = 0

        def fails(smaller: Call) -> bool:
            nonlocal trials
            trials += 1
            return trials <= DEADLY_TRIALS and self._trials.fresh(smaller, context).died

        shrunk = shrink(call, fails)
        repro = self._script(
            ReproScript(shrunk, self._backend.device.type, "output", context, None, kind)
        )
        self._teller.done(Stage.SHRINK, repro.note)
        self._trials.close()
        return IsolationResult(op, tuple(evidence), fresh.wrong < fresh.times, kind, *repro)

    def _shows(self, call: Call, context: CallContext, calls: int) -> bool:
        # A smaller call may be one that its op does not survive.
        replayed = self._trials.again(call, context)
        if replayed.problem is not None:  # draws are no two times alike: it has to show each time
            return replayed.wrong == replayed.times and replayed.calls <= calls
        return replayed.wrong > 0 and replayed.well_posed and not replayed.died

    def _try(self, call: Call, context: CallContext) -> CallOutcome:
        return attempt(call, self._backend, self._fault, context)

    def _dense(self, call: Call, context: CallContext) -> list[Evidence]:
        views = [call.view(slot) for slot in call.slots]
        if all(view.is_contiguous() and not view.storage_offset() for view in views):
            return []
        dense = self._trials.again(call, context, dense=True)
        words = dense.words
        if dense.times and not dense.wrong:
            words += ": the memory layout makes it wrong"
        return [Evidence(tried="with contiguous inputs", outcome=words)]

    def _behind(
        self, call: Call, context: CallContext, earlier: Sequence[Call]
    ) -> tuple[CallContext, str] | None:
        for before in earlier[-EARLIER:]:
            behind = context._replace(before=(before,))
            fresh = self._trials.fresh(call, behind)
            if fresh.wrong:
                words = f"{fresh.words}, behind {', '.join(before.described())}"
                return behind, words
        return None

    def _symptom(self, witnessed: AttributedOp, outcome: CallOutcome) -> str:
        found = witnessed.found
        if found.judgement.where == "draws":
            return found.judgement.values
        wrong = [
            given
            for given, judgement in zip(outcome.results, outcome.judgements, strict=False)
            if judgement.status == "wrong"
        ]
        if not wrong or found.call is None:
            return ""
        with contextlib.suppress(RuntimeError):
            return symptom(found.call, wrong[0], found.judgement.where)
        return ""

    def _write(
        self, op: OpAtFault, call: Call, context: CallContext, outcome: CallOutcome
    ) -> ReproRun:
        if not outcome.wrong:
            return ReproRun(note="none: the call alone is right on this device")
        self._teller.say(Stage.SHRINK, "seeded values, smaller shapes")
        # In this process later calls may be wrong where a fresh one's first is right.
        trial = context._replace(times=TIMES if outcome.problem else 1)
        calls = max(outcome.calls, FEW_CALLS)
        shrunk = shrink(call, lambda smaller: self._shows(smaller, trial, calls))
        final = self._trials.again(shrunk.call, context)
        where = final.where or op.where
        words = op.symptom or final.values or "a wrong result"
        repro = self._script(
            ReproScript(shrunk, self._backend.device.type, where, context, final.problem, words)
        )
        if repro.name:
            size = shorten(shrunk.call.described(), "; ")
            repro = repro._replace(note=f"{size} after {shrunk.trials} trials; {repro.note}")
        self._teller.done(Stage.SHRINK, repro.note)
        return repro

    def _script(self, script: ReproScript) -> ReproRun:
        notes = []
        if self._fault_name:
            own = fault_file(self._fault_name)
            name = f"fault.py:{own[1]}" if own else self._fault_name
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
            told = "In a fresh process it exits with 0: the fault depends on what ran before."
            ending = script._replace(notes=(*notes, told), simulated=bool(self._fault_name))
            self._folder.repro.write_text(source(ending), encoding="utf-8")
        seen = f"exit status {with_fault}"
        if self._fault_name:
            without, _ = self._run("")
            if without:  # it would show the fault on a device that does not have it
                self._folder.repro.unlink()
                return ReproRun(note="none: a script fails without the fault too")
            seen += f" with the fault, {DASH if without is None else without} without"
        if with_fault == 0:
            seen += ": a fresh process is right, since the fault depends on what ran before"
        return ReproRun(self._folder.repro.name, seen, output)

    def _run(self, fault: str) -> tuple[int | None, str]:
        """The exit status of repro.py, and the last lines that it printed.

        None when it takes too long, which says nothing.
        """
        script = str(self._folder.repro)
        command = (
            module_command("mpstui.faults.simulate", self._fault_path(fault), script)
            if fault
            else [sys.executable, script]
        )
        with contextlib.suppress(subprocess.TimeoutExpired):
            done = subprocess.run(
                command,
                env=child_environment(),
                capture_output=True,
                text=True,
                timeout=REPRO_SECONDS,
            )
            printed = (done.stdout if done.stdout.strip() else done.stderr).strip()
            return done.returncode, "\n".join(printed.splitlines()[-OUTPUT:])
        return None, ""

    def _fault_path(self, fault: str) -> str:
        """A fault of a file, from the copy that was made of it."""
        kind = fault.rpartition(":")[2]
        copy = RunDir(self._run_dir).fault
        return f"{copy}:{kind}" if fault_file(fault) and copy.is_file() else fault

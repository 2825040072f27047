"""Checks a script's ops in its own process, then tries a wrong one alone and writes the finding."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import Any

import torch
from msgspec.structs import replace

from mpstui.backends import open_backend
from mpstui.domain.devices import DeviceSpec, parse_device
from mpstui.domain.errors import MpstuiError
from mpstui.domain.investigation import TOO_SLOW, Investigation, Stage, Verdict
from mpstui.domain.workloads import short_name
from mpstui.faults.load import load_fault
from mpstui.investigate.conclusion import Conclusion, from_isolation, origin_sentence
from mpstui.investigate.isolate import CheckedDevice, IsolationResult, OpIsolator, op_at_fault
from mpstui.investigate.progress import ProgressReporter
from mpstui.investigate.request import InvestigationFolder, InvestigationRequest
from mpstui.modes.journal import JournalEntry, last_entry

from .checked_script import FLAG
from .outcome import ScriptOutcome, WrongOp, read_outcome
from .script_process import ScriptProcess, remove_files


class ScriptSearch:
    """One check of a script.

    Args:
        folder: The investigation's folder.
        request: The request, with a script.
        reporter: Reports the progress.
    """

    def __init__(
        self,
        folder: InvestigationFolder,
        request: InvestigationRequest,
        reporter: ProgressReporter,
    ) -> None:
        self._folder, self._request, self._reporter = folder, request, reporter
        self._name = short_name(request.config.workload)
        self._run_dir = Path(request.run) if request.run else folder.path
        self._outcome = ScriptOutcome()

    def run(self) -> Investigation:
        """Run the script, and investigate a wrong op or a crash."""
        self._reporter.report(Stage.PREPARE, f"starting {self._name}")
        process = ScriptProcess(self._folder, self._reporter)
        try:
            died = process.run()
            self._reporter.finish(Stage.PREPARE, self._name)
            outcome = read_outcome(self._folder.path)
            if outcome is not None:
                self._outcome = outcome
                return self._finding(self._conclude(outcome))
            if process.is_stuck or process.was_killed:
                return self._finding(self._conclude_undecided(process, died))
            return self._finding(self._conclude_death(died))
        finally:
            remove_files(self._folder)

    def _conclude(self, outcome: ScriptOutcome) -> Conclusion:
        checked = f"{outcome.ops:,} ops checked"
        if outcome.wrong:
            first = outcome.wrong[0]
            self._reporter.finish(Stage.OPS, f"{first.op} in {first.phase} is wrong; {checked}")
            return self._conclude_wrong(outcome.wrong)
        self._reporter.finish(Stage.OPS, f"{checked}, none is wrong")
        if outcome.failure:
            return _incomplete(f"mpstui's own error ended the check: {outcome.failure}")
        if outcome.error:
            return _incomplete(f"{self._name} ended with an error of its own: {outcome.error}")
        if not outcome.checked_steps:
            taken = f"{outcome.steps} optimizer steps" if outcome.steps else "an optimizer step"
            reach = "after only" if outcome.steps else "before"
            message = f"{self._name} ended {reach} {taken}, so no step was checked"
            return _incomplete(f"{message}; {checked}, none is wrong.")
        if not outcome.ops:
            return _incomplete(
                f"{self._name} took {outcome.steps} steps, and none of their ops was seen: they "
                "run in another thread."
            )
        first_step = outcome.steps - outcome.checked_steps + 1
        last = outcome.steps
        steps = f"step {last}" if first_step == last else f"steps {first_step}–{last}"
        verb = "agrees" if first_step == last else "agree"
        return Conclusion(
            Verdict.NOTHING,
            f"{steps} of {self._name} {verb} with the CPU, op by op: {checked}.",
            remedy="a fault that begins later is found with --from-step and more --steps",
        )

    def _conclude_wrong(self, wrong: tuple[WrongOp, ...]) -> Conclusion:
        first, *further = wrong
        attributed = first.attributed(self._folder.path)
        also = tuple(op_at_fault(op.attributed(self._folder.path), op.step) for op in further)
        device = self._device(first.device)
        if device is None:
            op = op_at_fault(attributed, first.step)
            message = f"{op.op} in {op.phase} is wrong on {first.device}.{origin_sentence(op)}"
            return Conclusion(
                Verdict.FAULTY_OP,
                message,
                kind="wrong result",
                op=op,
                also=also,
                repro_note=f"none: {first.device} cannot be opened in another process",
            )
        isolator = self._isolator(device)
        try:
            isolation = isolator.isolate(attributed, first.step, list)
        finally:
            isolator.close()
        return from_isolation(isolation, device.spec.device, also)

    def _isolator(self, device: CheckedDevice) -> OpIsolator:
        def write_early(isolation: IsolationResult) -> None:
            note = "none: the investigation ended before it was written"
            early = from_isolation(isolation._replace(repro_note=note), device.spec.device)
            self._folder.write_finding(self._finding(early))

        return OpIsolator(device, self._folder, self._run_dir, self._reporter, write_early)

    def _device(self, name: str) -> CheckedDevice | None:
        """Open the device of a wrong op, with the simulated fault; None if that is impossible."""
        fault_name = self._request.config.spec.option("fault")
        kind = name.partition(":")[0]
        try:
            plain = parse_device(name if kind == "cuda" else kind)
            options = (("fault", fault_name),) if fault_name else ()
            spec = DeviceSpec(plain.type, plain.index, options)
            backend = open_backend(spec)
            backend.set_precision("float32")
            fault: Any = contextlib.nullcontext()
            if fault_name:
                fault = load_fault(fault_name, self._run_dir)
        except MpstuiError:
            return None
        return CheckedDevice(spec, backend, fault)

    def _conclude_undecided(self, process: ScriptProcess, died: str) -> Conclusion:
        entry = last_entry(self._folder.script_journal)
        where = f" in {_place(entry)}" if entry is not None and not entry.over else ""
        if process.is_stuck:
            message = f"Not completed, too slow: {self._name} made no progress{where}."
            return Conclusion(Verdict.INCOMPLETE, message, kind=TOO_SLOW)
        return _incomplete(f"{self._name} was ended from outside ({died}){where}.")

    def _conclude_death(self, died: str) -> Conclusion:
        """Look into the op that was under way when the script's process ended."""
        entry = last_entry(self._folder.script_journal)
        if entry is None or entry.over:
            return _incomplete(
                f"the process of {self._name} ended ({died or 'without a result'}), outside of any "
                "op that was checked."
            )
        place = _place(entry)
        self._reporter.report(Stage.OPS, f"the process ended in {place}; looking at its inputs")
        again = ScriptProcess(self._folder, self._reporter)
        again.run(FLAG, str(entry.step), str(entry.index))
        outcome = read_outcome(self._folder.path)
        reached = next(iter(outcome.wrong), None) if outcome is not None else None
        message = f"the process ended ({died}) in {place}"
        if outcome is None or reached is None or reached.op != entry.op or not reached.call:
            return _incomplete(f"{message}, and {self._name} did not reach it again.")
        self._outcome = replace(outcome, wrong=())
        device = self._device(reached.device)
        if device is None:
            return _incomplete(f"{message}; it was not tried alone.")
        attributed = reached.attributed(self._folder.path)
        self._reporter.finish(Stage.OPS, place)
        isolator = self._isolator(device)
        try:
            isolation = isolator.isolate_deadly(attributed, reached.step, died)
        finally:
            isolator.close()
        assert isolation is not None  # the process did not end because it was too slow
        return from_isolation(isolation, device.spec.device)

    def _finding(self, conclusion: Conclusion) -> Investigation:
        outcome, config = self._outcome, self._request.config
        device = self._shown_device(outcome)
        notes = list(outcome.notes)
        if fault := config.spec.option("fault"):
            notes.insert(0, f"SIMULATED: the fault {fault} runs around the script")
        if outcome.error and conclusion.op is not None:
            notes.append(f"the script then ended with an error: {outcome.error}")
        return Investigation(
            workload=config.workload,
            device=device,
            device_name=self._device_name(device),
            torch=str(torch.__version__),
            run=Path(self._request.run).name,
            known=conclusion.known,
            suspects=outcome.suspects,
            ops_checked=outcome.ops,
            steps_checked=outcome.checked_steps,
            unreferenced=tuple(sorted(f"{op} ({why})" for op, why in outcome.unreferenced.items())),
            notes=tuple(notes),
            seconds=self._reporter.seconds,
            **conclusion._asdict(),
        )

    def _shown_device(self, outcome: ScriptOutcome) -> str:
        first = outcome.wrong[0].device if outcome.wrong else outcome.device
        fault = self._request.config.spec.option("fault")
        device = first or self._request.config.spec.device
        return f"{device}@fault={fault}" if fault else device

    def _device_name(self, device: str) -> str:
        with contextlib.suppress(MpstuiError):
            return open_backend(parse_device(device.partition("@")[0])).name()
        return ""


def _incomplete(message: str) -> Conclusion:
    return Conclusion(Verdict.INCOMPLETE, message)


def _place(entry: JournalEntry) -> str:
    return f"op {entry.index}, {entry.op}, in {entry.phase} of step {entry.step}"

"""The probes of this machine."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import closing
from typing import TypeVar

import msgspec
from msgspec.structs import replace

from mpstui.domain.catalogue import BY_ID
from mpstui.domain.conditions import Conditions
from mpstui.domain.facts import ImportFact, TorchFacts
from mpstui.domain.machine import Machine
from mpstui.domain.ops import OpResult, OpsMessage, OpsRun, OpStatus, with_results
from mpstui.processes.client import (
    GRACE,
    TORCH_MISSING,
    ProcessClient,
    ProcessFailed,
    ProcessUndecided,
)
from mpstui.processes.command import module_command
from mpstui.processes.patience import IMPORT_SECONDS
from mpstui.processes.stdio import read_answer
from mpstui.runs.paths import runs_dir

from .probes import TORCH_GONE, DeviceTrial

T = TypeVar("T")

_MOST_DEATHS = 12
"""Cases that may end their process before mpstui stops checking a device."""

_REPORT_SECONDS = 0.2
"""Least seconds between two progress reports of an op check."""


class SystemProbes:
    """The probes of this machine.

    Args:
        command: The command that starts the torch probe; tests replace it.
        facts_timeout: Seconds that the torch probe may be idle; see
            :class:`~mpstui.processes.patience.Patience`, also for the other two.
        use_timeout: Seconds that a device's trial may be idle.
        ops_command: The command that starts the op check; tests replace it.
        case_timeout: Seconds that an op case may be idle.
        simulate: A fault to simulate in the op checks.
        grace: Seconds that a process may take to exit after its answer, before it is killed.
    """

    def __init__(
        self,
        command: Sequence[str] = tuple(module_command("mpstui.doctor.torch_probe")),
        facts_timeout: float = IMPORT_SECONDS,
        use_timeout: float = 60.0,
        ops_command: Sequence[str] = tuple(module_command("mpstui.opcheck.worker")),
        case_timeout: float = 120.0,
        simulate: str = "",
        grace: float = GRACE,
    ) -> None:
        self._command = tuple(command)
        self._facts_timeout = facts_timeout
        self._use_timeout = use_timeout
        self._ops_command = tuple(ops_command)
        self._case_timeout = case_timeout
        self._simulate = simulate
        self._asker = ProcessClient(grace)

    def machine(self) -> Machine:
        """Return the machine; takes no noticeable time."""
        # Late, because psutil takes a third of this module's import time.
        from mpstui.telemetry.machine import read_machine

        return read_machine()

    def conditions(self) -> Conditions:
        """Return this process's conditions."""
        from mpstui.telemetry.conditions import LocalConditions, read_conditions

        return read_conditions(LocalConditions(runs_dir()))

    def torch_facts(self) -> TorchFacts:
        """Return torch's facts.

        Raises:
            ProcessUndecided: The process did not answer in time, or was killed from outside.
            ProcessFailed: torch is missing, its import raised, or the process crashed.
        """
        torch, imports, failure = None, dict[str, ImportFact](), None
        try:
            for line in self._asker.lines([*self._command, "facts"], self._facts_timeout):
                if fact := read_answer(line, ImportFact):
                    imports[fact.package] = fact
                # A sitecustomize may print as well; lines that do not decode are ignored.
                torch = read_answer(line, TorchFacts) or torch
        except ProcessFailed as error:
            failure = error
        if torch is not None:
            import_facts = (_with_failure(fact, failure) for fact in imports.values())
            return replace(torch, imports=tuple(import_facts))
        raise _torch_failure(imports.get("torch"), failure)

    def use(self, device: str) -> DeviceTrial:
        """Try a forward and backward pass on a device; a crash counts as a result."""
        try:
            return self._run_probe(DeviceTrial, self._use_timeout, "use", device)
        except ProcessUndecided as error:
            return DeviceTrial(device=device, usable=None, reason=str(error))
        except ProcessFailed as error:
            return DeviceTrial(device=device, usable=False, reason=str(error))

    def ops(
        self, device: str, only: frozenset[str], on_progress: Callable[[OpsRun], None]
    ) -> OpsRun:
        """Check a device's ops; a case that crashes its process is faulty, and the check continues.

        A case whose process exceeded the time limit or was killed from outside is undecided.
        """
        start = last_report = time.monotonic()
        run, deaths = OpsRun(device=device, simulated=self._simulate), 0
        last_case = ""
        command = [*self._ops_command, device, *(f"--only={row}" for row in sorted(only))]
        if self._simulate:
            command.append(f"--simulate={self._simulate}")
        while True:
            after = [f"--after={last_case}"] if last_case else []
            running_case = ""
            try:
                with closing(self._asker.lines([*command, *after], self._case_timeout)) as lines:
                    for line in lines:
                        message = msgspec.json.decode(line, type=OpsMessage)
                        last_case = message.begun or last_case
                        has_result = message.result is not None
                        running_case = message.begun or ("" if has_result else running_case)
                        run = _apply_message(run, message)
                        if time.monotonic() - last_report > _REPORT_SECONDS:
                            last_report = time.monotonic()
                            on_progress(run)
            except msgspec.DecodeError as error:
                run = replace(run, error=f"its messages cannot be read: {error}")
            except ProcessFailed as error:
                if running_case and deaths < _MOST_DEATHS and str(error) != "stopped":
                    deaths += 1
                    run = _apply_message(
                        run, OpsMessage(result=_result_of_failure(running_case, error))
                    )
                    continue
                # Every case has its result: no case caused the way the process ended.
                if not 0 < run.planned <= run.done:
                    run = replace(run, error=str(error))
            return replace(run, seconds=time.monotonic() - start)

    def stop(self) -> None:
        """Stop the running probe from another thread and start no more: the app is closing."""
        self._asker.stop()

    def _run_probe(self, answer_type: type[T], timeout: float, *arguments: str) -> T:
        lines: list[str] = []
        failure = None
        try:
            lines.extend(self._asker.lines([*self._command, *arguments], timeout))
        except ProcessFailed as error:
            failure = error
        try:
            # A sitecustomize may have printed before the probe: the last line counts. A complete
            # answer is valid however its process ends.
            return msgspec.json.decode(lines[-1] if lines else "", type=answer_type)
        except msgspec.DecodeError as error:
            raise failure or ProcessUndecided(f"the answer cannot be read: {error}") from None


def _with_failure(fact: ImportFact, failure: ProcessFailed | None) -> ImportFact:
    """Return the import fact, with the process's failure if the import never finished."""
    if fact.imported is not None:
        return fact
    if failure is None or isinstance(failure, ProcessUndecided):
        return replace(fact, error=str(failure or "the process ended without a message"))
    return replace(fact, imported=False, error=str(failure))


def _torch_failure(torch: ImportFact | None, failure: ProcessFailed | None) -> ProcessFailed:
    """Return why there are no torch facts: its import error, else how the process ended."""
    if torch is not None and torch.imported is False:
        if torch.path or "No module named 'torch'" not in torch.error:
            return ProcessFailed(torch.error, torch)
        return ProcessFailed(TORCH_GONE if torch.version else TORCH_MISSING, torch)
    if failure is None:
        return ProcessUndecided("the answer cannot be read")
    if torch is not None and not isinstance(failure, ProcessUndecided):
        return ProcessFailed(str(failure), torch)
    return failure


def _apply_message(run: OpsRun, message: OpsMessage) -> OpsRun:
    if message.planned is not None:
        run = replace(run, planned=message.planned)
    if message.done is not None:
        run = replace(run, done=message.done)
    return run if message.result is None else with_results(run, (message.result,))


def _result_of_failure(case: str, failure: ProcessFailed) -> OpResult:
    return OpResult(
        case=case,
        kind="known fault" if case in BY_ID else "everyday",
        status=OpStatus.UNDECIDED if isinstance(failure, ProcessUndecided) else OpStatus.FAULTY,
        reason=str(failure),
    )

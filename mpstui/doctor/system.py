"""The probes that ask this machine."""

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
from mpstui.runs.paths import runs_dir

from .probes import TORCH_GONE, DeviceTrial

T = TypeVar("T")

_MOST_DEATHS = 12
"""Cases that may end their process before a device's check is given up."""

_TOLD_EVERY = 0.2
"""Seconds between two states of an op check that are passed on."""


class SystemProbes:
    """Asks this machine.

    Args:
        command: What starts the torch probe, for tests.
        facts_timeout: Seconds that torch may do nothing while it is asked; see
            :class:`~mpstui.processes.patience.Patience`, also for the other two.
        use_timeout: Seconds that a device's trial may do nothing.
        ops_command: What starts the op check, for tests.
        case_timeout: Seconds that an op case may do nothing.
        simulate: A fault to be simulated in the op checks.
        grace: Seconds that a process may take to end after its answer, before it is killed.
    """

    def __init__(
        self,
        command: Sequence[str] = tuple(module_command("mpstui.doctor.torch_probe")),
        facts_timeout: float = 120.0,
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
        """The machine, at once."""
        # Late, because psutil would take a third of the time that importing this module takes.
        from mpstui.telemetry.machine import read_machine

        return read_machine()

    def surroundings(self) -> Conditions:
        """What surrounds this process."""
        from mpstui.telemetry.conditions import LocalConditions, read_conditions

        return read_conditions(LocalConditions(runs_dir()))

    def torch_facts(self) -> TorchFacts:
        """What torch says.

        Raises:
            Undecided: The process did not answer in time, or was ended from outside.
            ProcessFailed: torch is missing, its import raised, or the process died.
        """
        torch, imports, failure = None, dict[str, ImportFact](), None
        try:
            for line in self._asker.lines([*self._command, "facts"], self._facts_timeout):
                if fact := _decoded(line, ImportFact):
                    imports[fact.package] = fact
                # A sitecustomize may print as well; what is no answer is none.
                torch = _decoded(line, TorchFacts) or torch
        except ProcessFailed as error:
            failure = error
        if torch is not None:
            ended = (_as_it_ended(fact, failure) for fact in imports.values())
            return replace(torch, imports=tuple(ended))
        raise _without_torch(imports.get("torch"), failure)

    def use(self, device: str) -> DeviceTrial:
        """How a forward and backward go on a device; a process that dies is an answer."""
        try:
            return self._ask(DeviceTrial, self._use_timeout, "use", device)
        except ProcessUndecided as error:
            return DeviceTrial(device=device, usable=None, reason=str(error))
        except ProcessFailed as error:
            return DeviceTrial(device=device, usable=False, reason=str(error))

    def ops(
        self, device: str, only: frozenset[str], on_progress: Callable[[OpsRun], None]
    ) -> OpsRun:
        """Check a device's ops; a case that ends its process is faulty, and the rest goes on.

        One whose process was ended by our time limit or from outside is not decided.
        """
        start = told = time.monotonic()
        run, deaths = OpsRun(device=device, simulated=self._simulate), 0
        last_case = ""
        asked = [*self._ops_command, device, *(f"--only={row}" for row in sorted(only))]
        if self._simulate:
            asked.append(f"--simulate={self._simulate}")
        while True:
            after = [f"--after={last_case}"] if last_case else []
            running_case = ""
            try:
                with closing(self._asker.lines([*asked, *after], self._case_timeout)) as lines:
                    for line in lines:
                        message = msgspec.json.decode(line, type=OpsMessage)
                        last_case = message.begun or last_case
                        ended = message.result is not None
                        running_case = message.begun or ("" if ended else running_case)
                        run = _heard(run, message)
                        if time.monotonic() - told > _TOLD_EVERY:
                            told = time.monotonic()
                            on_progress(run)
            except msgspec.DecodeError as error:
                run = replace(run, error=f"its words cannot be read: {error}")
            except ProcessFailed as error:
                if running_case and deaths < _MOST_DEATHS and str(error) != "stopped":
                    deaths += 1
                    run = _heard(run, OpsMessage(result=_ended(running_case, error)))
                    continue
                # Every case has its result: how the process ends then is no case's fault.
                if not 0 < run.planned <= run.done:
                    run = replace(run, error=str(error))
            return replace(run, seconds=time.monotonic() - start)

    def stop(self) -> None:
        """End the question under way, from another thread, and ask no more: the app is closing."""
        self._asker.stop()

    def _ask(self, answer: type[T], timeout: float, *question: str) -> T:
        lines: list[str] = []
        failure = None
        try:
            lines.extend(self._asker.lines([*self._command, *question], timeout))
        except ProcessFailed as error:
            failure = error
        try:
            # A sitecustomize may have printed before the probe could: the last line counts. A
            # complete answer does, however its process ends.
            return msgspec.json.decode(lines[-1] if lines else "", type=answer)
        except msgspec.DecodeError as error:
            raise failure or ProcessUndecided(f"the answer cannot be read: {error}") from None


def _decoded(line: str, answer: type[T]) -> T | None:
    try:
        return msgspec.json.decode(line, type=answer)
    except msgspec.DecodeError:
        return None


def _as_it_ended(fact: ImportFact, failure: ProcessFailed | None) -> ImportFact:
    """A package whose import began, with how its process ended when that was the end of it."""
    if fact.imported is not None:
        return fact
    if failure is None or isinstance(failure, ProcessUndecided):
        return replace(fact, error=str(failure or "the process ended without a word"))
    return replace(fact, imported=False, error=str(failure))


def _without_torch(torch: ImportFact | None, failure: ProcessFailed | None) -> ProcessFailed:
    """Why torch gave no facts: by its own error, else by how the process ended."""
    if torch is not None and torch.imported is False:
        if torch.path or "No module named 'torch'" not in torch.error:
            return ProcessFailed(torch.error, torch)
        return ProcessFailed(TORCH_GONE if torch.version else TORCH_MISSING, torch)
    if failure is None:
        return ProcessUndecided("the answer cannot be read")
    if torch is not None and not isinstance(failure, ProcessUndecided):
        return ProcessFailed(str(failure), torch)
    return failure


def _heard(run: OpsRun, message: OpsMessage) -> OpsRun:
    if message.planned is not None:
        run = replace(run, planned=message.planned)
    if message.done is not None:
        run = replace(run, done=message.done)
    return run if message.result is None else with_results(run, (message.result,))


def _ended(case: str, how: ProcessFailed) -> OpResult:
    return OpResult(
        case=case,
        kind="known fault" if case in BY_ID else "everyday",
        status=OpStatus.UNDECIDED if isinstance(how, ProcessUndecided) else OpStatus.FAULTY,
        reason=str(how),
    )

"""The probes: they ask the machine, and torch in processes of its own, and gather the answers.

A driver can abort, crash or hang the process that asks it. Each of these is an answer too. What the
torch probe says is declared here and not there: no import leads from the UI to torch.
"""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Protocol, TypeVar

import msgspec
from msgspec.structs import replace

from mpstui.domain.devices import TYPES
from mpstui.domain.errors import MpstuiError
from mpstui.domain.machine import DeviceFact, Facts, Machine, TorchFacts
from mpstui.runs.child import ending, environment, module_command

T = TypeVar("T")

TORCH_MISSING = "torch is not installed"
NOT_BUILT = "not in this torch build"

_GRACE = 5.0
"""Seconds that a killed process is waited for; one that hangs in its driver may never go."""


class ProbeFailed(MpstuiError):
    """A probe came back without an answer; the message says why."""

    title = "Probe failed"


class Trial(msgspec.Struct, frozen=True, kw_only=True):
    """How a small forward and backward went on one device."""

    device: str
    usable: bool
    milliseconds: float | None = None
    """Median of 5 after a warm-up, synchronised at both edges."""
    reason: str = ""


class Probes(Protocol):
    """What the doctor asks."""

    def machine(self) -> Machine:
        """The machine, at once."""

    def torch_facts(self) -> TorchFacts:
        """What torch says; takes seconds. Raises ProbeFailed."""

    def use(self, device: str) -> Trial:
        """How a forward and backward go on a device; takes seconds. Raises nothing of its own."""


class SystemProbes:
    """Asks this machine.

    Args:
        command: What starts the torch probe, for tests.
        facts_timeout: Seconds that torch may take to import and answer.
        use_timeout: Seconds that one device may take.
    """

    def __init__(
        self,
        command: Sequence[str] = tuple(module_command("mpstui.doctor.torch_probe")),
        facts_timeout: float = 120.0,
        use_timeout: float = 60.0,
    ) -> None:
        self._command = tuple(command)
        self._facts_timeout = facts_timeout
        self._use_timeout = use_timeout
        self._process: subprocess.Popen[str] | None = None
        self._stopped = False

    def machine(self) -> Machine:
        """The machine, at once."""
        # Late, because psutil would take a third of the time that importing this module takes.
        from mpstui.telemetry.machine import read_machine

        return read_machine()

    def torch_facts(self) -> TorchFacts:
        """What torch says.

        Raises:
            ProbeFailed: torch is missing, its import raised, or the process died or hung.
        """
        return self._ask(TorchFacts, self._facts_timeout, "facts")

    def use(self, device: str) -> Trial:
        """How a forward and backward go on a device; a process that dies or hangs is an answer."""
        try:
            return self._ask(Trial, self._use_timeout, "use", device)
        except ProbeFailed as error:
            return Trial(device=device, usable=False, reason=str(error))

    def stop(self) -> None:
        """End the question under way, from another thread, and ask no more: the app is closing."""
        self._stopped = True
        if self._process is not None:
            self._process.kill()

    def _ask(self, answer: type[T], timeout: float, *question: str) -> T:
        if self._stopped:
            raise ProbeFailed("stopped")
        process = subprocess.Popen(
            [*self._command, *question],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            encoding="utf-8",
            errors="replace",
            env=environment(),
        )
        self._process = process
        try:
            out, err = process.communicate(timeout=timeout)
        except subprocess.TimeoutExpired:
            raise ProbeFailed(f"no answer within {timeout:g} s; the process was ended") from None
        finally:
            self._process = None
            if process.poll() is None:
                process.kill()
                with suppress(subprocess.TimeoutExpired):
                    process.communicate(timeout=_GRACE)
        if process.returncode != 0:
            raise ProbeFailed(_how_it_ended(process.returncode, err))
        lines = out.strip().splitlines()  # a sitecustomize may have printed before the probe could
        try:
            return msgspec.json.decode(lines[-1] if lines else "", type=answer)
        except msgspec.DecodeError as error:
            raise ProbeFailed(f"the answer cannot be read: {error}") from None


def _how_it_ended(code: int, stderr: str) -> str:
    lines = [line.strip() for line in stderr.splitlines() if line.strip()]
    last = lines[-1][:300] if lines else ""
    if code > 0:
        if last == "ModuleNotFoundError: No module named 'torch'":
            return TORCH_MISSING
        return last or f"the process ended with status {code} and without a word"
    name = ending(code)
    verb = "aborted" if name == "SIGABRT" else "was killed"
    return f"the process {verb} ({name})" + (f": {last}" if last else "")


def gather(
    probes: Probes, on_facts: Callable[[Facts], None] | None = None, *, use: bool = True
) -> Facts:
    """Ask everything: the machine first, then torch, then each available device in turn.

    Args:
        probes: Whom to ask.
        on_facts: Called in this thread with each more complete state of the facts.
        use: Whether to try the devices, which takes seconds for each.

    Returns:
        The last of them. When torch gives no facts, ``torch_error`` says why.
    """
    tell = on_facts or (lambda _: None)
    machine = probes.machine()
    facts = Facts(machine=machine)
    tell(facts)
    try:
        torch = probes.torch_facts()
    except ProbeFailed as error:
        facts = replace(facts, torch_error=str(error), torch_state="failed")
        tell(facts)
        return facts
    torch = replace(torch, devices=tuple(_named(fact, machine) for fact in torch.devices))
    facts = replace(facts, torch=torch, torch_state="known")
    tell(facts)
    if not use:
        return facts
    for fact in torch.devices:
        if not (fact.available and fact.usable is None):
            continue
        trial = probes.use(fact.device)
        torch = replace(torch, devices=tuple(_tried(each, trial) for each in torch.devices))
        facts = replace(facts, torch=torch)
        tell(facts)
    facts = replace(facts, usable_probed=True)
    tell(facts)
    return facts


def _named(fact: DeviceFact, machine: Machine) -> DeviceFact:
    if fact.device != "cpu":
        return fact
    return replace(fact, name=machine.name, memory_bytes=machine.memory_bytes)


def _tried(fact: DeviceFact, trial: Trial) -> DeviceFact:
    if fact.device != trial.device:
        return fact
    return replace(fact, usable=trial.usable, milliseconds=trial.milliseconds, reason=trial.reason)


def refuse_reason(facts: Facts, device_type: str, index: int | None) -> str | None:
    """Why a run cannot be started on a device.

    Args:
        facts: What is known so far.
        device_type: As torch names it, without an index.
        index: Which device of the type; None for the first.

    Returns:
        One line that starts with the device, or None when nothing speaks against the run.
    """
    device = device_type if index is None else f"{device_type}:{index}"
    if device_type not in TYPES:
        return f"{device}: runs can be started on {', '.join(TYPES[:-1])} and {TYPES[-1]}"
    if facts.torch is None:
        if facts.torch_state == "failed":
            return f"{device}: {facts.torch_error}"
        if facts.machine.torch is None:
            return f"{device}: {TORCH_MISSING}"
        return None if device_type == "cpu" else f"{device}: torch is still being probed"
    of_type = [fact for fact in facts.torch.devices if fact.type == device_type]
    if not any(fact.built for fact in of_type):
        return f"{device}: {NOT_BUILT} (torch {facts.torch.version}, {facts.machine.platform})"
    fact = facts.device(device)
    if fact is None:
        there = [each.device for each in of_type if each.available]
        if not there:
            return f"{device}: {of_type[0].reason}"
        which = f"{there[0]} only" if len(there) == 1 else f"{there[0]} to {there[-1]}"
        return f"{device}: this machine has {which}"
    if fact.available is not True or fact.usable is False:
        return f"{device}: {fact.reason or 'cannot be used'}"
    return None

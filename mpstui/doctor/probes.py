"""What the doctor asks, and the order in which it gathers the answers.

What the torch probe says is declared here and not there: no import leads from the UI to torch.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

import msgspec
from msgspec.structs import replace

from mpstui.domain.conditions import Conditions
from mpstui.domain.facts import DeviceFact, DoctorFacts, ProbeStage, TorchFacts
from mpstui.domain.machine import Machine
from mpstui.domain.ops import OpsRun, merge_rows
from mpstui.processes.client import ProcessFailed, ProcessUndecided

TORCH_GONE = "torch's files are gone, its metadata is still there"
NOT_BUILT = "not in this torch build"


class DeviceTrial(msgspec.Struct, frozen=True, kw_only=True):
    """How a small forward and backward went on one device."""

    device: str
    usable: bool | None
    """None when nothing was decided; ``reason`` says why."""
    milliseconds: float | None = None
    """Median of 5 after a warm-up, synchronised at both edges."""
    reason: str = ""


class Probes(Protocol):
    """What the doctor asks."""

    def machine(self) -> Machine:
        """The machine, at once."""

    def surroundings(self) -> Conditions:
        """What surrounds this process, in a fraction of a second."""

    def torch_facts(self) -> TorchFacts:
        """What torch says; takes seconds. Raises ProcessFailed, or Undecided."""

    def use(self, device: str) -> DeviceTrial:
        """How a forward and backward go on a device; takes seconds. Raises nothing of its own."""

    def ops(
        self, device: str, only: frozenset[str], on_progress: Callable[[OpsRun], None]
    ) -> OpsRun:
        """Check a device's ops, or some rows of the catalogue; takes up to a minute.

        Raises nothing of its own: a check that ends early says why in its ``error``.
        """


Tell = Callable[[DoctorFacts], None]


def gather(
    probes: Probes,
    on_facts: Tell | None = None,
    *,
    up_to: ProbeStage = ProbeStage.USE,
    only: frozenset[str] = frozenset(),
) -> DoctorFacts:
    """Ask: the machine first, then what surrounds it, then torch, then each device in turn.

    Args:
        probes: Whom to ask.
        on_facts: Called in this thread with each more complete state of the facts.
        up_to: How far to go; trying a device takes seconds, checking its ops up to a minute.
        only: The catalogue's rows to check; all of them, and the everyday cases, when empty.

    Returns:
        The last state. When torch gives no facts, ``torch_error`` says why.
    """
    tell = on_facts or (lambda _: None)
    facts = DoctorFacts(machine=probes.machine())
    tell(facts)
    if up_to >= ProbeStage.SURROUNDINGS:
        facts = replace(facts, surroundings=probes.surroundings())
        tell(facts)
    if up_to >= ProbeStage.TORCH:
        facts = ask_torch(probes, facts)
        tell(facts)
    if up_to >= ProbeStage.USE and facts.torch is not None:
        for fact in facts.torch.devices:
            if fact.available and fact.usable is None:
                facts = try_device(probes, facts, fact.device)
                tell(facts)
        facts = replace(facts, usable_probed=True)
        tell(facts)
    if up_to >= ProbeStage.OPS:
        facts = check_ops(probes, facts, tell, only)
    return facts


def ask_torch(probes: Probes, facts: DoctorFacts) -> DoctorFacts:
    """The facts with torch's answer, or with why there is none."""
    try:
        torch = probes.torch_facts()
    except ProcessUndecided as error:
        return replace(facts, torch=None, torch_error=str(error), torch_state="undecided")
    except ProcessFailed as error:
        return replace(
            facts,
            torch=None,
            torch_error=str(error),
            torch_import=error.imported,
            torch_state="failed",
        )
    named = tuple(_named(fact, facts.machine) for fact in torch.devices)
    return replace(facts, torch=replace(torch, devices=named), torch_error="", torch_state="known")


def try_device(probes: Probes, facts: DoctorFacts, device: str) -> DoctorFacts:
    """The facts with how a forward and backward went on a device."""
    if facts.torch is None:
        return facts
    trial = probes.use(device)
    devices = tuple(_tried(fact, trial) for fact in facts.torch.devices)
    return replace(facts, torch=replace(facts.torch, devices=devices))


def check_ops(
    probes: Probes, facts: DoctorFacts, tell: Tell, only: frozenset[str] = frozenset()
) -> DoctorFacts:
    """The facts with the op checks of every usable device, one after the other.

    Args:
        probes: Whom to ask.
        facts: What is known; devices that were not seen to work are left out.
        tell: Called with each more complete state.
        only: The catalogue's rows to check again, the other results staying; all when empty.
    """
    for device in facts.usable():
        earlier = facts

        def learn(run: OpsRun, earlier: DoctorFacts = earlier) -> None:
            tell(_with_ops(earlier, run, only))

        facts = _with_ops(facts, probes.ops(device, only, learn), only)
        tell(facts)
    return facts


def _with_ops(facts: DoctorFacts, run: OpsRun, only: frozenset[str]) -> DoctorFacts:
    runs = {each.device: each for each in facts.ops}
    before = runs.get(run.device)
    runs[run.device] = merge_rows(before, run) if before and only else run
    return replace(facts, ops=tuple(runs[name] for name in facts.usable() if name in runs))


def _named(fact: DeviceFact, machine: Machine) -> DeviceFact:
    if fact.device != "cpu":
        return fact
    return replace(fact, name=machine.name, memory_bytes=machine.memory_bytes)


def _tried(fact: DeviceFact, trial: DeviceTrial) -> DeviceFact:
    if fact.device != trial.device:
        return fact
    return replace(fact, usable=trial.usable, milliseconds=trial.milliseconds, reason=trial.reason)

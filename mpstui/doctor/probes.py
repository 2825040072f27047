"""The doctor's probes, and the order in which it runs them.

The torch probe's messages are declared here and not there, so that the UI never imports torch.
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
    """The result of a small forward and backward pass on one device."""

    device: str
    usable: bool | None
    """None when the trial was not decided; ``reason`` says why."""
    milliseconds: float | None = None
    """Median of 5 after a warm-up, synchronised at both edges."""
    reason: str = ""


class Probes(Protocol):
    """The probes that the doctor runs."""

    def machine(self) -> Machine:
        """Return the machine; takes no noticeable time."""

    def conditions(self) -> Conditions:
        """Return this process's conditions; takes a fraction of a second."""

    def torch_facts(self) -> TorchFacts:
        """Return torch's facts; takes seconds. Raises ProcessFailed or ProcessUndecided."""

    def use(self, device: str) -> DeviceTrial:
        """Try a forward and backward pass on a device; takes seconds. Raises no probe error."""

    def ops(
        self, device: str, only: frozenset[str], on_progress: Callable[[OpsRun], None]
    ) -> OpsRun:
        """Check a device's ops, or some rows of the catalogue; takes up to a minute.

        Raises no probe error: a check that ends early says why in its ``error``.
        """


FactsCallback = Callable[[DoctorFacts], None]


def gather(
    probes: Probes,
    on_facts: FactsCallback | None = None,
    *,
    up_to: ProbeStage = ProbeStage.USE,
    only: frozenset[str] = frozenset(),
) -> DoctorFacts:
    """Probe the machine first, then its conditions, then torch, then each device in turn.

    Args:
        probes: The probes to run.
        on_facts: Called in this thread with each more complete state of the facts.
        up_to: The last stage; trying a device takes seconds, checking its ops up to a minute.
        only: The catalogue's rows to check; all of them, and the everyday cases, when empty.

    Returns:
        The last state. When torch gives no facts, ``torch_error`` says why.
    """
    report = on_facts or (lambda _: None)
    facts = DoctorFacts(machine=probes.machine())
    report(facts)
    if up_to >= ProbeStage.CONDITIONS:
        facts = replace(facts, conditions=probes.conditions())
        report(facts)
    if up_to >= ProbeStage.TORCH:
        facts = ask_torch(probes.torch_facts, facts)
        report(facts)
    if up_to >= ProbeStage.USE and facts.torch is not None:
        for fact in facts.torch.devices:
            if fact.available and fact.usable is None:
                facts = try_device(probes, facts, fact.device)
                report(facts)
        facts = replace(facts, usable_probed=True)
        report(facts)
    if up_to >= ProbeStage.OPS:
        facts = check_ops(probes, facts, report, only)
    return facts


def ask_torch(torch_facts: Callable[[], TorchFacts], facts: DoctorFacts) -> DoctorFacts:
    """Ask torch for its facts; return them with the others, or the reason for the failure."""
    try:
        torch = torch_facts()
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
    devices = tuple(_with_cpu_details(fact, facts.machine) for fact in torch.devices)
    return replace(
        facts, torch=replace(torch, devices=devices), torch_error="", torch_state="known"
    )


def try_device(probes: Probes, facts: DoctorFacts, device: str) -> DoctorFacts:
    """Try a device; return the facts with the trial's result."""
    if facts.torch is None:
        return facts
    trial = probes.use(device)
    devices = tuple(_with_trial(fact, trial) for fact in facts.torch.devices)
    return replace(facts, torch=replace(facts.torch, devices=devices))


def check_ops(
    probes: Probes, facts: DoctorFacts, on_facts: FactsCallback, only: frozenset[str] = frozenset()
) -> DoctorFacts:
    """Check the ops of every usable device in turn; return the facts with the results.

    Args:
        probes: The probes to run.
        facts: The current facts; devices without a successful trial are skipped.
        on_facts: Called with each more complete state.
        only: The catalogue's rows to check again, keeping other results; all rows when empty.
    """
    for device in facts.usable():
        earlier = facts

        def report_progress(run: OpsRun, earlier: DoctorFacts = earlier) -> None:
            on_facts(_with_ops(earlier, run, only))

        facts = _with_ops(facts, probes.ops(device, only, report_progress), only)
        on_facts(facts)
    return facts


def _with_ops(facts: DoctorFacts, run: OpsRun, only: frozenset[str]) -> DoctorFacts:
    runs = {op_run.device: op_run for op_run in facts.ops}
    before = runs.get(run.device)
    runs[run.device] = merge_rows(before, run) if before and only else run
    return replace(facts, ops=tuple(runs[name] for name in facts.usable() if name in runs))


def _with_cpu_details(fact: DeviceFact, machine: Machine) -> DeviceFact:
    if fact.device != "cpu":
        return fact
    return replace(fact, name=machine.name, memory_bytes=machine.memory_bytes)


def _with_trial(fact: DeviceFact, trial: DeviceTrial) -> DeviceFact:
    if fact.device != trial.device:
        return fact
    return replace(fact, usable=trial.usable, milliseconds=trial.milliseconds, reason=trial.reason)

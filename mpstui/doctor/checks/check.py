"""What a check is: it judges facts, and says what it has to know before it can."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from mpstui.domain.facts import DeviceFact, DoctorFacts, ProbeStage
from mpstui.domain.findings import Finding, Status
from mpstui.domain.machine import Machine

PROBING = "…probing"
THREAD = "https://github.com/pytorch/pytorch/issues/"


class CheckVerdict(NamedTuple):
    """What a check says; the check's own id, group and title make it a finding."""

    status: Status
    summary: str
    reason: str = ""
    remedy: str = ""
    commands: tuple[str, ...] = ()
    affects: str = ""
    links: tuple[str, ...] = ()
    pending: bool = False


class Check(NamedTuple):
    """One judgement that always has a finding."""

    id: str
    group: str
    title: str
    need: ProbeStage
    judge: Callable[[DoctorFacts], CheckVerdict]

    def finding(self, facts: DoctorFacts) -> Finding:
        """The finding, ``unknown`` as long as what it needs is not there."""
        if self.need >= ProbeStage.SURROUNDINGS and facts.surroundings is None:
            return self.say(pending())
        if self.need is ProbeStage.TORCH and facts.torch is None and facts.torch_state == "probing":
            return self.say(pending())
        return self.say(self.judge(facts))

    def say(self, verdict: CheckVerdict) -> Finding:
        """A verdict under this check's name."""
        return Finding(id=self.id, group=self.group, title=self.title, **verdict._asdict())


def ok(summary: str, reason: str = "") -> CheckVerdict:
    """All is well."""
    return CheckVerdict(Status.OK, summary, reason)


def not_applicable(summary: str) -> CheckVerdict:
    """The question does not arise on this machine."""
    return CheckVerdict(Status.NOT_APPLICABLE, summary)


def unknown(summary: str, reason: str = "") -> CheckVerdict:
    """It cannot be told."""
    return CheckVerdict(Status.UNKNOWN, summary, reason)


def pending(summary: str = "") -> CheckVerdict:
    """It is still being asked."""
    return CheckVerdict(Status.UNKNOWN, f"{summary} {PROBING}".strip(), pending=True)


def undecided(facts: DoctorFacts, what: str, why: str, id: str) -> CheckVerdict:
    """It was asked, and nothing that came of it says anything about it.

    Args:
        facts: What is known; the machine's system decides what can be looked at.
        what: What was asked about: ``NVIDIA L4``.
        why: Why there is no answer, as an :class:`~mpstui.doctor.probes.Undecided` has it.
        id: The finding's, to ask for it again.
    """
    summary = f"{what}: not decided: {why}"
    if "outside" not in why:
        remedy = "Nothing speaks against it. Ask again when the machine is less busy."
        return CheckVerdict(Status.UNKNOWN, summary, "", remedy, (f"mpstui doctor --only {id}",))
    remedy, commands = memory_first(facts.machine)
    return CheckVerdict(Status.UNKNOWN, summary, "Nothing speaks against it.", remedy, commands)


def memory_first(machine: Machine) -> tuple[str, tuple[str, ...]]:
    """What to look at after a process was killed from outside."""
    first = "The first suspect is memory: a system that runs out of it kills processes."
    close = "Close what you do not need, and ask again."
    if machine.mac:
        return f"{first} In Console, see whether Crash Reports lists a JetsamEvent. {close}", ()
    if machine.windows:
        return f"{first} In Task Manager, see how much is in use. {close}", ()
    return (
        f"{first} The kernel's log says so; a container has a limit of its own. {close}",
        ("journalctl -k --grep 'out of memory|oom-kill'", "sudo dmesg | grep -i 'out of memory'"),
    )


def not_a_mac(machine: Machine) -> CheckVerdict:
    """For what concerns Macs only."""
    return not_applicable(f"{machine.platform}: not a Mac")


def no_torch(facts: DoctorFacts) -> CheckVerdict:
    """For what torch would have to tell."""
    return unknown("torch could not be asked", facts.torch_error)


def label(fact: DeviceFact) -> str:
    """A device as people call it."""
    return f"{fact.name} ({fact.device})" if fact.name else fact.device

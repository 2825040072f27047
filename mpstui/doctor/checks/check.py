"""The base of every check: it judges facts, and declares which facts it needs first."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

from mpstui.domain.facts import DeviceFact, DoctorFacts, ProbeStage
from mpstui.domain.findings import Finding, Status
from mpstui.domain.machine import Machine

PROBING = "…probing"
THREAD = "https://github.com/pytorch/pytorch/issues/"


@dataclass(frozen=True, kw_only=True)
class CheckVerdict:
    """A check's result; with the check's id, group and title it becomes a finding."""

    status: Status
    summary: str
    reason: str = ""
    remedy: str = ""
    commands: tuple[str, ...] = ()
    affects: str = ""
    links: tuple[str, ...] = ()
    pending: bool = False


class Check(NamedTuple):
    """A check that always yields one finding."""

    id: str
    group: str
    title: str
    need: ProbeStage
    judge: Callable[[DoctorFacts], CheckVerdict]

    def finding(self, facts: DoctorFacts) -> Finding:
        """Return the finding, ``unknown`` while facts that it needs are missing."""
        if self.need >= ProbeStage.CONDITIONS and facts.conditions is None:
            return self.finding_from(pending())
        if self.need is ProbeStage.TORCH and facts.torch is None and facts.torch_state == "probing":
            return self.finding_from(pending())
        return self.finding_from(self.judge(facts))

    def finding_from(self, verdict: CheckVerdict) -> Finding:
        """Return a verdict as a finding of this check."""
        return Finding(id=self.id, group=self.group, title=self.title, **vars(verdict))


def ok(summary: str, reason: str = "") -> CheckVerdict:
    """Return a verdict without problems."""
    return CheckVerdict(status=Status.OK, summary=summary, reason=reason)


def not_applicable(summary: str) -> CheckVerdict:
    """Return the verdict of a check that does not apply to this machine."""
    return CheckVerdict(status=Status.NOT_APPLICABLE, summary=summary)


def unknown(summary: str, reason: str = "") -> CheckVerdict:
    """Return the verdict of a check that cannot decide."""
    return CheckVerdict(status=Status.UNKNOWN, summary=summary, reason=reason)


def pending(summary: str = "") -> CheckVerdict:
    """Return the verdict of a check whose facts are still being probed."""
    return CheckVerdict(status=Status.UNKNOWN, summary=f"{summary} {PROBING}".strip(), pending=True)


def undecided(facts: DoctorFacts, subject: str, why: str, id: str) -> CheckVerdict:
    """Return the verdict of a check whose probe returned no conclusive answer.

    Args:
        facts: The facts; the operating system decides which remedies apply.
        subject: The probed device or package: ``NVIDIA L4``.
        why: The message of the :class:`~mpstui.processes.client.ProcessUndecided`.
        id: The finding's id, for the command that probes it again.
    """
    summary = f"{subject}: not decided: {why}"
    if "outside" not in why:
        remedy = "Nothing speaks against it. Check again when the machine is less busy."
        return CheckVerdict(
            status=Status.UNKNOWN,
            summary=summary,
            reason="",
            remedy=remedy,
            commands=(f"mpstui doctor --only {id}",),
        )
    remedy, commands = out_of_memory_remedy(facts.machine)
    return CheckVerdict(
        status=Status.UNKNOWN,
        summary=summary,
        reason="Nothing speaks against it.",
        remedy=remedy,
        commands=commands,
    )


def out_of_memory_remedy(machine: Machine) -> tuple[str, tuple[str, ...]]:
    """Return a remedy and commands for a process that was killed from outside."""
    suspect = "The first suspect is memory: a system that runs out of it kills processes."
    advice = "Close programs that you do not need, and check again."
    if machine.mac:
        return f"{suspect} In Console, see whether Crash Reports lists a JetsamEvent. {advice}", ()
    if machine.windows:
        return f"{suspect} In Task Manager, see how much is in use. {advice}", ()
    return (
        f"{suspect} The kernel's log reports it; a container may have its own limit. {advice}",
        ("journalctl -k --grep 'out of memory|oom-kill'", "sudo dmesg | grep -i 'out of memory'"),
    )


def not_a_mac(machine: Machine) -> CheckVerdict:
    """Return the verdict of a Mac-only check on another machine."""
    return not_applicable(f"{machine.platform}: not a Mac")


def no_torch(facts: DoctorFacts) -> CheckVerdict:
    """Return the verdict of a check that needs torch's facts when there are none."""
    return unknown("torch could not be asked", facts.torch_error)


def label(fact: DeviceFact) -> str:
    """Return a device's name for display, with its torch name."""
    return f"{fact.name} ({fact.device})" if fact.name else fact.device

"""What a check is: it judges facts, and says what it has to know before it can."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from mpstui.domain.facts import DeviceFact, Facts, Need
from mpstui.domain.findings import Finding, Status
from mpstui.domain.machine import Machine

PROBING = "…probing"
THREAD = "https://github.com/pytorch/pytorch/issues/"


class Verdict(NamedTuple):
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
    need: Need
    judge: Callable[[Facts], Verdict]

    def finding(self, facts: Facts) -> Finding:
        """The finding, ``unknown`` as long as what it needs is not there."""
        if self.need >= Need.SURROUNDINGS and facts.surroundings is None:
            return self.say(pending())
        if self.need is Need.TORCH and facts.torch is None and facts.torch_state == "probing":
            return self.say(pending())
        return self.say(self.judge(facts))

    def say(self, verdict: Verdict) -> Finding:
        """A verdict under this check's name."""
        return Finding(id=self.id, group=self.group, title=self.title, **verdict._asdict())


def ok(summary: str, reason: str = "") -> Verdict:
    """All is well."""
    return Verdict(Status.OK, summary, reason)


def not_applicable(summary: str) -> Verdict:
    """The question does not arise on this machine."""
    return Verdict(Status.NOT_APPLICABLE, summary)


def unknown(summary: str, reason: str = "") -> Verdict:
    """It cannot be told."""
    return Verdict(Status.UNKNOWN, summary, reason)


def pending(summary: str = "") -> Verdict:
    """It is still being asked."""
    return Verdict(Status.UNKNOWN, f"{summary} {PROBING}".strip(), pending=True)


def not_a_mac(machine: Machine) -> Verdict:
    """For what concerns Macs only."""
    return not_applicable(f"{machine.platform}: not a Mac")


def no_torch(facts: Facts) -> Verdict:
    """For what torch would have to tell."""
    return unknown("torch could not be asked", facts.torch_error)


def label(fact: DeviceFact) -> str:
    """A device as people call it."""
    return f"{fact.name} ({fact.device})" if fact.name else fact.device

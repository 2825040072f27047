"""The doctor's one-line verdict: can this machine train on a GPU, and what prevents it?"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from mpstui.domain.facts import DeviceFact, DoctorFacts
from mpstui.domain.findings import Finding, Status

CAUSES = ("Prerequisites", "Torch")
"""Groups whose failures keep torch from an accelerator."""


class Lead(NamedTuple):
    """The verdict's text and status."""

    text: str
    status: Status


def lead(facts: DoctorFacts | None, findings: Sequence[Finding]) -> Lead:
    """Return the verdict on a machine from the facts so far.

    Args:
        facts: None before the first probe has returned.
        findings: The checks' findings on these facts.
    """
    if facts is None:
        return Lead("Asking this machine …", Status.UNKNOWN)
    by_id = {finding.id: finding for finding in findings}
    if facts.torch is None and facts.torch_state == "probing":
        return Lead(f"Asking this machine: {count_answered(findings)}.", Status.UNKNOWN)
    if facts.torch is None and facts.torch_state == "undecided":
        text = f"Not known what torch can do here: {_sentence(facts.torch_error)}"
        return Lead(text + _counts(findings), Status.UNKNOWN)
    if facts.torch is None:
        installed = facts.machine.torch is not None
        problem = "torch cannot be imported." if installed else "torch is not installed."
        return Lead(f"Not ready: {problem}{_counts(findings, 'torch-installed')}", Status.FAIL)
    default = facts.torch.default_accelerator
    fact = facts.device(default) if default else None
    if fact is None:
        cause = _cause(findings) or by_id.get("accelerator")
        why = cause.summary.removeprefix("no accelerator: ") if cause else ""
        mentioned_ids = ("accelerator", cause.id if cause else "")
        return Lead(f"CPU only: {_sentence(why)}{_counts(findings, *mentioned_ids)}", Status.WARN)
    name = _name(fact)
    mentioned_ids = (f"device:{fact.device}", "accelerator")
    if fact.usable:
        return Lead(f"Ready: trains on {name}.{_counts(findings)}", _worst(findings))
    if fact.usable is False:
        text = f"CPU only: {name} cannot be used: {_sentence(fact.reason)}"
        return Lead(text + _counts(findings, *mentioned_ids), Status.FAIL)
    if not facts.usable_probed:
        return Lead(f"Trying {name}: {count_answered(findings)}.", Status.UNKNOWN)
    text = f"Not known whether {name} works: {_sentence(fact.reason or 'it was not tried')}"
    return Lead(text + _counts(findings, *mentioned_ids), Status.UNKNOWN)


def count_answered(findings: Sequence[Finding]) -> str:
    """Return how many findings have an answer: ``9 of 21 answered``."""
    answered_count = sum(not finding.pending for finding in findings)
    return f"{answered_count} of {len(findings)} answered"


def _name(fact: DeviceFact) -> str:
    return f"{fact.device} ({fact.name})" if fact.name else fact.device


def _cause(findings: Sequence[Finding]) -> Finding | None:
    """Return the first failure that keeps torch from an accelerator, if any."""
    failures = (finding for finding in findings if finding.status is Status.FAIL)
    return next((finding for finding in failures if finding.group in CAUSES), None)


def _sentence(text: str) -> str:
    """Return the first sentence of a reason, with its full stop."""
    first = text.strip().splitlines()[0] if text.strip() else "the reason is not known"
    first = first.removeprefix("cuda: ").removeprefix("mps: ").partition(". ")[0].rstrip(".")
    if first.startswith(("This ", "Found ", "The ", "A ", "No ")):
        first = first[0].lower() + first[1:]
    return f"{first}."


def _counts(findings: Sequence[Finding], *mentioned_ids: str) -> str:
    """Return the count of failures and warnings, without those that the verdict mentions."""
    parts = []
    for status, noun in ((Status.FAIL, "failure"), (Status.WARN, "warning")):
        count = sum(
            finding.status is status and finding.id not in mentioned_ids for finding in findings
        )
        if count:
            parts.append(f"{count} {noun}{'s' * (count > 1)}")
    return f" {', '.join(parts)}." if parts else ""


def _worst(findings: Sequence[Finding]) -> Status:
    statuses = {finding.status for finding in findings}
    return next((s for s in (Status.FAIL, Status.WARN) if s in statuses), Status.OK)

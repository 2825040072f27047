"""The full text of a finding or a device."""

from __future__ import annotations

from textual.content import Content

from mpstui.domain.facts import DeviceFact
from mpstui.domain.findings import Finding, Status
from mpstui.domain.units import gibibytes

from .finding_list import AGAIN, COLOURS


def finding_text(finding: Finding, remedy_first: bool = False) -> Content:
    """Return a finding with its reason, effects and remedy.

    Args:
        finding: The finding.
        remedy_first: Put the remedy before the reasons, for panes with little space.
    """
    text = Content.assemble(
        (finding.title, "bold"),
        "   ",
        (f"{finding.status.mark} {finding.status.value}", COLOURS[finding.status]),
        f"\n\n{finding.summary}",
    )
    if finding.pending and finding.status is not Status.UNKNOWN:
        text += Content.styled(
            f"\n{AGAIN} earlier result; it is being checked again", "$text-accent"
        )
    remedy = _part("Remedy", finding.remedy)
    for command in finding.commands:
        remedy += Content.assemble("\n  ", (command, "$text-accent"))
    reasons = _part("Because", finding.reason) + _part("Affects", finding.affects)
    text += remedy + reasons if remedy_first else reasons + remedy
    if finding.links:
        text += Content.assemble(("\n\nSee", "bold"))
        for link in finding.links:
            text += Content("\n  ") + as_link(link)
    return text + Content.assemble(
        ("\n\nid  ", "bold $foreground-muted"), (finding.id, "$foreground-muted")
    )


def _part(word: str, text: str) -> Content:
    return Content.assemble((f"\n\n{word}  ", "bold"), text) if text else Content()


def as_link(link: str) -> Content:
    """Return a thread's short address as a link, for terminals that support links."""
    short_link = link.replace("https://github.com/", "").replace("/issues/", "#")
    return Content.styled(short_link, f"underline link='{link}'")


def device_text(fact: DeviceFact) -> Content:
    """Return all known facts about a device."""
    answers = (("built", fact.built), ("available", fact.available), ("usable", fact.usable))
    text = Content.assemble((fact.device, "bold"), f"   {fact.name or ''}\n")
    for name, value in answers:
        text += Content.assemble(f"\n{name:<10} ", yes_no(value))
    if fact.memory_bytes is not None:
        text += f"\nmemory     {gibibytes(fact.memory_bytes)}"
    if fact.milliseconds is not None:
        text += f"\nforward and backward  {fact.milliseconds:.2f} ms, agreed with the CPU"
    if fact.reason:
        text += Content.assemble(("\n\nBecause  ", "bold"), fact.reason)
    return text


def yes_no(value: bool | None) -> Content | str:
    """Return a tick, a cross, or a dash for unknown."""
    if value is None:
        return "—"
    return (
        Content.styled("✓", "$text-success") if value else Content.styled("✗", "$foreground-muted")
    )

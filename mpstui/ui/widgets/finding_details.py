"""A finding, or a device, with everything that is known of it."""

from __future__ import annotations

from textual.content import Content

from mpstui.domain.facts import DeviceFact
from mpstui.domain.findings import Finding, Status
from mpstui.domain.units import gibibytes

from .finding_list import AGAIN, COLOURS


def finding_in_full(finding: Finding, remedy_first: bool = False) -> Content:
    """A finding with what it rests on, what it touches and what mends it.

    Args:
        finding: The finding.
        remedy_first: Whether the remedy stands before the reasons: with little room they are below
            the pane's edge.
    """
    text = Content.assemble(
        (finding.title, "bold"),
        "   ",
        (f"{finding.status.mark} {finding.status.value}", COLOURS[finding.status]),
        f"\n\n{finding.summary}",
    )
    if finding.pending and finding.status is not Status.UNKNOWN:
        text += Content.styled(f"\n{AGAIN} from before; it is being asked again", "$text-accent")
    remedy = _part("Remedy", finding.remedy)
    for command in finding.commands:
        remedy += Content.assemble("\n  ", (command, "$text-accent"))
    reasons = _part("Because", finding.reason) + _part("Affects", finding.affects)
    text += remedy + reasons if remedy_first else reasons + remedy
    if finding.links:
        text += Content.assemble(("\n\nSee", "bold"))
        for link in finding.links:
            text += Content("\n  ") + linked(link)
    return text + Content.assemble(
        ("\n\nid  ", "bold $foreground-muted"), (finding.id, "$foreground-muted")
    )


def _part(word: str, text: str) -> Content:
    return Content.assemble((f"\n\n{word}  ", "bold"), text) if text else Content()


def linked(link: str) -> Content:
    """A thread's address, short, to click where the terminal can."""
    shown = link.replace("https://github.com/", "").replace("/issues/", "#")
    return Content.styled(shown, f"underline link='{link}'")


def device_in_full(fact: DeviceFact) -> Content:
    """A device with all that is known of it."""
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
    """A tick, a cross, or a dash for what is not known."""
    if value is None:
        return "—"
    return (
        Content.styled("✓", "$text-success") if value else Content.styled("✗", "$foreground-muted")
    )

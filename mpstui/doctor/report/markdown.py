"""The report as Markdown, for pasting into an issue."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby

from mpstui import __version__
from mpstui.domain.facts import DoctorFacts
from mpstui.domain.findings import Finding, Status

from .privacy import anonymous
from .text import HEADINGS, count, device_rows, lead_lines, machine_line

_MARKS = {
    Status.OK: "✅",
    Status.WARN: "⚠️",
    Status.FAIL: "❌",
    Status.NOT_APPLICABLE: "➖",
    Status.UNKNOWN: "❔",
}


def as_markdown(facts: DoctorFacts, findings: Sequence[Finding]) -> str:
    """Return findings that need attention with reasons, then tables of all findings and devices.

    Args:
        facts: The probes' facts.
        findings: The checks' findings, in order of their groups.
    """
    facts, findings = anonymous(facts, findings)
    lines = ["### mpstui doctor", "", machine_line(facts.machine), ""]
    for line in lead_lines(facts, findings):
        lines += [f"**{line}**", ""]
    lines += [count(findings), ""]
    attention = [finding for finding in findings if finding.needs_attention]
    for finding in attention:
        lines += [f"- {_MARKS[finding.status]} **{finding.title}**: {finding.summary}"]
        lines += [f"  {text}" for text in (finding.reason, finding.remedy) if text]
        lines += [f"  `{command}`" for command in finding.commands]
        lines += [f"  {link}" for link in finding.links]
    lines += [""] if attention else []
    lines += ["<details><summary>Every finding</summary>", "", "| | finding | |", "|-|-|-|"]
    for group, members in groupby(findings, key=lambda finding: finding.group):
        lines.append(f"| | **{group}** | |")
        lines += [
            f"| {_MARKS[finding.status]} | {_cell(finding.title)} | {_cell(finding.summary)} |"
            for finding in members
        ]
    lines += ["", "</details>", ""]
    lines += ["<details><summary>Devices that torch names</summary>", ""]
    lines += [_row(HEADINGS), _row(["-"] * len(HEADINGS))]
    lines += [_row(row) for row in device_rows(facts)]
    lines += ["", "</details>", "", f"mpstui {__version__}"]
    return "\n".join(lines) + "\n"


def _row(cells: Sequence[str]) -> str:
    return f"| {' | '.join(_cell(cell) for cell in cells)} |"


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")

"""The report as plain lines."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from itertools import groupby

from mpstui.doctor.lead import count_answered, lead
from mpstui.domain.devices import TYPES
from mpstui.domain.facts import DeviceFact, DoctorFacts
from mpstui.domain.findings import Finding, Status
from mpstui.domain.machine import Machine
from mpstui.domain.units import gibibytes

from .privacy import anonymous

WIDTH = 100
"""Columns that sentences are wrapped to; commands and tables are not wrapped."""

_YES_NO = {True: "yes", False: "no", None: "—"}
HEADINGS = ("device", "built", "available", "usable", "forward+backward", "name or reason")
_NOUNS = {
    Status.OK: "ok",
    Status.WARN: "with a warning",
    Status.FAIL: "failed",
    Status.NOT_APPLICABLE: "not applicable",
    Status.UNKNOWN: "unknown",
}


def as_text(facts: DoctorFacts, findings: Sequence[Finding], *, with_names: bool = False) -> str:
    """Return the report as plain lines: each finding with its mark, the devices, and a count.

    Args:
        facts: The probes' facts.
        findings: The checks' findings, in order of their groups.
        with_names: Keep folders and names, for the local user, who can then copy commands that
            name an interpreter.
    """
    if not with_names:
        facts, findings = anonymous(facts, findings)
    lines = ["mpstui doctor", machine_line(facts.machine), *lead_lines(facts, findings)]
    for group, group_findings in groupby(findings, key=lambda finding: finding.group):
        members = list(group_findings)
        width = max(len(finding.title) for finding in members)
        lines += ["", group]
        # Off the Mac, half of the findings are "not a Mac": one line is enough for them.
        for summary, same_summary in groupby(members, key=_folding_key):
            folded = list(same_summary)
            if summary and len(folded) > 1:
                titles = ", ".join(finding.title for finding in folded)
                lines += _wrapped(f"  {folded[0].status.mark} ", f"{titles}: {summary}")
            else:
                lines += [line for finding in folded for line in _finding_lines(finding, width)]
    lines += ["", "Devices", *_device_lines(facts), "", count(findings)]
    return "\n".join(lines)


def lead_lines(facts: DoctorFacts, findings: Sequence[Finding]) -> list[str]:
    """Return the verdict of a report on the whole machine, and a note on missing answers."""
    lines = []
    if any(finding.id == "accelerator" for finding in findings):
        verdict = lead(facts, findings)
        lines.append(f"{verdict.status.mark} {verdict.text}")
    if any(finding.pending for finding in findings):
        lines.append(f"INCOMPLETE: {count_answered(findings)} when this was written")
    return lines


def machine_line(machine: Machine) -> str:
    """Return the machine in one line."""
    cores = f"{machine.cores_logical} threads" if machine.cores_logical else "unknown core count"
    if machine.cores_physical:
        cores = f"{machine.cores_physical} cores, {cores}"
    parts = (
        f"{machine.name}",
        f"{machine.system} {machine.arch}",
        cores,
        gibibytes(machine.memory_bytes),
        f"Python {machine.python}",
    )
    return " · ".join(parts)


def _folding_key(finding: Finding) -> str:
    return finding.summary if finding.status is Status.NOT_APPLICABLE else ""


def _finding_lines(finding: Finding, width: int) -> list[str]:
    head = f"  {finding.status.mark} {finding.title:<{width}}  "
    lines = _wrapped(head, finding.summary)
    if finding.needs_attention or finding.status is Status.UNKNOWN:
        indent = " " * len(head)
        for text in (finding.reason, finding.remedy):
            lines += _wrapped(indent, text) if text else []
        lines += [
            f"{indent}$ {command}" for command in finding.commands
        ]  # not wrapped, so that the user can copy them
        lines += _wrapped(indent, f"affects {finding.affects}") if finding.affects else []
        lines += [f"{indent}see {link}" for link in finding.links]
    return lines


def _wrapped(head: str, text: str) -> list[str]:
    """Return text after a head, wrapped between words."""
    room = max(40, WIDTH - len(head))
    first, *rest = textwrap.wrap(text, room, break_long_words=False, break_on_hyphens=False) or [""]
    return [f"{head}{first}".rstrip(), *(" " * len(head) + line for line in rest)]


def _device_lines(facts: DoctorFacts) -> list[str]:
    if facts.torch is None:
        return _wrapped("  — ", facts.torch_error or "…probing")
    # Torch lists a dozen types that no build has had for years; one line is enough for them.
    facts_in_table = [
        fact for fact in facts.torch.devices if fact.built is not False or fact.type in TYPES
    ]
    not_built = [fact.device for fact in facts.torch.devices if fact not in facts_in_table]
    rows = [HEADINGS, *(_row(fact) for fact in facts_in_table)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(HEADINGS))]
    lines = [_columns(row, widths) for row in rows]
    if not_built:
        lines += ["  named by torch, not built:", f"    {', '.join(not_built)}"]
    return lines


def _columns(row: Sequence[str], widths: Sequence[int]) -> str:
    cells = (f"{cell:<{width}}" for cell, width in zip(row, widths, strict=True))
    return f"  {'  '.join(cells)}".rstrip()


def device_rows(facts: DoctorFacts) -> list[tuple[str, ...]]:
    """Return a row for every device that torch names, under :data:`HEADINGS`."""
    return [_row(fact) for fact in facts.torch.devices] if facts.torch else []


def _row(fact: DeviceFact) -> tuple[str, ...]:
    time_text = "—" if fact.milliseconds is None else f"{fact.milliseconds:.2f} ms"
    answers = (_YES_NO[fact.built], _YES_NO[fact.available], _YES_NO[fact.usable])
    memory = f"{fact.name}, {gibibytes(fact.memory_bytes)}" if fact.memory_bytes else fact.name
    return (fact.device, *answers, time_text, " ".join((fact.reason or memory or "").split()))


def count(findings: Sequence[Finding]) -> str:
    """Return how many findings have each status."""
    counts = {status: sum(finding.status is status for finding in findings) for status in Status}
    return ", ".join(f"{count} {_NOUNS[status]}" for status, count in counts.items() if count)

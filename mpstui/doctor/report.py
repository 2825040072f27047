"""The doctor's answer off the screen: plain lines for a person, one JSON document for a script.

Both are made to be pasted into an issue, so neither holds a folder, a user's or a host's name.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Sequence
from itertools import groupby

import msgspec

from mpstui.domain.devices import TYPES
from mpstui.domain.findings import Finding, Status
from mpstui.domain.machine import DeviceFact, Facts, Machine

_FOLDERS = re.compile(r"(?<![\w/\\:.~…-])(?:[A-Za-z]:)?[\\/]+(?:[^\s:'\"<>|*?,;()\\/]+[\\/]+)+")
"""The folders of an absolute path. What stands before it keeps web addresses whole."""

_HOME = re.compile(r"(?<![\w/\\:.])(?:[A-Za-z]:)?[\\/]+(?:home|Users)[\\/]+[^\s:'\"\\/]+")
"""Anybody's home folder, also without anything after it."""

_YES_NO = {True: "yes", False: "no", None: "—"}
_HEADINGS = ("device", "built", "available", "usable", "forward+backward", "name or reason")
_NOUNS = {
    Status.OK: "ok",
    Status.WARN: "with a warning",
    Status.FAIL: "failed",
    Status.NOT_APPLICABLE: "not applicable",
    Status.UNKNOWN: "unknown",
}


def as_text(facts: Facts, findings: Sequence[Finding]) -> str:
    """The report as plain lines, each finding with its mark, then the devices and a count.

    Args:
        facts: What the probes found.
        findings: What the checks made of it, in order of their groups.
    """
    lines = ["mpstui doctor", _machine_line(facts.machine)]
    width = max((len(finding.title) for finding in findings), default=0)
    for group, members in groupby(findings, key=lambda finding: finding.group):
        lines += ["", group]
        for finding in members:
            lines += _finding_lines(finding, width)
    lines += ["", "Devices", *_device_lines(facts), "", _count(findings)]
    return without_folders("\n".join(lines))


def as_json(facts: Facts, findings: Sequence[Finding]) -> str:
    """The report as one JSON document: ``machine``, ``torch``, ``devices`` and ``findings``.

    ``torch`` always has a ``state`` (``probing``, ``known`` or ``failed``) and an ``error``; the
    rest of it is there once it is known. Times are in ms where so named, memory in bytes.
    """
    torch = {"state": facts.torch_state, "error": facts.torch_error}
    if facts.torch is not None:
        torch |= msgspec.to_builtins(facts.torch)
    document = {
        "machine": msgspec.to_builtins(facts.machine),
        "torch": torch,
        "devices": torch.pop("devices", []),
        "findings": msgspec.to_builtins(findings),
    }
    encoded = msgspec.json.encode(_cleaned(document))
    return msgspec.json.format(encoded, indent=2).decode()


def exit_code(findings: Iterable[Finding]) -> int:
    """1 when anything failed, otherwise 0."""
    return int(any(finding.status is Status.FAIL for finding in findings))


def without_folders(text: str) -> str:
    """The text with the folders of every absolute path left out; file names stay."""
    home = os.path.expanduser("~")
    text = _HOME.sub("~", text.replace(home, "~") if len(home) > 1 else text)
    return _FOLDERS.sub("…/", re.sub(r"(?<!\w)~[\\/]+", "/", text))


def _cleaned(value: object) -> object:
    if isinstance(value, str):
        return without_folders(value)
    if isinstance(value, dict):
        return {key: _cleaned(each) for key, each in value.items()}
    return [_cleaned(each) for each in value] if isinstance(value, (list, tuple)) else value


def _machine_line(machine: Machine) -> str:
    cores = f"{machine.cores_logical} threads" if machine.cores_logical else "unknown core count"
    if machine.cores_physical:
        cores = f"{machine.cores_physical} cores, {cores}"
    parts = (
        f"{machine.name}",
        f"{machine.system} {machine.arch}",
        cores,
        _gibibytes(machine.memory_bytes),
        f"Python {machine.python}",
    )
    return " · ".join(parts)


def _gibibytes(count: int) -> str:
    return f"{count / 2**30:.1f} GiB"


def _finding_lines(finding: Finding, width: int) -> list[str]:
    lines = [f"  {finding.status.mark} {finding.title:<{width}}  {finding.summary}"]
    if finding.status in (Status.WARN, Status.FAIL, Status.UNKNOWN):
        indent = " " * (width + 6)
        lines += [indent + text for text in (finding.reason, finding.remedy) if text]
        lines += [f"{indent}$ {command}" for command in finding.commands]
    return lines


def _device_lines(facts: Facts) -> list[str]:
    if facts.torch is None:
        return [f"  — {facts.torch_error or '…probing'}"]
    # Torch names a dozen types that no build of it has had for years; one line is enough for them.
    shown = [fact for fact in facts.torch.devices if fact.built is not False or fact.type in TYPES]
    others = [fact.device for fact in facts.torch.devices if fact not in shown]
    rows = [_HEADINGS, *(_row(fact) for fact in shown)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(_HEADINGS))]
    lines = [_columns(row, widths) for row in rows]
    if others:
        lines += ["  named by torch, not built:", f"    {', '.join(others)}"]
    return lines


def _columns(row: Sequence[str], widths: Sequence[int]) -> str:
    cells = (f"{cell:<{width}}" for cell, width in zip(row, widths, strict=True))
    return f"  {'  '.join(cells)}".rstrip()


def _row(fact: DeviceFact) -> tuple[str, ...]:
    took = "—" if fact.milliseconds is None else f"{fact.milliseconds:.2f} ms"
    answers = (_YES_NO[fact.built], _YES_NO[fact.available], _YES_NO[fact.usable])
    memory = f"{fact.name}, {_gibibytes(fact.memory_bytes)}" if fact.memory_bytes else fact.name
    return (fact.device, *answers, took, fact.reason or memory or "")


def _count(findings: Sequence[Finding]) -> str:
    counts = {status: sum(each.status is status for each in findings) for status in Status}
    return ", ".join(f"{count} {_NOUNS[status]}" for status, count in counts.items() if count)

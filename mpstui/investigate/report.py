"""report.md: what a maintainer wants to know, ready to paste into an issue of PyTorch.

It holds no user's name, host name or home folder.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from mpstui import __version__
from mpstui.doctor.report.text import machine_line
from mpstui.domain.catalogue import BY_ID
from mpstui.domain.investigation import Investigation, LossCurve, OpAtFault, shorten
from mpstui.domain.machine import Machine
from mpstui.domain.units import DASH, number
from mpstui.runs.privacy import without_names
from mpstui.runs.rundir import RunDir

from .command import command_of
from .request import InvestigationFolder, InvestigationRequest
from .versions import package_versions

PHASES = ("forward", "backward", "optimizer")

DRAWS = (
    "Random draws, where there are any, are judged by their range, moments and neighbours, over "
    "all steps; then they are replaced by the CPU's, so that both train on the same numbers."
)
"""What is said of them with what was checked."""

BARS = "▁▂▃▄▅▆▇█"


def write_report(
    folder: InvestigationFolder, request: InvestigationRequest, finding: Investigation
) -> None:
    """Write report.md into an investigation's folder."""
    from mpstui.telemetry.machine import read_machine

    machine = RunDir(Path(request.run)).machine() if request.run else None
    script = folder.repro.read_text(encoding="utf-8") if finding.repro else ""
    machine = machine or read_machine()
    text = as_markdown(finding, machine, script, command_of(request), package_versions(machine))
    folder.report.write_text(without_names(text), encoding="utf-8")


def as_markdown(
    finding: Investigation,
    machine: Machine,
    repro: str,
    command: str,
    environment: Mapping[str, str] = {},
) -> str:
    """The report.

    Args:
        finding: What was found.
        machine: Where.
        repro: The script that shows it; empty when there is none.
        command: What reproduces the investigation.
        environment: What a maintainer asks for of torch and the machine, by name.
    """
    lines = [f"### {_title(finding)}", ""]
    lines += [f"> **{note}**" for note in finding.notes if "SIMULATED" in note]
    lines += ["", finding.summary, "", f"Verdict: **{finding.verdict.value}**" + _kind(finding)]
    if finding.remedy:
        lines += ["", f"Remedy: {finding.remedy}"]
    if finding.op is not None:
        lines += ["", "#### The op", "", *_op(finding.op)]
    if finding.evidence:
        lines += ["", "| tried | outcome |", "|-|-|"]
        lines += [f"| {_cell(each.tried)} | {_cell(each.outcome)} |" for each in finding.evidence]
    if repro:
        lines += ["", "#### Repro", "", finding.repro_note, "", "```python", repro.rstrip(), "```"]
        if finding.repro_output:
            lines += ["", "It prints:", "", "```", finding.repro_output, "```"]
    elif finding.repro_note:
        lines += ["", f"Repro: {finding.repro_note}"]
    lines += _lockstep(finding)
    if finding.curves:
        lines += ["", "#### Losses", "", "```", *curves(finding.curves), "```"]
    if finding.known:
        lines += ["", "#### Threads that may be the same", ""]
        for row in finding.known:
            known = BY_ID[row]
            links = ", ".join(known.links) or "no thread"
            lines.append(f"- {known.op}: {known.mechanics} ({known.affected}); {links}")
    lines += ["", "#### Where", "", machine_line(machine)]
    lines += [f"device {_plain(finding.device)}: {finding.device_name}, torch {finding.torch}"]
    lines += [f"- {note}" for note in finding.notes]
    if environment:
        lines += ["", "```", *(f"{name}: {value}" for name, value in environment.items()), "```"]
    lines += ["", "```sh", command, "```", "", *_checked(finding), "", f"mpstui {__version__}"]
    return "\n".join(lines) + "\n"


def curves(found: Sequence[LossCurve], width: int = 60) -> list[str]:
    """Loss curves as text, on one scale, with the numbers at their ends; ✗ is not finite.

    The scale is logarithmic where the losses span more than two orders of magnitude.
    """
    values = [v for curve in found for v in curve.losses if v is not None]
    low, high = (min(values), max(values)) if values else (0.0, 1.0)
    log = low > 0 and high > 100 * low
    low, high = (math.log(low), math.log(high)) if log else (low, high)
    name = max((len(_plain(curve.device)) for curve in found), default=0)
    lines = ["(log scale)"] if log else []
    for curve in found:
        shown = curve.losses[:width]
        scaled = [math.log(v) if log and v is not None else v for v in shown]
        bars = "".join(_bar(value, low, high) for value in scaled)
        ends = f"{number(shown[0])} → {number(shown[-1])}" if shown else DASH
        last = curve.first_step + len(shown) - 1
        lines.append(
            f"{_plain(curve.device):<{name}}  {bars}  {ends}, steps {curve.first_step}–{last}"
        )
    return lines


def _plain(device: str) -> str:
    """A device without the folders of its fault's file, which would not stand in line."""
    return re.sub(r"fault=.*[\\/]", "fault=", device)


def _bar(value: float | None, low: float, high: float) -> str:
    if value is None:
        return "✗"
    share = (value - low) / (high - low) if high > low else 0.0
    return BARS[min(int(share * len(BARS)), len(BARS) - 1)]


def _title(finding: Investigation) -> str:
    device = finding.device.partition("@")[0]
    if finding.op is None:
        return f"{finding.workload} on {device}: {finding.verdict.value}"
    what = f": {finding.op.symptom}" if finding.op.symptom else f": {finding.kind}"
    return f"{finding.op.op} on {device}{what}"


def _kind(finding: Investigation) -> str:
    return f", {finding.kind}" if finding.kind else ""


def _op(op: OpAtFault) -> list[str]:
    error = "no size" if op.error is None else f"{op.error:.3g} of the largest value"
    cpu = "" if op.cpu_error is None else f" (the CPU's own: {op.cpu_error:.2g})"
    rows = {
        "op": f"`{op.op}`, number {op.index} of step {op.step}, in {op.phase}",
        "call": f"`{op.public}`" if op.public else "",
        "wrong": f"{op.where}: {op.values}" if op.where else op.values,
        "farthest off": op.worst,
        "error": f"{error}{cpu}" if op.where != "draws" else "",
        "looks like": op.symptom if op.symptom != op.values else "",
        "line": f"`{op.source}`: `{op.code}`" if op.source else "",
        "parameters": shorten([f"`{name}`" for name in op.parameters]),
        "inputs": shorten(op.inputs, "; "),
    }
    return [f"- {name}: {value}" for name, value in rows.items() if value]


def _lockstep(finding: Investigation) -> list[str]:
    found = finding.lockstep
    if found is None:
        return []
    where = f"differs in {found.phase}" if found.phase else "agrees"
    where += _lockstep_and_op(found.phase, finding.op)
    return [
        "",
        f"Lockstep with the CPU, step {found.step}: {where}. Loss {number(found.loss)} against "
        f"{number(found.cpu_loss)} (gap {_gap(found.loss_gap)}); largest gradient gap "
        f"{_gap(found.gradient_gap)}{_of(found.gradient_of)}; largest update gap on the same "
        f"gradients {_gap(found.update_gap)}{_of(found.update_of)}.",
    ]


def _lockstep_and_op(phase: str, op: OpAtFault | None) -> str:
    """Why the phase that the whole step differs in is another than that of the op at fault."""
    if op is None or op.phase not in PHASES or phase == op.phase:
        return ""
    if op.where == "draws":
        return ", for the CPU's draws stand in for the device's in both"
    if not phase:
        return f"; what {op.op} gets wrong is too small to show in it"
    if PHASES.index(phase) > PHASES.index(op.phase):
        return f": what {op.op} gets wrong in {op.phase} shows in it first there"
    return ""


def _gap(value: float | None) -> str:
    return "not finite" if value is None else f"{value:.2g}"


def _of(name: str) -> str:
    return f" ({name})" if name else ""


def _checked(finding: Investigation) -> list[str]:
    steps = f"{finding.steps_checked} step" + ("s" if finding.steps_checked != 1 else "")
    lines = [f"{finding.ops_checked:,} ops of {steps} were checked.", DRAWS]
    if finding.unreferenced:
        lines.append(f"Not checked: {', '.join(finding.unreferenced)}.")
    if finding.suspects:
        lines.append(f"Less exact than on the CPU: {', '.join(finding.suspects)}.")
    if finding.error:
        lines.append(f"The investigation ended early: {finding.error}.")
    return lines


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")

"""Writes report.md, ready to paste into a PyTorch issue.

The report contains no user name, host name or home folder.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from mpstui import __version__
from mpstui.doctor.report.text import machine_line
from mpstui.domain.catalogue import BY_ID
from mpstui.domain.devices import device_label
from mpstui.domain.investigation import Investigation, LossCurve, OpAtFault, shorten
from mpstui.domain.machine import Machine
from mpstui.domain.script_ref import script_ref
from mpstui.domain.units import DASH, number
from mpstui.domain.workloads import short_name
from mpstui.runs.privacy import without_names
from mpstui.runs.rundir import RunDir

from .command import command_of
from .request import InvestigationFolder, InvestigationRequest
from .versions import package_versions

PHASE_NAMES = ("forward", "backward", "optimizer")

RANDOM_NOTE = (
    "Random numbers are checked by their range, moments and neighbours, over all steps; then they "
    "are replaced by the CPU's, so that both train on the same numbers."
)
"""The report's note on random numbers."""

SCRIPT_NOTE = (
    "The script ran as it is, with its own random numbers, which are checked by their range, "
    "moments and neighbours. Only ops of its main thread and of its backward passes were checked: "
    "none in a DataLoader's own processes, or in code that is captured in a CUDA graph."
)
"""The report's note on the check of a script."""

BARS = "▁▂▃▄▅▆▇█"


def write_report(
    folder: InvestigationFolder, request: InvestigationRequest, finding: Investigation
) -> None:
    """Write report.md into an investigation's folder."""
    from mpstui.telemetry.machine import read_machine

    machine = RunDir(Path(request.run)).machine() if request.run else None
    script = folder.repro.read_text(encoding="utf-8") if finding.repro else ""
    machine = machine or read_machine()
    text = format_report(finding, machine, script, command_of(request), package_versions(machine))
    folder.report.write_text(without_names(text), encoding="utf-8")


def format_report(
    finding: Investigation,
    machine: Machine,
    repro: str,
    command: str,
    environment: Mapping[str, str] = {},
) -> str:
    """Format the report as Markdown.

    Args:
        finding: The finding.
        machine: The machine.
        repro: The script that reproduces the fault; empty if there is none.
        command: The command that repeats the investigation.
        environment: Versions of torch and properties of the machine, by name.
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
        lines += [
            f"| {_cell(evidence.tried)} | {_cell(evidence.outcome)} |"
            for evidence in finding.evidence
        ]
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
        lines += ["", "#### Possibly related threads", ""]
        for row in finding.known:
            fault = BY_ID[row]
            links = ", ".join(fault.links) or "no thread"
            lines.append(f"- {fault.op}: {fault.mechanics} ({fault.affected}); {links}")
    lines += ["", "#### Environment", "", machine_line(machine)]
    lines += [
        f"device {_short_device(finding.device)}: {finding.device_name}, torch {finding.torch}"
    ]
    lines += [f"- {note}" for note in finding.notes]
    if environment:
        lines += ["", "```", *(f"{name}: {value}" for name, value in environment.items()), "```"]
    lines += ["", "```sh", command, "```", "", *_checked(finding), "", f"mpstui {__version__}"]
    return "\n".join(lines) + "\n"


def curves(loss_curves: Sequence[LossCurve], width: int = 60) -> list[str]:
    """Format loss curves as bars on one scale, with their first and last loss; ✗ is not finite.

    The scale is logarithmic if the losses span more than two orders of magnitude.
    """
    values = [v for curve in loss_curves for v in curve.losses if v is not None]
    low, high = (min(values), max(values)) if values else (0.0, 1.0)
    log = low > 0 and high > 100 * low
    low, high = (math.log(low), math.log(high)) if log else (low, high)
    name = max((len(_short_device(curve.device)) for curve in loss_curves), default=0)
    lines = ["(log scale)"] if log else []
    for curve in loss_curves:
        losses = curve.losses[:width]
        scaled = [math.log(v) if log and v is not None else v for v in losses]
        bars = "".join(_bar(value, low, high) for value in scaled)
        ends = f"{number(losses[0])} → {number(losses[-1])}" if losses else DASH
        last = curve.first_step + len(losses) - 1
        lines.append(
            f"{_short_device(curve.device):<{name}}  {bars}  {ends}, "
            f"steps {curve.first_step}–{last}"
        )
    return lines


def _short_device(device: str) -> str:
    """Return a device without the folders of its fault's file, which are too long for a column."""
    return device_label(re.sub(r"fault=.*[\\/]", "fault=", device))


def _bar(value: float | None, low: float, high: float) -> str:
    if value is None:
        return "✗"
    share = (value - low) / (high - low) if high > low else 0.0
    return BARS[min(int(share * len(BARS)), len(BARS) - 1)]


def _title(finding: Investigation) -> str:
    device = finding.device.partition("@")[0]
    if finding.op is None:
        return f"{short_name(finding.workload)} on {device}: {finding.verdict.value}"
    detail = f": {finding.op.symptom}" if finding.op.symptom else f": {finding.kind}"
    return f"{finding.op.op} on {device}{detail}"


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
    lockstep = finding.lockstep
    if lockstep is None:
        return []
    where = f"differs in {lockstep.phase}" if lockstep.phase else "agrees"
    where += _lockstep_and_op(lockstep.phase, finding.op)
    return [
        "",
        f"Lockstep with the CPU, step {lockstep.step}: {where}. Loss {number(lockstep.loss)} "
        f"against {number(lockstep.cpu_loss)} (gap {_gap(lockstep.loss_gap)}); largest gradient "
        f"gap {_gap(lockstep.gradient_gap)}{_of(lockstep.gradient_of)}; largest update gap on the "
        f"same gradients {_gap(lockstep.update_gap)}{_of(lockstep.update_of)}.",
    ]


def _lockstep_and_op(phase: str, op: OpAtFault | None) -> str:
    """Explain why the step differs in another phase than that of the op at fault."""
    if op is None or op.phase not in PHASE_NAMES or phase == op.phase:
        return ""
    if op.where == "draws":
        return ", because the CPU's random numbers replace the device's in both"
    if not phase:
        return f"; what {op.op} gets wrong is too small to show in it"
    if PHASE_NAMES.index(phase) > PHASE_NAMES.index(op.phase):
        return f": what {op.op} gets wrong in {op.phase} shows in it first there"
    return ""


def _gap(value: float | None) -> str:
    return "not finite" if value is None else f"{value:.2g}"


def _of(name: str) -> str:
    return f" ({name})" if name else ""


def _checked(finding: Investigation) -> list[str]:
    steps = f"{finding.steps_checked} step" + ("s" if finding.steps_checked != 1 else "")
    lines = [f"{finding.ops_checked:,} ops of {steps} were checked."]
    lines.append(SCRIPT_NOTE if script_ref(finding.workload) else RANDOM_NOTE)
    if finding.unreferenced:
        lines.append(f"Not checked: {', '.join(finding.unreferenced)}.")
    if finding.suspects:
        lines.append(f"Less exact than on the CPU: {', '.join(finding.suspects)}.")
    if finding.error:
        lines.append(f"The investigation ended early: {finding.error}.")
    return lines


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")

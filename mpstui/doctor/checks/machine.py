"""Checks of the machine's current state: memory, disk, power, heat, terminal, gauges."""

from __future__ import annotations

from mpstui.domain.conditions import Conditions
from mpstui.domain.facts import DoctorFacts, ProbeStage
from mpstui.domain.findings import Status
from mpstui.domain.shell import pip_install
from mpstui.domain.units import memory as size

from .check import Check, CheckVerdict, not_applicable, ok, unknown

GROUP = "Machine"
GIB = 2**30

SCANT_MEMORY, NO_MEMORY = 2 * GIB, GIB // 2
"""The article's MNIST takes about 1 GiB in each of two workers."""

SCANT_DISK, NO_DISK = 2 * GIB, GIB // 5


def _conditions(facts: DoctorFacts) -> Conditions:
    return facts.conditions or Conditions()


def _memory(facts: DoctorFacts) -> CheckVerdict:
    conditions = _conditions(facts)
    if conditions.memory_available is None:
        return unknown("the system does not say how much is available")
    swap = conditions.swap_used or 0
    summary = f"{size(conditions.memory_available)} of {size(facts.machine.memory_bytes)} available"
    swapped = f"Swap in use: {size(swap)}."
    if conditions.memory_available < SCANT_MEMORY:
        return CheckVerdict(
            status=Status.FAIL if conditions.memory_available < NO_MEMORY else Status.WARN,
            summary=summary,
            reason=f"{swapped} A run of the article's MNIST takes about 1 GiB, a comparison "
            "twice that.",
            remedy="Close what you do not need, or train with a smaller test batch size.",
            affects="every run; swapping makes timings meaningless",
        )
    if swap > facts.machine.memory_bytes // 4:
        return CheckVerdict(
            status=Status.WARN,
            summary=f"{summary}, {size(swap)} swapped out",
            reason="Programs that come back from swap disturb a measurement.",
            remedy="Close what you do not need.",
            affects="timings",
        )
    return ok(summary, swapped)


def _disk(facts: DoctorFacts) -> CheckVerdict:
    disk = _conditions(facts).disk
    if disk.free is None:
        return unknown("free space is not known", disk.reason)
    summary = f"{size(disk.free)} free where runs are kept"
    if disk.free >= SCANT_DISK:
        return ok(summary)
    return CheckVerdict(
        status=Status.FAIL if disk.free < NO_DISK else Status.WARN,
        summary=summary,
        reason="A log takes about 20 MB for a million steps; full MNIST takes 64 MB.",
        remedy="Free some space, or keep runs elsewhere: MPSTUI_HOME or --runs-dir.",
        affects="logs, pictures, checkpoints",
    )


def _power(facts: DoctorFacts) -> CheckVerdict:
    power = _conditions(facts).power
    charge = "" if power.percent is None else f", {power.percent:.0f} %"
    if power.saving:
        return CheckVerdict(
            status=Status.WARN,
            summary=f"{power.saving_by} is on",
            reason="The system saves energy at the cost of speed.",
            remedy="Turn it off for measurements.",
            affects="timings",
        )
    if power.source is None:
        return not_applicable(power.reason)
    if power.source == "battery":
        return CheckVerdict(
            status=Status.WARN,
            summary=f"on battery{charge}",
            reason="Many laptops run slower on battery.",
            remedy="Plug it in for measurements.",
            affects="timings",
        )
    return ok(f"mains{charge}")


def _thermal(facts: DoctorFacts) -> CheckVerdict:
    thermal = _conditions(facts).thermal
    if thermal.throttled is None:
        return unknown("thermal state is not known", thermal.reason)
    if thermal.throttled:
        return CheckVerdict(
            status=Status.WARN,
            summary=f"slowed down by heat: {thermal.detail}",
            reason="",
            remedy="Let it cool before measuring.",
            affects="timings",
        )
    return ok(thermal.detail)


def _terminal(facts: DoctorFacts) -> CheckVerdict:
    terminal = _conditions(facts).terminal
    if terminal is None:
        return not_applicable("stdout is not a terminal")
    colours = "24-bit colour" if terminal.colours > 256 else f"{terminal.colours} colours"
    size = f"{terminal.columns}×{terminal.rows}"
    summary = f"{size}, {colours}, {terminal.encoding}"
    lacks = []
    if terminal.columns < 80 or terminal.rows < 24:
        lacks.append("It is smaller than 80×24: parts of the screens are cut off.")
    if not terminal.unicode:
        lacks.append(f"{terminal.encoding or 'Its encoding'} cannot draw the charts' lines.")
    if terminal.colours < 256:
        lacks.append("With few colours, runs are hard to tell apart; an ansi theme helps.")
    if not lacks:
        return ok(summary, f"{terminal.name}." if terminal.name else "")
    remedy = "Make the window larger, or use a terminal with UTF-8 and 256 colours or more."
    return CheckVerdict(
        status=Status.WARN,
        summary=summary,
        reason=" ".join(lacks),
        remedy=remedy,
        affects="the screens",
    )


def _telemetry(facts: DoctorFacts) -> CheckVerdict:
    gauges = _conditions(facts).gauges
    readable = [f"{gauge.what} ({gauge.by})" for gauge in gauges if gauge.available]
    missing = [gauge for gauge in gauges if not gauge.available]
    summary = "; ".join(readable) or "nothing can be read"
    reason = " ".join(f"No {gauge.what}: {gauge.reason}." for gauge in missing)
    packages = [gauge.package for gauge in missing if gauge.package]
    commands = tuple(command for gauge in missing for command in gauge.commands)
    if packages:
        commands = (pip_install(facts.machine, *packages), *commands)
    if not commands:
        return ok(summary, reason)
    return CheckVerdict(
        status=Status.WARN,
        summary=summary,
        reason=reason,
        remedy="To read the rest:",
        commands=commands,
        affects="watts, joules and GPU use",
    )


CHECKS = (
    Check("memory", GROUP, "memory", ProbeStage.CONDITIONS, _memory),
    Check("disk", GROUP, "disk", ProbeStage.CONDITIONS, _disk),
    Check("power", GROUP, "power", ProbeStage.CONDITIONS, _power),
    Check("thermal", GROUP, "heat", ProbeStage.CONDITIONS, _thermal),
    Check("terminal", GROUP, "terminal", ProbeStage.CONDITIONS, _terminal),
    Check("telemetry", GROUP, "telemetry", ProbeStage.CONDITIONS, _telemetry),
)

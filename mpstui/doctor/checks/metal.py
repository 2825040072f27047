"""Why a torch that was built with MPS finds no MPS device."""

from __future__ import annotations

from typing import NamedTuple

from mpstui.domain.facts import DoctorFacts, MetalDevice
from mpstui.domain.findings import Status
from mpstui.domain.shell import pip_install

from .check import THREAD, CheckVerdict
from .upstream import DeviceRule, device_rule, macos_row, older_torch, skips, tag_macos

_HERE = "Start mpstui in a terminal on the Mac itself, logged in at its screen."
_ASK_TORCH = "python -c \"import torch; torch.zeros(1, device='mps')\""


class Cause(NamedTuple):
    """The cause that keeps torch from MPS, with a remedy."""

    summary: str
    remedy: str
    commands: tuple[str, ...] = ()


def why_unavailable(facts: DoctorFacts) -> CheckVerdict:
    """Return the likely cause, applying this torch's own rules to Metal's devices.

    Up to 2.14 torch's own error names the macOS version whatever the cause is (pytorch#177819).
    """
    cause = _cause(facts)
    return CheckVerdict(
        status=Status.FAIL,
        summary=f"MPS is built, but not available: {cause.summary}",
        reason=_metal_answer(facts),
        remedy=cause.remedy,
        commands=cause.commands,
        affects="every run on mps",
        links=(f"{THREAD}177819",),
    )


def _cause(facts: DoctorFacts) -> Cause:
    machine, metal = facts.machine, facts.torch.mps if facts.torch else None
    session = facts.conditions.session if facts.conditions else None
    if machine.translated:
        return Cause("Python runs under Rosetta", "Use an arm64 Python; see arm64 Python.")
    if _macos_too_old(facts):
        return Cause(f"{machine.system} is too old", "See macOS version.")
    if metal is not None and metal.metal_devices:
        return _cause_by_rule(facts, metal.metal_devices)
    if metal is not None and metal.metal_device is not None:
        if unsupported := _unsupported(facts):
            return unsupported
        summary = (
            f"Metal shows {metal.metal_device}; whether torch takes such a device is not known"
        )
        return Cause(summary, _elsewhere(facts), (_ASK_TORCH,))
    if metal is not None and metal.metal_reason:
        summary = "why is not known, since Metal could not be asked"
        return Cause(summary, _elsewhere(facts), (_ASK_TORCH,))
    if session is not None and session.ssh:
        return Cause("no Metal device is visible over ssh", _HERE)
    if session is not None and session.sandbox:
        return Cause(
            "no Metal device is visible in the sandbox", f"{_HERE} Outside of the sandbox."
        )
    if session is not None and session.virtual_machine:
        return Cause("this virtual machine shows no Metal device", _elsewhere(facts))
    return Cause(
        "no Metal device is visible to this process",
        f"{_HERE} A daemon or a job without a graphical session sees none.",
    )


def _macos_too_old(facts: DoctorFacts) -> bool:
    """Return whether this torch, or its wheel, refuses the macOS."""
    version = facts.torch.version if facts.torch else None
    row, tag = macos_row(version), tag_macos(facts.machine)
    bounds = filter(None, (tag, row.macos if row and row.refuses else None))
    macos = facts.machine.macos
    return macos is not None and any(macos < bound for bound in bounds)


def _cause_by_rule(facts: DoctorFacts, devices: tuple[MetalDevice, ...]) -> Cause:
    """Return the cause by the rules that this torch applies to Metal's devices."""
    version = facts.torch.version if facts.torch else ""
    rule = device_rule(version)
    names = ", ".join(device.name for device in devices)
    if rule is None:
        summary = f"Metal shows {names}; which devices torch {version} takes is not known"
        return Cause(summary, _elsewhere(facts), (_ASK_TORCH,))
    if all(skips(rule, device) for device in devices):
        return _skipped_devices(facts, rule, devices)
    if unsupported := _unsupported(facts):
        return unsupported
    fit = ", ".join(device.name for device in devices if not skips(rule, device))
    summary = f"Metal shows {fit}, of family {rule.family_name}, which torch {version} asks for; "
    return Cause(
        f"{summary}why torch does not take it is not known",
        f"{_elsewhere(facts)} The command prints torch's own error.",
        (_ASK_TORCH,),
    )


def _unsupported(facts: DoctorFacts) -> Cause | None:
    """Return the cause for a macOS that torch does not check, but calls unsupported."""
    version, macos = facts.torch.version if facts.torch else "", facts.machine.macos
    row = macos_row(version)
    if row is None or macos is None or macos >= row.macos:
        return None
    supported = f"macOS {row.macos[0]}.{row.macos[1]}"
    summary = f"torch {version} says that it supports MPS on {supported} and later"
    return Cause(summary, "See macOS version.")


def _skipped_devices(
    facts: DoctorFacts, rule: DeviceRule, devices: tuple[MetalDevice, ...]
) -> Cause:
    version = facts.torch.version if facts.torch else ""
    why = "; ".join(f"{device.name} {skips(rule, device)}" for device in devices)
    summary = f"torch {version} takes a Metal device of family {rule.family_name}; {why}"
    older = older_torch(facts.machine, devices)
    if not older:
        return Cause(summary, _elsewhere(facts))
    command = pip_install(facts.machine, older, "torchvision")
    return Cause(summary, f"{_elsewhere(facts)} An older torch takes this device.", (command,))


def _elsewhere(facts: DoctorFacts) -> str:
    session = facts.conditions.session if facts.conditions else None
    if session is not None and session.virtual_machine:
        return "Run on the Mac that hosts this virtual machine; here runs go to the CPU."
    return "Here runs go to the CPU."


def _metal_answer(facts: DoctorFacts) -> str:
    """Return what Metal answered, and whether torch's own error is right."""
    machine, metal = facts.machine, facts.torch.mps if facts.torch else None
    if metal is None or metal.metal_reason:
        why = f": {metal.metal_reason}" if metal else ""
        answer = f"Metal could not be asked{why}."
    elif metal.metal_devices:
        answer = f"Metal answered: {', '.join(map(_describe, metal.metal_devices))}."
    else:
        answer = f"Metal answered: {metal.metal_device or 'no device'}."
    row = macos_row(facts.torch.version if facts.torch else None)
    if row is None or not row.refuses or machine.macos is None or machine.macos < row.macos:
        return answer
    supported = f"macOS {row.macos[0]}.{row.macos[1]}"
    blames = f"Torch's own error names {supported} whatever the cause is"
    return f"{answer} {blames}; {machine.system} is new enough."


def _describe(device: MetalDevice) -> str:
    mac2 = "Mac2" if 2002 in device.families else ""
    families = list(filter(None, (device.apple_family, mac2)))
    power = ["low-power"] if device.low_power else []
    return f"{device.name} ({', '.join([*families, *power]) or 'of none of the queried families'})"

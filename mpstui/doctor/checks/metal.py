"""Why a torch that has MPS finds no device for it."""

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
    """What keeps torch from MPS, and what can be done about it."""

    what: str
    remedy: str
    commands: tuple[str, ...] = ()


def why_unavailable(facts: DoctorFacts) -> CheckVerdict:
    """The cause as far as it was seen: Metal's devices are judged as this torch judges them.

    Up to 2.14 torch's own error names the macOS version whatever the cause is (pytorch#177819).
    """
    cause = _cause(facts)
    return CheckVerdict(
        Status.FAIL,
        f"MPS is built, but not available: {cause.what}",
        _seen(facts),
        cause.remedy,
        cause.commands,
        "every run on mps",
        (f"{THREAD}177819",),
    )


def _cause(facts: DoctorFacts) -> Cause:
    machine, metal = facts.machine, facts.torch.mps if facts.torch else None
    session = facts.surroundings.session if facts.surroundings else None
    if machine.translated:
        return Cause("Python runs under Rosetta", "Use an arm64 Python; see arm64 Python.")
    if _macos_too_old(facts):
        return Cause(f"{machine.system} is too old", "See macOS version.")
    if metal is not None and metal.metal_devices:
        return _judged(facts, metal.metal_devices)
    if metal is not None and metal.metal_device is not None:
        if unsupported := _unsupported(facts):
            return unsupported
        what = f"Metal shows {metal.metal_device}; whether torch takes such a device is not known"
        return Cause(what, _elsewhere(facts), (_ASK_TORCH,))
    if metal is not None and metal.metal_reason:
        what = "why is not known, since Metal could not be asked"
        return Cause(what, _elsewhere(facts), (_ASK_TORCH,))
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
    """Whether this torch, or its wheel, refuses the macOS."""
    version = facts.torch.version if facts.torch else None
    row, tag = macos_row(version), tag_macos(facts.machine)
    bounds = filter(None, (tag, row.macos if row and row.refuses else None))
    macos = facts.machine.macos
    return macos is not None and any(macos < bound for bound in bounds)


def _judged(facts: DoctorFacts, devices: tuple[MetalDevice, ...]) -> Cause:
    """Which of Metal's devices this torch leaves out on purpose."""
    version = facts.torch.version if facts.torch else ""
    rule = device_rule(version)
    names = ", ".join(device.name for device in devices)
    if rule is None:
        what = f"Metal shows {names}; which devices torch {version} takes is not known"
        return Cause(what, _elsewhere(facts), (_ASK_TORCH,))
    if all(skips(rule, device) for device in devices):
        return _left_out(facts, rule, devices)
    if unsupported := _unsupported(facts):
        return unsupported
    fit = ", ".join(device.name for device in devices if not skips(rule, device))
    what = f"Metal shows {fit}, of family {rule.family_name}, which torch {version} asks for; "
    return Cause(
        f"{what}why torch does not take it is not known",
        f"{_elsewhere(facts)} The command prints torch's own error.",
        (_ASK_TORCH,),
    )


def _unsupported(facts: DoctorFacts) -> Cause | None:
    """A macOS that torch does not look for, but calls unsupported."""
    version, macos = facts.torch.version if facts.torch else "", facts.machine.macos
    row = macos_row(version)
    if row is None or macos is None or macos >= row.macos:
        return None
    supported = f"macOS {row.macos[0]}.{row.macos[1]}"
    what = f"torch {version} says that it supports MPS on {supported} and later"
    return Cause(what, "See macOS version.")


def _left_out(facts: DoctorFacts, rule: DeviceRule, devices: tuple[MetalDevice, ...]) -> Cause:
    version = facts.torch.version if facts.torch else ""
    why = "; ".join(f"{device.name} {skips(rule, device)}" for device in devices)
    what = f"torch {version} takes a Metal device of family {rule.family_name}; {why}"
    older = older_torch(facts.machine, devices)
    if not older:
        return Cause(what, _elsewhere(facts))
    command = pip_install(facts.machine, older, "torchvision")
    return Cause(what, f"{_elsewhere(facts)} An older torch takes this device.", (command,))


def _elsewhere(facts: DoctorFacts) -> str:
    session = facts.surroundings.session if facts.surroundings else None
    if session is not None and session.virtual_machine:
        return "Run on the Mac that hosts this virtual machine; here runs go to the CPU."
    return "Here runs go to the CPU."


def _seen(facts: DoctorFacts) -> str:
    """What Metal answered, and what torch's own error is worth."""
    machine, metal = facts.machine, facts.torch.mps if facts.torch else None
    if metal is None or metal.metal_reason:
        why = f": {metal.metal_reason}" if metal else ""
        seen = f"Metal could not be asked{why}."
    elif metal.metal_devices:
        seen = f"Metal answered: {', '.join(map(_described, metal.metal_devices))}."
    else:
        seen = f"Metal answered: {metal.metal_device or 'no device'}."
    row = macos_row(facts.torch.version if facts.torch else None)
    if row is None or not row.refuses or machine.macos is None or machine.macos < row.macos:
        return seen
    supported = f"macOS {row.macos[0]}.{row.macos[1]}"
    blames = f"Torch's own error names {supported} whatever the cause is"
    return f"{seen} {blames}; {machine.system} is new enough."


def _described(device: MetalDevice) -> str:
    mac2 = "Mac2" if 2002 in device.families else ""
    families = list(filter(None, (device.apple_family, mac2)))
    power = ["low-power"] if device.low_power else []
    return f"{device.name} ({', '.join([*families, *power]) or 'of no family that is asked for'})"

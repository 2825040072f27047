"""Checks of the article's three prerequisites, and of two later ones: macOS and Metal."""

from __future__ import annotations

import re

from mpstui.domain.facts import DoctorFacts, ProbeStage
from mpstui.domain.findings import Status
from mpstui.domain.machine import Machine
from mpstui.domain.shell import pip_install, shell_of
from mpstui.domain.units import gibibytes

from .check import THREAD, Check, CheckVerdict, no_torch, not_a_mac, not_applicable, ok
from .metal import why_unavailable
from .upstream import (
    CHIP_FAMILIES,
    TORCH_KNOWN,
    MacosRow,
    macos_row,
    no_wheel,
    older_torch,
    tag_macos,
)

GROUP = "Prerequisites"


def _apple_silicon(facts: DoctorFacts) -> CheckVerdict:
    machine = facts.machine
    if not machine.mac:
        return not_a_mac(machine)
    if not machine.apple_silicon:
        return _intel_mac(facts)
    parts = [_cores(machine)]
    if facts.torch and facts.torch.mps and facts.torch.mps.gpu_cores:
        parts.append(f"{facts.torch.mps.gpu_cores} GPU cores")
    if family := _family(facts):
        parts.append(f"Metal family {family}")
    return ok(f"{machine.name}, {gibibytes(machine.memory_bytes)}", "; ".join(parts) + ".")


def _intel_mac(facts: DoctorFacts) -> CheckVerdict:
    machine, mps = facts.machine, facts.device("mps")
    wheels = f"{no_wheel(machine)} The last one with a wheel for Intel Macs is 2.2.2"
    if mps is None or not mps.available:
        return CheckVerdict(
            status=Status.WARN,
            summary=f"{machine.name}: an Intel Mac",
            reason=f"{wheels}; runs go to the CPU.",
        )
    return CheckVerdict(
        status=Status.WARN,
        summary=f"{machine.name}: an Intel Mac, and this torch's MPS takes its {mps.name or 'GPU'}",
        reason=f"{wheels}. MPS lacks more ops on such a GPU, and may be slower than the CPU.",
        remedy="Compare it with the CPU before you rely on it.",
        commands=("mpstui compare --devices cpu,mps",),
        affects="every run on mps",
        links=(f"{THREAD}119130",),
    )


def _cores(machine: Machine) -> str:
    cores = f"{machine.cores_physical} cores" if machine.cores_physical else "cores unknown"
    kinds = ", ".join(f"{kind.count} {kind.name}" for kind in machine.core_kinds)
    return f"{cores}: {kinds}" if kinds else cores


def _family(facts: DoctorFacts) -> str:
    """Return the GPU's family as Metal reports it, else by the chip's name; empty if unknown."""
    devices = facts.torch.mps.metal_devices if facts.torch and facts.torch.mps else None
    if devices:
        return devices[0].apple_family
    # A virtual machine's chip is called "Apple M1 (Virtual)", and its GPU is a different one.
    chip = re.fullmatch(r"Apple (M\d+)(?: Pro| Max| Ultra)?", facts.machine.name)
    return CHIP_FAMILIES.get(chip[1], "") if chip else ""


def _arm64_python(facts: DoctorFacts) -> CheckVerdict:
    machine = facts.machine
    if not machine.mac:
        return not_a_mac(machine)
    if not machine.apple_silicon:
        return not_applicable(f"{machine.platform}: an Intel Mac")
    if not machine.translated and machine.python_arch == "arm64":
        return ok(f"Python {machine.python}, {machine.python_arch}")
    return CheckVerdict(
        status=Status.FAIL,
        summary=f"Python {machine.python} is {machine.python_arch} and runs under Rosetta",
        reason=f"The machine is arm64 ({machine.name}); sysctl.proc_translated says that this "
        "process is "
        "translated. MPS needs an arm64 Python, and version checks are unreliable under Rosetta.",
        remedy="Make an environment with an arm64 Python: with uv, as below, or with Miniforge for "
        "arm64 from https://github.com/conda-forge/miniforge.",
        commands=(
            "uv venv --python cpython-3.12-macos-aarch64-none",
            shell_of(machine).activate(".venv"),
            "uv pip install torch torchvision",
        ),
        affects="every run on mps",
        links=(f"{THREAD}146236",),
    )


def _torch_mps(facts: DoctorFacts) -> CheckVerdict:
    machine, torch, mps = facts.machine, facts.torch, facts.device("mps")
    if not machine.mac:
        return not_a_mac(machine)
    if torch is None:
        return no_torch(facts)
    if mps is not None and mps.built:
        return ok(f"torch {torch.version}, MPS is built")
    if not machine.apple_silicon:
        return not_applicable(f"{machine.platform}: an Intel Mac")
    arm64 = machine.python_arch == "arm64"
    return CheckVerdict(
        status=Status.FAIL,
        summary=f"torch {torch.version} was built without MPS",
        reason=f"This Python is {machine.python_arch}; PyTorch's macOS arm64 wheels have MPS.",
        remedy="Install PyTorch's own wheel."
        if arm64
        else "Install torch in an arm64 Python; see arm64 Python.",
        commands=(pip_install(machine, "--force-reinstall", "torch", "torchvision"),)
        if arm64
        else (),
        affects="every run on mps",
    )


def _macos_version(facts: DoctorFacts) -> CheckVerdict:
    machine = facts.machine
    version = facts.torch.version if facts.torch else machine.torch
    if not machine.mac:
        return not_a_mac(machine)
    if not machine.apple_silicon:
        return not_applicable(f"{machine.platform}: an Intel Mac")
    row, tag = macos_row(version), tag_macos(machine)
    if version is None or machine.macos is None or (row is None and tag is None):
        return ok(machine.system, "What the installed torch needs is not known.")
    source = f"By the wheel's tag, {machine.torch_tag or 'unknown'}"
    if row is None:
        end = ".".join(map(str, TORCH_KNOWN))
        source += f". Which macOS its MPS needs is not known: mpstui's table ends at torch {end}."
    elif row.refuses or (tag or (0, 0)) >= row.macos:
        source += ", and torch's own error."
    else:
        source += "."
    needed = max(filter(None, (tag, row.macos if row and row.refuses else None)), default=(0, 0))
    if machine.macos < needed:
        return _too_old(facts, f"torch {version} needs macOS {needed[0]}.{needed[1]}", source)
    if row is not None and machine.macos < row.macos:
        return _unsupported(facts, f"{machine.system}: {_supports(version, row)}")
    requirement = f"torch {version} needs macOS {needed[0]}.{needed[1]}"
    if row is not None and row.macos > needed:
        requirement = _supports(version, row)
    return ok(f"{machine.system}; {requirement}", "" if row else source)


def _supports(version: str, row: MacosRow) -> str:
    macos = f"macOS {row.macos[0]}.{row.macos[1]}"
    return f"torch {version} says that it supports MPS on {macos} and later"


def _too_old(facts: DoctorFacts, requirement: str, source: str) -> CheckVerdict:
    machine, mps = facts.machine, facts.device("mps")
    if mps is not None and mps.available:
        return CheckVerdict(
            status=Status.WARN,
            summary=f"{machine.system}: {requirement}, yet MPS is available here",
            reason=source,
            remedy="Update macOS.",
        )
    remedy, commands = _newer_macos(facts)
    summary = f"{machine.system} is too old: {requirement}"
    return CheckVerdict(
        status=Status.FAIL,
        summary=summary,
        reason=source,
        remedy=remedy,
        commands=commands,
        affects="every run on mps",
    )


def _unsupported(facts: DoctorFacts, summary: str) -> CheckVerdict:
    """Judge a macOS that torch does not check, but calls unsupported."""
    mps = facts.device("mps")
    note = "Torch still uses a device here. " if mps is not None and mps.available else ""
    remedy, commands = _newer_macos(facts)
    reason = f"{note}What it does on an older macOS is not known."
    return CheckVerdict(
        status=Status.WARN,
        summary=summary,
        reason=reason,
        remedy=remedy,
        commands=commands,
        affects="runs on mps",
    )


def _newer_macos(facts: DoctorFacts) -> tuple[str, tuple[str, ...]]:
    """Return a remedy for a macOS that is too old, with a torch that mpstui supports."""
    devices = facts.torch.mps.metal_devices if facts.torch and facts.torch.mps else None
    if older := older_torch(facts.machine, devices):
        command = pip_install(facts.machine, older, "torchvision")
        return "Update macOS, or install an older torch, which supports this macOS.", (command,)
    return (
        "Update macOS. Until then runs go to the CPU: no torch that mpstui runs with, 2.9 and "
        "later, supports MPS on this macOS.",
        (),
    )


def _mps_available(facts: DoctorFacts) -> CheckVerdict:
    machine, torch, mps = facts.machine, facts.torch, facts.device("mps")
    if not machine.mac:
        return not_a_mac(machine)
    if torch is None:
        return no_torch(facts)
    if mps is None or not mps.built:
        return not_applicable("MPS is not built; see torch with MPS")
    if mps.available and machine.translated:
        return CheckVerdict(
            status=Status.WARN,
            summary=f"{mps.name or machine.name} (mps), under Rosetta",
            reason="An x86_64 torch's MPS is not made for Apple silicon; results can be "
            "incorrect, as "
            "argmax's are in the thread.",
            remedy="Use an arm64 Python; see arm64 Python.",
            commands=(),
            affects="every run on mps",
            links=(f"{THREAD}98191",),
        )
    if mps.available:
        return ok(f"{mps.name or machine.name} (mps)")
    return why_unavailable(facts)


CHECKS = (
    Check("apple-silicon", GROUP, "Apple silicon", ProbeStage.MACHINE, _apple_silicon),
    Check("arm64-python", GROUP, "arm64 Python", ProbeStage.MACHINE, _arm64_python),
    Check("torch-mps", GROUP, "torch with MPS", ProbeStage.TORCH, _torch_mps),
    Check("macos-version", GROUP, "macOS version", ProbeStage.MACHINE, _macos_version),
    Check("mps-available", GROUP, "MPS available", ProbeStage.TORCH, _mps_available),
)

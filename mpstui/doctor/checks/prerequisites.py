"""The article's three prerequisites, and what came to be a fourth and fifth: macOS and Metal."""

from __future__ import annotations

import re

from mpstui.domain.facts import Facts, Need
from mpstui.domain.findings import Status
from mpstui.domain.machine import Machine
from mpstui.domain.units import gibibytes

from .base import THREAD, Check, Verdict, no_torch, not_a_mac, not_applicable, ok

GROUP = "Prerequisites"

MACOS_NEEDED = (((1, 12), (12, 3)), ((2, 5), (13, 0)), ((2, 9), (14, 0)))
"""From which torch on which macOS is needed for MPS, as release notes and wheels have it."""

METAL_FAMILIES = {"M1": "Apple7", "M2": "Apple8", "M3": "Apple9", "M4": "Apple9", "M5": "Apple10"}
"""GPU family by chip (Apple's Metal feature set tables)."""

_ARM64_PYTHON = (
    "uv venv --python cpython-3.12-macos-aarch64-none",
    "source .venv/bin/activate",
    "uv pip install torch torchvision",
)


def macos_needed(machine: Machine, torch: str) -> tuple[int, int] | None:
    """The macOS that a torch needs: by its wheel's tag and by its version, whichever is later."""
    wanted = []
    if tag := re.match(r"macosx_(\d+)_(\d+)_", machine.torch_tag or ""):
        wanted.append((int(tag[1]), int(tag[2])))
    if version := re.match(r"(\d+)\.(\d+)", torch):
        mine = (int(version[1]), int(version[2]))
        wanted += [macos for since, macos in MACOS_NEEDED if mine >= since]
    return max(wanted, default=None)


def _apple_silicon(facts: Facts) -> Verdict:
    machine = facts.machine
    if not machine.mac:
        return not_a_mac(machine)
    if not machine.apple_silicon:
        return Verdict(
            Status.WARN,
            f"{machine.name}: an Intel Mac",
            "PyTorch has published no macOS wheels for Intel since 2.3; runs go to the CPU.",
        )
    chip = re.search(r"\bM\d+\b", machine.name)
    family = METAL_FAMILIES.get(chip[0]) if chip else None
    performance = machine.cores_performance
    cores = f"{machine.cores_physical} cores" if machine.cores_physical else "cores unknown"
    parts = [cores + (f", {performance} for performance" if performance else "")]
    if facts.torch and facts.torch.mps and facts.torch.mps.gpu_cores:
        parts.append(f"{facts.torch.mps.gpu_cores} GPU cores")
    if family:
        parts.append(f"Metal family {family}")
    return ok(f"{machine.name}, {gibibytes(machine.memory_bytes)}", "; ".join(parts) + ".")


def _arm64_python(facts: Facts) -> Verdict:
    machine = facts.machine
    if not machine.mac:
        return not_a_mac(machine)
    if not machine.apple_silicon:
        return not_applicable(f"{machine.platform}: an Intel Mac")
    if not machine.translated and machine.python_arch == "arm64":
        return ok(f"Python {machine.python}, {machine.python_arch}")
    return Verdict(
        Status.FAIL,
        f"Python {machine.python} is {machine.python_arch} and runs under Rosetta",
        f"The machine is arm64 ({machine.name}); sysctl.proc_translated says that this process is "
        "translated. MPS needs an arm64 Python, and version checks lie under Rosetta.",
        "Make an environment with an arm64 Python: with uv, as below, or with Miniforge for "
        "arm64 from https://github.com/conda-forge/miniforge.",
        _ARM64_PYTHON,
        "every run on mps",
        (f"{THREAD}146236",),
    )


def _torch_mps(facts: Facts) -> Verdict:
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
    return Verdict(
        Status.FAIL,
        f"torch {torch.version} was built without MPS",
        f"This Python is {machine.python_arch}; PyTorch's macOS arm64 wheels have MPS.",
        "Install PyTorch's own wheel."
        if arm64
        else "Install torch in an arm64 Python; see arm64 Python.",
        ("python -m pip install --force-reinstall torch torchvision",) if arm64 else (),
        "every run on mps",
    )


def _macos_version(facts: Facts) -> Verdict:
    machine = facts.machine
    version = facts.torch.version if facts.torch else machine.torch
    if not machine.mac:
        return not_a_mac(machine)
    if not machine.apple_silicon:
        return not_applicable(f"{machine.platform}: an Intel Mac")
    needed = macos_needed(machine, version or "")
    if version is None or needed is None or machine.macos is None:
        return ok(machine.system, "What the installed torch needs is not known.")
    words = f"torch {version} needs macOS {needed[0]}.{needed[1]}"
    if machine.macos >= needed:
        return ok(f"{machine.system}; {words}")
    older = [since for since, macos in MACOS_NEEDED if macos > machine.macos]
    commands: tuple[str, ...] = ()
    if older and machine.macos >= MACOS_NEEDED[0][1]:
        limit = ".".join(map(str, older[0]))
        commands = (f'python -m pip install "torch<{limit}" torchvision',)
    return Verdict(
        Status.FAIL,
        f"{machine.system} is too old: {words}",
        f"By the wheel's tag, {machine.torch_tag or 'unknown'}, and torch's release notes.",
        "Update macOS, or install an older torch." if commands else "Update macOS.",
        commands,
        "every run on mps",
    )


def _mps_available(facts: Facts) -> Verdict:
    machine, torch, mps = facts.machine, facts.torch, facts.device("mps")
    if not machine.mac:
        return not_a_mac(machine)
    if torch is None:
        return no_torch(facts)
    if mps is None or not mps.built:
        return not_applicable("MPS is not built; see torch with MPS")
    if mps.available:
        return ok(f"{mps.name or machine.name} (mps)")
    return _why_unavailable(facts)


def _why_unavailable(facts: Facts) -> Verdict:
    """The likeliest reason; torch itself always blames the version (pytorch#177819)."""
    machine, metal = facts.machine, facts.torch.mps if facts.torch else None
    needed = macos_needed(machine, facts.torch.version if facts.torch else "")
    session = facts.surroundings.session if facts.surroundings else None
    here = "Start mpstui in a terminal on the Mac itself, logged in at its screen."
    if machine.translated:
        found = ("Python runs under Rosetta", "Use an arm64 Python; see arm64 Python.")
    elif needed and machine.macos and machine.macos < needed:
        found = (f"{machine.system} is too old", "See macOS version.")
    elif metal is not None and metal.metal_device is not None:
        found = (
            f"Metal sees {metal.metal_device}, but torch does not take it",
            "Install PyTorch's own wheel for this macOS.",
        )
    elif session is not None and session.ssh:
        found = ("no Metal device is visible over ssh", here)
    elif session is not None and session.sandbox:
        found = ("no Metal device is visible in the sandbox", f"{here} Outside of the sandbox.")
    elif session is not None and session.virtual_machine:
        found = ("this virtual machine shows no Metal device", "Run on the Mac that hosts it.")
    else:
        found = (
            "no Metal device is visible to this process",
            f"{here} A daemon or a job without a graphical session sees none.",
        )
    needs = f"{machine.system} is new enough; torch's own message blames it" if needed else ""
    too_old = needed is not None and machine.macos is not None and machine.macos < needed
    visible = "could not be asked" if metal is None or metal.metal_reason else "answered"
    return Verdict(
        Status.FAIL,
        f"MPS is built, but not available: {found[0]}",
        f"Metal {visible}: {(metal.metal_device if metal else None) or 'no device'}. "
        + ("" if too_old or not needs else f"{needs}, wrongly."),
        found[1],
        ("python -m pip install --force-reinstall torch torchvision",)
        if "does not take it" in found[0]
        else (),
        "every run on mps",
        (f"{THREAD}177819",),
    )


CHECKS = (
    Check("apple-silicon", GROUP, "Apple silicon", Need.MACHINE, _apple_silicon),
    Check("arm64-python", GROUP, "arm64 Python", Need.MACHINE, _arm64_python),
    Check("torch-mps", GROUP, "torch with MPS", Need.TORCH, _torch_mps),
    Check("macos-version", GROUP, "macOS version", Need.MACHINE, _macos_version),
    Check("mps-available", GROUP, "MPS available", Need.TORCH, _mps_available),
)

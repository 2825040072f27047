"""Checks: facts to findings. Pure, so that a recorded machine is judged like this one."""

from __future__ import annotations

import re
from collections.abc import Mapping

from mpstui.doctor.probes import TORCH_MISSING
from mpstui.domain.findings import Finding, Status
from mpstui.domain.machine import DeviceFact, Facts, Machine

FALLBACK = "PYTORCH_ENABLE_MPS_FALLBACK"

_PROBING = "…probing"
_INSTALL = "python -m pip install torch torchvision"
_ARM64_PYTHON = (
    "uv venv --python cpython-3.12-macos-aarch64-none",
    "source .venv/bin/activate",
    "uv pip install torch torchvision",
)


def findings(facts: Facts, env: Mapping[str, str] | None = None) -> list[Finding]:
    """Judge what is known so far; what is still being probed is ``unknown``.

    Args:
        facts: From :func:`mpstui.doctor.probes.gather`, complete or not.
        env: Environment variables that runs would inherit; none when left out.

    Returns:
        The findings in the order in which they are shown.
    """
    return [
        _apple_silicon(facts.machine),
        _arm64_python(facts.machine),
        _torch_mps(facts),
        _torch_installed(facts),
        _torchvision_installed(facts),
        _accelerator(facts),
        _mps_fallback(facts.machine, env or {}),
    ]


def _apple_silicon(machine: Machine) -> Finding:
    status, summary, reason = Status.OK, machine.name, ""
    if not _mac(machine):
        status, summary = Status.NOT_APPLICABLE, _not_a_mac(machine)
    elif not machine.apple_silicon:
        status, summary = Status.WARN, f"{machine.name}: an Intel Mac"
        reason = "PyTorch has published no macOS wheels for Intel since 2.3; runs go to the CPU."
    return Finding(
        id="apple-silicon",
        group="Prerequisites",
        status=status,
        title="Apple silicon",
        summary=summary,
        reason=reason,
    )


def _arm64_python(machine: Machine) -> Finding:
    title, group = "arm64 Python", "Prerequisites"
    if not machine.apple_silicon:
        why = f"{machine.platform}: an Intel Mac" if _mac(machine) else _not_a_mac(machine)
        return Finding(
            id="arm64-python",
            group=group,
            status=Status.NOT_APPLICABLE,
            title=title,
            summary=why,
        )
    if not machine.translated and machine.python_arch == "arm64":
        return Finding(
            id="arm64-python",
            group=group,
            status=Status.OK,
            title=title,
            summary=f"Python {machine.python}, {machine.python_arch}",
        )
    return Finding(
        id="arm64-python",
        group=group,
        status=Status.FAIL,
        title=title,
        summary=f"Python {machine.python} is {machine.python_arch} and runs under Rosetta",
        reason=f"The machine is arm64 ({machine.name}); this process is translated. "
        "MPS needs an arm64 Python.",
        remedy="Make an environment with an arm64 Python: with uv, as below, or with Miniforge for "
        "arm64 from https://github.com/conda-forge/miniforge.",
        commands=_ARM64_PYTHON,
    )


def _torch_mps(facts: Facts) -> Finding:
    machine = facts.machine
    mps = facts.device("mps")
    status, reason, remedy = Status.OK, "", ""
    commands: tuple[str, ...] = ()
    if not _mac(machine):
        status, summary = Status.NOT_APPLICABLE, _not_a_mac(machine)
    elif facts.torch is None:
        status, summary, reason = Status.UNKNOWN, _unasked(facts), facts.torch_error
    elif mps is not None and mps.available:
        summary = f"torch {facts.torch.version} on {mps.name or machine.name}"
    elif not machine.apple_silicon:
        status, summary = Status.NOT_APPLICABLE, f"{machine.platform}: an Intel Mac"
    elif mps is not None and mps.built:
        status, summary, reason = Status.FAIL, "MPS is built, but not available", mps.reason
        remedy = "Start mpstui in a terminal on the Mac itself, outside of any VM or sandbox."
    else:
        status, summary = Status.FAIL, f"torch {facts.torch.version} was built without MPS"
        reason = f"This Python is {machine.python_arch}; PyTorch's macOS arm64 wheels have MPS."
        if machine.python_arch == "arm64":
            remedy = "Install PyTorch's own wheel."
            commands = ("python -m pip install --force-reinstall torch torchvision",)
        else:
            remedy = "Install torch in an arm64 Python; see arm64 Python."
    return Finding(
        id="torch-mps",
        group="Prerequisites",
        status=status,
        title="torch with MPS",
        summary=summary,
        reason=reason,
        remedy=remedy,
        commands=commands,
    )


def _torch_installed(facts: Facts) -> Finding:
    status, reason, remedy = Status.OK, "", ""
    commands: tuple[str, ...] = ()
    if facts.torch is not None:
        origin = wheel_origin(facts.torch.version, facts.torch.cuda)
        summary = f"{facts.torch.version}, {origin}"
        reason = f"Imported in {facts.torch.import_seconds:.1f} s; {facts.torch.threads} threads."
    elif facts.torch_state == "probing":
        status = Status.UNKNOWN
        summary = f"{facts.machine.torch or 'no package metadata'} {_PROBING}"
    elif facts.torch_error == TORCH_MISSING:
        status, summary = Status.FAIL, "not installed"
        remedy, commands = "Install it.", (_INSTALL,)
    else:
        status, summary, reason = Status.FAIL, "cannot be imported", facts.torch_error
        remedy = "If its installation is damaged, install it afresh."
        commands = (f"{_INSTALL} --force-reinstall",)
    return Finding(
        id="torch-installed",
        group="Torch",
        status=status,
        title="torch",
        summary=summary,
        reason=reason,
        remedy=remedy,
        commands=commands,
    )


def wheel_origin(version: str, cuda: str | None) -> str:
    """What a torch was built for, by its version's local part and the CUDA version that it names.

    Args:
        version: Such as ``2.14.1+cu130``.
        cuda: ``torch.version.cuda``.
    """
    local = version.partition("+")[2]
    if local == "cpu":
        return "CPU-only wheel"
    if found := re.fullmatch(r"cu(\d+)(\d)", local):
        return f"wheel for CUDA {found[1]}.{found[2]}"
    if found := re.match(r"rocm([\d.]+)", local):
        return f"wheel for ROCm {found[1].rstrip('.')}"
    if local == "xpu":
        return "wheel for Intel GPUs (XPU)"
    return f"built for CUDA {cuda}" if cuda else "built without CUDA"


def _torchvision_installed(facts: Facts) -> Finding:
    vision = facts.machine.torchvision
    torch = facts.torch.version if facts.torch else facts.machine.torch
    status, summary, reason, remedy = Status.OK, vision or "", "", ""
    commands: tuple[str, ...] = ()
    pair = _pair(torch or "")
    if vision is None:
        status, summary = Status.WARN, "not installed"
        reason = "The reference pipeline, the article's script as it stands, needs it."
        remedy, commands = "Install it.", ("python -m pip install torchvision",)
    elif pair is not None and not vision.startswith(f"{pair}."):
        status, summary = Status.WARN, f"{vision}, but torch {torch} pairs with {pair}"
        reason = "torchvision's operators are compiled against one minor version of torch."
        remedy, commands = "Install the pair together.", (f"{_INSTALL} --upgrade",)
    return Finding(
        id="torchvision-installed",
        group="Torch",
        status=status,
        title="torchvision",
        summary=summary,
        reason=reason,
        remedy=remedy,
        commands=commands,
    )


def _pair(torch: str) -> str | None:
    """The torchvision that belongs to a torch: 0.(n+15) to 2.n; None where the rule is unknown."""
    found = re.match(r"2\.(\d+)\.", torch)
    return f"0.{int(found[1]) + 15}" if found else None


def _accelerator(facts: Facts) -> Finding:
    status, reason, remedy = Status.OK, "", ""
    default = facts.torch.default_accelerator if facts.torch else None
    fact = facts.device(default) if default else None
    if facts.torch is None:
        status, summary, reason = Status.UNKNOWN, _unasked(facts), facts.torch_error
    elif default is None or fact is None:
        status, summary = Status.WARN, "no accelerator: runs go to the CPU"
        reason, remedy = _why_none(facts)
    elif fact.usable is False:
        status, summary = Status.FAIL, f"{_label(fact)} cannot be used"
        reason = fact.reason
        remedy = "Until it can, runs go to the CPU."
    elif fact.usable is None:
        status, summary = Status.UNKNOWN, f"{_label(fact)} {_PROBING}"
    else:
        status, summary, reason = _usable(facts, fact)
    return Finding(
        id="accelerator",
        group="Torch",
        status=status,
        title="accelerator",
        summary=summary,
        reason=reason,
        remedy=remedy,
    )


def _usable(facts: Facts, fact: DeviceFact) -> tuple[Status, str, str]:
    """A working default accelerator; a warning when another of its kind does not work."""
    took = "" if fact.milliseconds is None else f" in {fact.milliseconds:.1f} ms"
    reason = f"A small forward and backward agreed with the CPU's{took}."
    devices = facts.torch.devices if facts.torch else ()
    broken = [each for each in devices if each.type == fact.type and each.usable is False]
    if not broken:
        return Status.OK, f"{_label(fact)} is usable", reason
    others = "; ".join(f"{each.device}: {each.reason}" for each in broken)
    names = ", ".join(each.device for each in broken)
    return Status.WARN, f"{_label(fact)} is usable, {names} not", others


def _why_none(facts: Facts) -> tuple[str, str]:
    """Why there is no accelerator, and what could be done about it."""
    devices = facts.torch.devices if facts.torch else ()
    idle = [fact for fact in devices if fact.built and fact.type in ("cuda", "mps", "xpu")]
    if not idle:
        return (
            "This torch was built for the CPU only.",
            "On a machine with a GPU, install the wheel for it: "
            "https://pytorch.org/get-started/locally/",
        )
    reason = "; ".join(f"{fact.device}: {fact.reason}" for fact in idle)
    remedy = ""
    if any("NVIDIA driver" in fact.reason for fact in idle):
        remedy = (
            "If there is an NVIDIA GPU, install its current driver: "
            "https://www.nvidia.com/Download/index.aspx"
        )
    elif "CUDA_VISIBLE_DEVICES" in reason:
        remedy = "If there is an NVIDIA GPU, unset CUDA_VISIBLE_DEVICES, which may hide it."
    return reason, remedy


def _mps_fallback(machine: Machine, env: Mapping[str, str]) -> Finding:
    value = env.get(FALLBACK, "")
    status, reason, remedy = Status.OK, "", ""
    commands: tuple[str, ...] = ()
    if not _mac(machine):
        status, summary = Status.NOT_APPLICABLE, _not_a_mac(machine)
    elif value in ("", "0"):
        summary = f"{FALLBACK} is not set"
    else:
        status, summary = Status.WARN, f"{FALLBACK}={value} hides CPU fallback"
        reason = "Ops that MPS lacks then run on the CPU without a word, and time and results mix."
        remedy, commands = "Unset it for measurements.", (f"unset {FALLBACK}",)
    return Finding(
        id="mps-fallback",
        group="Torch",
        status=status,
        title="MPS fallback",
        summary=summary,
        reason=reason,
        remedy=remedy,
        commands=commands,
    )


def _label(fact: DeviceFact) -> str:
    return f"{fact.name} ({fact.device})" if fact.name else fact.device


def _mac(machine: Machine) -> bool:
    return machine.system.startswith("macOS")


def _not_a_mac(machine: Machine) -> str:
    return f"{machine.platform}: not a Mac"


def _unasked(facts: Facts) -> str:
    return _PROBING if facts.torch_state == "probing" else "torch could not be asked"

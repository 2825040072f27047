"""The installed torch: its wheel, its torchvision, its accelerator and that one's driver."""

from __future__ import annotations

import re

from mpstui.doctor.probes import TORCH_MISSING
from mpstui.domain.facts import DeviceFact, Facts, Need
from mpstui.domain.findings import Status

from .base import PROBING, Check, Verdict, label, no_torch, not_applicable, ok, unknown

GROUP = "Torch"

_INSTALL = "python -m pip install torch torchvision"
_CUDA_WHEELS = "https://download.pytorch.org/whl/"


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
    if local.startswith("git"):
        return "built from source"
    return f"built for CUDA {cuda}" if cuda else "built without CUDA"


def release(version: str) -> str:
    """``stable``, ``nightly of 2026-11-20`` or ``release candidate``."""
    if found := re.search(r"\.dev(\d{4})(\d\d)(\d\d)", version):
        return f"nightly of {found[1]}-{found[2]}-{found[3]}"
    if re.search(r"\d+\.\d+\.\d+rc\d", version):
        return "release candidate"
    return "pre-release" if re.search(r"\.\d+a\d", version) else "stable"


def _installed(facts: Facts) -> Verdict:
    machine = facts.machine
    if facts.torch is not None:
        version = facts.torch.version
        origin = wheel_origin(version, facts.torch.cuda)
        by = f", by {machine.torch_installer}" if machine.torch_installer else ""
        tag = f"; tag {machine.torch_tag}" if machine.torch_tag else ""
        imported = f"Imported in {facts.torch.import_seconds:.1f} s{by}{tag}."
        return ok(f"{version}, {origin}, {release(version)}", imported)
    if facts.torch_state == "probing":
        return unknown(f"{machine.torch or 'no package metadata'} {PROBING}")
    if facts.torch_error == TORCH_MISSING:
        remedy = "Install it."
        return Verdict(Status.FAIL, "not installed", "", remedy, (_INSTALL,), "every run")
    return Verdict(
        Status.FAIL,
        "cannot be imported",
        facts.torch_error,
        "If its installation is damaged, install it afresh.",
        (f"{_INSTALL} --force-reinstall",),
        "every run",
    )


def _torchvision(facts: Facts) -> Verdict:
    vision = facts.machine.torchvision
    torch = facts.torch.version if facts.torch else facts.machine.torch
    if vision is None:
        return Verdict(
            Status.WARN,
            "not installed",
            "The reference pipeline, the article's script as it stands, needs it.",
            "Install it.",
            ("python -m pip install torchvision",),
        )
    if mismatch := _mismatch(torch or "", vision, facts.machine.torchvision_requires):
        return Verdict(
            Status.WARN,
            mismatch,
            "torchvision's operators are compiled against one version of torch.",
            "Install the pair together.",
            (f"{_INSTALL} --upgrade",),
            "the reference pipeline",
        )
    return ok(vision)


def _mismatch(torch: str, vision: str, requires: str | None) -> str:
    """Why the two do not go together; empty when they do, or when no rule is known.

    Torchvision's own metadata says which torch it was built for. Where there is none, as in a
    build from source, 0.(n+15) goes with 2.n, which held from 2.0 on.
    """
    mine = _numbers(torch)
    bounds = re.findall(r"(==|>=|<=|<|>)\s*(\d+(?:\.\d+)*)", requires or "")
    if mine and bounds:
        holds = {"==": mine.__eq__, ">=": mine.__ge__, "<=": mine.__le__}
        holds |= {"<": mine.__lt__, ">": mine.__gt__}
        if all(holds[sign](_numbers(bound)) for sign, bound in bounds):
            return ""
        return f"{vision} needs {requires}, but torch is {torch}"
    if found := re.match(r"2\.(\d+)\.", torch):
        pair = f"0.{int(found[1]) + 15}"
        if not vision.startswith(f"{pair}."):
            return f"{vision}, but torch {torch} pairs with {pair}"
    return ""


def _numbers(version: str) -> tuple[int, ...]:
    found = re.match(r"\d+(?:\.\d+)*", version)
    return tuple(map(int, found[0].split("."))) if found else ()


def _accelerator(facts: Facts) -> Verdict:
    if facts.torch is None:
        return no_torch(facts)
    default = facts.torch.default_accelerator
    fact = facts.device(default) if default else None
    if fact is None:
        reason, remedy = _why_none(facts)
        summary = "no accelerator: runs go to the CPU"
        return Verdict(Status.WARN, summary, reason, remedy, affects="how fast runs are")
    if fact.usable is False:
        remedy = "Until it can, runs go to the CPU."
        return Verdict(Status.FAIL, f"{label(fact)} cannot be used", fact.reason, remedy)
    if fact.usable is None:
        return unknown(f"{label(fact)} {PROBING}")
    return _usable(facts, fact)


def _usable(facts: Facts, fact: DeviceFact) -> Verdict:
    """A working default accelerator; a warning when another of its kind does not work."""
    took = "" if fact.milliseconds is None else f" in {fact.milliseconds:.1f} ms"
    devices = facts.torch.devices if facts.torch else ()
    broken = [each for each in devices if each.type == fact.type and each.usable is False]
    if not broken:
        agreed = f"A small forward and backward agreed with the CPU's{took}."
        return ok(f"{label(fact)} is usable", agreed)
    others = "; ".join(f"{each.device}: {each.reason}" for each in broken)
    names = ", ".join(each.device for each in broken)
    return Verdict(Status.WARN, f"{label(fact)} is usable, {names} not", others)


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
    variables = facts.surroundings.variables if facts.surroundings else {}
    if "CUDA_VISIBLE_DEVICES" in reason or "CUDA_VISIBLE_DEVICES" in variables:
        return reason, "If there is an NVIDIA GPU, unset CUDA_VISIBLE_DEVICES, which may hide it."
    if any(fact.type == "mps" for fact in idle):
        return reason, "See MPS available."
    driver = "https://www.nvidia.com/Download/index.aspx"
    return reason, f"If there is an NVIDIA GPU, install its current driver: {driver}"


def _cuda_driver(facts: Facts) -> Verdict:
    torch, around = facts.torch, facts.surroundings
    loaded = around.nvidia_driver if around else None
    if facts.machine.mac:
        return not_applicable(f"{facts.machine.platform}: no CUDA on a Mac")
    if torch is None:
        return no_torch(facts)
    if torch.cuda is None:
        return _without_cuda(facts, loaded)
    if torch.cuda_driver is None and loaded is None:
        return not_applicable("no NVIDIA driver is loaded")
    if torch.cuda_driver is None:
        return unknown(f"driver {loaded}", "The driver did not say which CUDA it supports.")
    name = f"driver {loaded}" if loaded else "the driver"
    if int(torch.cuda_driver.partition(".")[0]) >= int(torch.cuda.partition(".")[0]):
        return ok(f"{name} supports CUDA {torch.cuda_driver}, torch was built for {torch.cuda}")
    older = torch.cuda_driver.partition(".")[0]
    wheel = {"12": "cu126", "11": "cu118"}.get(older)
    index = f"{_INSTALL} --force-reinstall --index-url {_CUDA_WHEELS}{wheel}"
    return Verdict(
        Status.FAIL,
        f"{name} supports CUDA {torch.cuda_driver}, torch was built for {torch.cuda}",
        "A driver runs what was built for its own CUDA major version or an older one.",
        "Update the driver (https://www.nvidia.com/Download/index.aspx)"
        + (", or install a torch for the older CUDA." if wheel else "."),
        (index,) if wheel else (),
        "every run on cuda",
    )


def _without_cuda(facts: Facts, loaded: str | None) -> Verdict:
    if loaded is None:
        return not_applicable("this torch was built without CUDA, and no NVIDIA driver is loaded")
    torch = facts.torch.version if facts.torch else ""
    command = f"{_INSTALL} --force-reinstall"
    if facts.machine.platform.startswith("Windows") or torch.endswith("+cpu"):
        command += f" --index-url {_CUDA_WHEELS}cu130"
    return Verdict(
        Status.FAIL,
        f"NVIDIA driver {loaded} is loaded, but torch {torch} was built without CUDA",
        "A CPU-only wheel was installed on a machine with an NVIDIA GPU.",
        "Install a wheel for CUDA.",
        (command,),
        "every run on cuda",
    )


CHECKS = (
    Check("torch-installed", GROUP, "torch", Need.MACHINE, _installed),
    Check("torchvision-installed", GROUP, "torchvision", Need.MACHINE, _torchvision),
    Check("accelerator", GROUP, "accelerator", Need.TORCH, _accelerator),
    Check("cuda-driver", GROUP, "CUDA driver", Need.TORCH, _cuda_driver),
)

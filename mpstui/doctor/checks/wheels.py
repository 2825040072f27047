"""Facts from a wheel's version and metadata."""

from __future__ import annotations

import re

from .upstream import PAIRS


def wheel_origin(version: str, cuda: str | None) -> str:
    """Return torch's build, by its version's local part and ``torch.version.cuda``.

    Args:
        version: Such as ``2.14.1+cu130``.
        cuda: ``torch.version.cuda``.
    """
    local = version.partition("+")[2]
    if local == "cpu":
        return "CPU-only wheel"
    if match := re.fullmatch(r"cu(\d+)(\d)", local):
        return f"wheel for CUDA {match[1]}.{match[2]}"
    if match := re.match(r"rocm([\d.]+)", local):
        return f"wheel for ROCm {match[1].rstrip('.')}"
    if local == "xpu":
        return "wheel for Intel GPUs (XPU)"
    if local.startswith("git"):
        return "built from source"
    return f"built for CUDA {cuda}" if cuda else "built without CUDA"


def release(version: str) -> str:
    """Return ``stable``, ``nightly of 2026-11-20`` or ``release candidate``."""
    if match := re.search(r"\.dev(\d{4})(\d\d)(\d\d)", version):
        return f"nightly of {match[1]}-{match[2]}-{match[3]}"
    if re.search(r"\d+\.\d+\.\d+rc\d", version):
        return "release candidate"
    return "pre-release" if re.search(r"\.\d+a\d", version) else "stable"


def mismatch(torch: str, vision: str, requires: str | None) -> str:
    """Return why torch and torchvision do not match; empty when they do, or when unknown.

    Torchvision's own metadata says which torch it goes with: one version up to 0.28, and
    ``torch>=2.14.0`` from 0.29 on. Where there is none, as in a build from source, the wheels of
    the same torchvision are needs; of one that is not in :data:`PAIRS` nothing is known.
    """
    from packaging.requirements import InvalidRequirement, Requirement
    from packaging.version import InvalidVersion, Version

    minor_version = re.match(r"0\.\d+(?=\.)", vision)
    pair = PAIRS.get(minor_version[0]) if minor_version else None
    requirement = requires or (f"torch{pair}" if pair else "torch")
    try:
        fits = Requirement(requirement).specifier.contains(Version(torch), prereleases=True)
    except (InvalidRequirement, InvalidVersion):
        return ""
    return "" if fits else f"{vision} needs {requirement}, but torch is {torch}"

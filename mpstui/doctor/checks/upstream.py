"""Requirements of other projects' releases: rows with sources, tables with known ends.

Nothing here was measured on the user's machine. Beyond the last version that a table knows, and
below its first, the answer is None: not known.
"""

from __future__ import annotations

import re
from typing import NamedTuple

from mpstui.domain.facts import MetalDevice
from mpstui.domain.machine import Machine

TORCH_FROM = (2, 9)
"""The oldest torch that mpstui's metadata allows; no remedy may suggest an older one."""

TORCH_KNOWN = (2, 15)
"""The newest torch whose wheels were read for the tables below: 2.15.0."""


class MacosRow(NamedTuple):
    """The macOS that a torch needs for MPS."""

    since: tuple[int, int]
    """The first torch that the row applies to."""
    macos: tuple[int, int]
    refuses: bool
    """True if torch checks for that macOS before it uses a device. Otherwise torch only reports in
    an error that an older one is not supported."""
    source: str


MACOS = (
    MacosRow(
        (1, 12),
        (12, 3),
        True,
        "libtorch_cpu.dylib of torch 1.12.1 to 2.5.1: "
        '"The MPS backend is supported on MacOS 12.3+."',
    ),
    MacosRow(
        (2, 6),
        (13, 0),
        True,
        "libtorch_cpu.dylib of torch 2.6.0 and 2.8.0: "
        '"The MPS backend is supported on MacOS 13.0+."',
    ),
    MacosRow(
        (2, 9),
        (14, 0),
        True,
        "libtorch_cpu.dylib of torch 2.9.0 to 2.14.1: "
        '"The MPS backend is supported on macOS 14.0+."; MPSDevice::MPSDevice() asks MPSGraph for '
        "a method that came with macOS 14",
    ),
    MacosRow(
        (2, 15),
        (15, 0),
        False,
        'libtorch_cpu.dylib of torch 2.15.0: "The MPS backend is supported on macOS 15.0+.", '
        "printed by mps_unavailable_error() on an older macOS; MPSDevice::MPSDevice() asks for a "
        "family only",
    ),
)


class DeviceRule(NamedTuple):
    """The rule for the Metal device that a torch uses: the first one that passes."""

    since: tuple[int, int]
    family: int
    """An MTLGPUFamily, as MTLDevice.h numbers them."""
    family_name: str
    low_power: bool
    """True if torch uses a device that reports itself as low-power."""
    source: str


DEVICE_RULES = (
    DeviceRule(
        (2, 9),
        2002,
        "Mac2",
        False,
        "MPSDevice::MPSDevice() of torch 2.9.0, 2.13.0 and 2.14.1, disassembled: isLowPower, "
        "supportsFamily:2002",
    ),
    DeviceRule(
        (2, 15),
        1007,
        "Apple7",
        True,
        "MPSDevice::MPSDevice() of torch 2.15.0, disassembled: supportsFamily:1007",
    ),
)

CHIP_FAMILIES = {"M1": "Apple7", "M2": "Apple8", "M3": "Apple9", "M4": "Apple9", "M5": "Apple10"}
"""GPU family by chip, for when Metal was not queried. Source: AppleGPUFamily in
``ATen/mps/MPSDevice.h`` of torch 2.14.1 and 2.15.0; other chips are not known."""

PAIRS = {
    "0.24": "==2.9.*",
    "0.25": "==2.10.*",
    "0.26": "==2.11.*",
    "0.27": "==2.12.*",
    "0.28": "==2.13.*",
    "0.29": ">=2.14",
}
"""The torch that matches a torchvision, for when its metadata has no requirement. Source: METADATA
of the macOS wheels of torchvision 0.24.1 to 0.29.2."""

WHEELS = frozenset({"macOS arm64", "Linux x86_64", "Linux arm64", "Windows x86_64"})
"""Platforms with wheels of torch 2.9 to 2.15 in the package index, by their file names."""

CUDA_INDEXES = {13: "cu130", 12: "cu126"}
"""PyTorch's index of wheels for a CUDA major version. Both have torch 2.9 to 2.13 (data.pyg.org
lists them; later ones were not checked). CUDA 11's, cu118, ends with torch 2.7, which is older
than :data:`TORCH_FROM`."""

WHEEL_INDEX = "https://download.pytorch.org/whl/"

ROCM_INDEX = "rocm7.2"
"""PyTorch's index of wheels for AMD GPUs, Linux x86_64 only. Source: public set-ups that name it;
https://pytorch.org/get-started/locally/ says which is the newest."""

XPU_INDEX = "xpu"
"""PyTorch's index of wheels for Intel GPUs, Linux and Windows."""

OLDEST_KERNELS = {12: 50, 13: 75}
"""The oldest architecture (``sm_``) that the wheels of :data:`CUDA_INDEXES` have kernels for.
Source: pytorch#172352, the support matrix of torch 2.9 to 2.11; #190385 proposes that torch 2.15
has no wheels for CUDA 12 any more, and older ones stay on the index."""


def torch_release(version: str | None) -> tuple[int, int] | None:
    """Return the first two numbers of a torch's version."""
    numbers = re.match(r"(\d+)\.(\d+)", version or "")
    return (int(numbers[1]), int(numbers[2])) if numbers else None


def _known_release(version: str | None) -> tuple[int, int] | None:
    release = torch_release(version)
    return release if release is not None and release <= TORCH_KNOWN else None


def macos_row(version: str | None) -> MacosRow | None:
    """Return the macOS that a torch needs for MPS; None when it is not known."""
    release = _known_release(version)
    rows = [row for row in MACOS if release is not None and release >= row.since]
    return rows[-1] if rows else None


def tag_macos(machine: Machine) -> tuple[int, int] | None:
    """Return the macOS that the installed wheel's tag requires."""
    tag = re.match(r"macosx_(\d+)_(\d+)_", machine.torch_tag or "")
    return (int(tag[1]), int(tag[2])) if tag else None


def device_rule(version: str | None) -> DeviceRule | None:
    """Return which Metal devices a torch uses; None when it is not known."""
    release = _known_release(version)
    rules = [rule for rule in DEVICE_RULES if release is not None and release >= rule.since]
    return rules[-1] if rules else None


def skips(rule: DeviceRule, device: MetalDevice) -> str:
    """Return why a torch skips a Metal device; empty when it would use it."""
    if device.low_power and not rule.low_power:
        return "is a low-power device"
    if rule.family not in device.families:
        return f"is not of family {rule.family_name}"
    return ""


def older_torch(machine: Machine, devices: tuple[MetalDevice, ...] | None) -> str:
    """Return a requirement for a torch that mpstui's metadata allows and that supports MPS here.

    Args:
        machine: The machine.
        devices: Metal's devices; None when Metal was not asked, and then the macOS decides.

    Returns:
        Such as ``torch>=2.9,<2.15``; empty when none is known.
    """
    if machine.macos is None:
        return ""
    installed = torch_release(machine.torch) or TORCH_KNOWN
    for index, row in reversed(list(enumerate(MACOS))):
        rule = device_rule(f"{row.since[0]}.{row.since[1]}")
        after = MACOS[index + 1].since if index + 1 < len(MACOS) else None
        if after is None or after > installed or row.since < TORCH_FROM or rule is None:
            continue
        usable = devices is None or any(not skips(rule, device) for device in devices)
        if machine.macos >= row.macos and usable:
            first, limit = (".".join(map(str, release)) for release in (row.since, after))
            return f"torch>={first},<{limit}"
    return ""


def no_wheel(machine: Machine) -> str:
    """Return why the package index has no torch for a machine; empty when it has, or may have."""
    kind = f"{machine.platform.partition(' ')[0]} {machine.python_arch}"
    if kind in WHEELS:
        return ""
    newest = ".".join(map(str, TORCH_KNOWN))
    first = ".".join(map(str, TORCH_FROM))
    names = {"macOS x86_64": "an x86_64 Python on macOS", "Windows arm64": "Windows on ARM"}
    return f"The package index has no torch from {first} to {newest} for {names.get(kind, kind)}."

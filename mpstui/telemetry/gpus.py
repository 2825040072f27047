"""Reads the vendors of the system's GPUs, without a driver and without torch."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import Literal, Protocol

from mpstui.domain.conditions import Gpus

VENDORS = {"10de": "NVIDIA", "1002": "AMD", "8086": "Intel"}
"""PCI vendor ids. Source: the PCI ID Repository, pci.ids."""

PCI = "/sys/bus/pci/devices"
DISPLAY = "0x03"
"""Prefix of a display controller's PCI class (PCI Code and ID Assignment, class 03h)."""

KFD = "/dev/kfd"
"""The device file that ROCm uses to compute."""

WSL_CUDA = "/usr/lib/wsl/lib/libcuda.so.1"
"""Installed by Windows' NVIDIA driver in WSL 2, where the PCI bus shows no vendor."""

WINDOWS_DISPLAYS = r"SYSTEM\CurrentControlSet\Control\Class\{4d36e968-e325-11ce-bfc1-08002be10318}"
"""Device setup class Display (Microsoft, System-Defined Device Setup Classes)."""


class GpuListSource(Protocol):
    """The required part of :class:`mpstui.telemetry.conditions.ConditionsSource`."""

    system: str

    def text(self, path: str) -> str | None:
        """Read a system file's text."""

    def exists(self, path: str) -> bool:
        """Return whether a file exists, readable or not."""

    def names(self, folder: str) -> Sequence[str] | None:
        """List a folder; None if it cannot be read."""

    def may_use(self, path: str) -> bool:
        """Return whether this process may read and write a file."""

    def registry(self, key: str, value: str) -> str | None:
        """Read a text under HKEY_LOCAL_MACHINE."""


def read_gpus(view: GpuListSource) -> Gpus:
    """Read the GPUs' vendors and the state of the device files needed to compute.

    Args:
        view: The machine to read.
    """
    if view.system == "Windows":
        return _windows(view)
    if view.system != "Linux":
        return Gpus(reason="on a Mac, Metal lists the GPUs")
    vendors = _linux(view)
    return Gpus(
        vendors=vendors,
        reason="" if vendors is not None else "the system shows no PCI devices",
        kfd=_kfd(view),
        nvidia_files=view.exists("/dev/nvidiactl"),
    )


def _kfd(view: GpuListSource) -> Literal["usable", "denied", "absent"]:
    if not view.exists(KFD):
        return "absent"
    return "usable" if view.may_use(KFD) else "denied"


def _linux(view: GpuListSource) -> tuple[str, ...] | None:
    if view.exists("/dev/dxg"):  # WSL 2, where a GPU has Microsoft's id
        return ("NVIDIA",) if view.exists(WSL_CUDA) else None
    if "nvidia,tegra" in (view.text("/proc/device-tree/compatible") or ""):
        return ("NVIDIA",)  # a Jetson's GPU is not on a PCI bus
    devices = view.names(PCI)
    if devices is None:
        return None
    displays = (
        view.text(f"{PCI}/{device}/vendor") or ""
        for device in devices
        if (view.text(f"{PCI}/{device}/class") or "").startswith(DISPLAY)
    )
    return _vendors(displays)


def _windows(view: GpuListSource) -> Gpus:
    vendor_ids = []
    for number in range(16):
        key = rf"{WINDOWS_DISPLAYS}\{number:04}"
        device = view.registry(key, "MatchingDeviceId")
        if device is None:
            break
        vendor_ids += re.findall(r"(?i)ven_([0-9a-f]{4})", device)
    if not vendor_ids:
        return Gpus(reason="the registry names no display device")
    return Gpus(vendors=_vendors(vendor_ids))


def _vendors(ids: Iterable[str]) -> tuple[str, ...]:
    names = [VENDORS.get(vendor_id.strip().lower().removeprefix("0x")) for vendor_id in ids]
    return tuple(sorted({vendor for vendor in names if vendor}))

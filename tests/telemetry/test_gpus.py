"""The GPUs that constructed systems show."""

from __future__ import annotations

import pytest

from mpstui.domain.conditions import Gpus
from mpstui.telemetry.conditions import read_conditions
from mpstui.telemetry.gpus import PCI, WINDOWS_DISPLAYS, WSL_CUDA

from tests.telemetry.test_conditions import Constructed  # isort: skip

DOCKER_DESKTOP = "Linux version 6.6.93-linuxkit (root@buildkitsandbox) (gcc 13.2.1) #1 SMP"
WSL = "Linux version 6.6.87.2-microsoft-standard-WSL2 (root@439a258ad544) (gcc 11.2.0) #1 SMP"


def pci(*devices: tuple[str, str]) -> dict[str, str]:
    """Files of the PCI bus: class and vendor of each device."""
    files = {}
    for number, (kind, vendor) in enumerate(devices):
        files[f"{PCI}/0000:0{number}:00.0/class"] = f"{kind}\n"
        files[f"{PCI}/0000:0{number}:00.0/vendor"] = f"{vendor}\n"
    return files


def gpus(
    system: str, files: dict[str, str] | None = None, unreadable: tuple[str, ...] = ()
) -> Gpus:
    return read_conditions(Constructed(system, files=files, unreadable=unreadable)).gpus


@pytest.mark.parametrize(
    ("devices", "vendors"),
    [
        ([("0x030000", "0x10de")], ("NVIDIA",)),
        ([("0x030200", "0x10de")], ("NVIDIA",)),  # a 3D controller, such as an H100
        ([("0x038000", "0x1002"), ("0x030000", "0x8086")], ("AMD", "Intel")),
        ([("0x030000", "0x1234")], ()),  # a virtual machine's
        ([("0x020000", "0x8086"), ("0x060000", "0x1002")], ()),  # a network card and a bridge
    ],
)
def test_vendors_are_those_of_display_controllers(
    devices: list[tuple[str, str]], vendors: tuple[str, ...]
) -> None:
    assert gpus("Linux", pci(*devices)).vendors == vendors


def test_what_is_not_shown_is_not_known() -> None:
    assert gpus("Linux").vendors is None
    assert gpus("Linux").reason == "the system shows no PCI devices"
    assert gpus("Darwin") == Gpus(reason="on a Mac, Metal lists the GPUs")
    assert gpus("Windows").reason == "the registry names no display device"


def test_wsl_shows_nvidia_by_its_library_alone() -> None:
    microsoft = pci(("0x030200", "0x1414"))
    assert gpus("Linux", microsoft, ("/dev/dxg",)).vendors is None
    assert gpus("Linux", microsoft, ("/dev/dxg", WSL_CUDA)).vendors == ("NVIDIA",)


def test_a_jetson_has_its_gpu_on_no_bus() -> None:
    compatible = "nvidia,p3737-0000+p3701-0005\0nvidia,tegra234\0"
    assert gpus("Linux", {"/proc/device-tree/compatible": compatible}).vendors == ("NVIDIA",)


def test_windows_names_them_in_the_registry() -> None:
    key = rf"{WINDOWS_DISPLAYS}\0000\MatchingDeviceId"
    assert gpus("Windows", {key: r"PCI\VEN_10DE&DEV_2684&SUBSYS_167C10DE"}).vendors == ("NVIDIA",)


def test_device_files_are_absent_denied_or_usable() -> None:
    assert gpus("Linux").kfd == "absent"
    assert gpus("Linux", unreadable=("/dev/kfd",)).kfd == "denied"
    assert gpus("Linux", {"/dev/kfd": ""}).kfd == "usable"
    assert gpus("Linux", {"/dev/nvidiactl": ""}).nvidia_files


@pytest.mark.parametrize(
    ("version", "wsl", "mac"),
    [(WSL, True, False), (DOCKER_DESKTOP, False, True), ("", False, False)],
)
def test_the_kernel_tells_wsl_and_a_macs_containers(version: str, wsl: bool, mac: bool) -> None:
    files = {"/proc/version": version, "/.dockerenv": ""}
    session = read_conditions(Constructed("Linux", files=files)).session
    assert (session.wsl, session.mac_container) == (wsl, mac)

"""Machines that differ in what torch, macOS, Metal and CUDA need; constructed, none was read.

Each quotes where its oddity comes from. See :mod:`tests.builders.machines`.
"""

from __future__ import annotations

import sys
from pathlib import Path

from msgspec.structs import replace
from packaging.requirements import Requirement

from mpstui.domain.conditions import HostSession
from mpstui.domain.facts import MetalDevice, MpsFacts
from mpstui.domain.machine import CoreKind
from tests.builders.machines import (
    HEALTHY,
    HIDDEN,
    LINUX,
    M1_GPU,
    M4,
    METAL,
    MPS,
    NO_DRIVER,
    WINDOWS,
    Answers,
    absent,
    around,
    torch,
)

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib


def _own_requirements() -> dict[str, str]:
    pyproject = Path(__file__).parents[2] / "pyproject.toml"
    project = tomllib.loads(pyproject.read_text(encoding="utf-8"))["project"]
    extras = project["optional-dependencies"].values()
    listed = [*project["dependencies"], *(each for extra in extras for each in extra)]
    return {Requirement(each).name: each for each in reversed(listed)}


OWN = _own_requirements()
"""What our metadata requires, extras included, by the package's name."""


PARAVIRTUAL = MetalDevice(
    name="Apple Paravirtual device", families=(*range(1001, 1006), 2001, 2002, 3001, 3002, 3003)
)
"""A virtual Mac's. Its name is what macOS says; that it is older than an M1's GPU is what torch's
MPSDevice.mm (has_mpp) and pytorch#196582 say. The exact numbers are constructed."""


def metal(*devices: MetalDevice) -> MpsFacts:
    """Metal's answer, and nothing of MPS."""
    first = devices[0].name if devices else None
    return MpsFacts(metal_device=first, metal_devices=devices)


_ON_13 = replace(
    M4,
    name="Apple M1",
    system="macOS 13.6",
    torch_tag="macosx_11_0_arm64",
    torchvision_requires="torch==2.11.0",
)
_ON_15 = replace(
    M4,
    system="macOS 15.7",
    torch="2.15.0",
    torchvision="0.29.2",
    torchvision_requires="torch>=2.14.0",
)
_NOT_TAKEN = absent("mps", "torch takes none of the Metal devices that are visible", built=True)


UPSTREAM: dict[str, tuple[Answers, dict[str, str]]] = {
    "macOS 13, whose newest torch is 2.11": (
        Answers(
            replace(_ON_13, torch="2.11.0", torchvision="0.26.0"),
            torch(HIDDEN, version="2.11.0", mps=metal(M1_GPU)),
        ),
        {"macos-version": "fail", "mps-available": "fail", "accelerator": "warn"},
    ),
    "macOS 14 with torch 2.15, which says 15": (
        Answers(
            replace(_ON_15, name="Apple M1", system="macOS 14.7"),
            torch(_NOT_TAKEN, version="2.15.0", mps=metal(M1_GPU)),
        ),
        {"macos-version": "warn", "mps-available": "fail", "torchvision-installed": "ok"},
    ),
    "macOS 14 with torch 2.15, families not asked": (
        Answers(
            replace(_ON_15, name="Apple M1", system="macOS 14.7"),
            torch(_NOT_TAKEN, version="2.15.0", mps=MpsFacts(metal_device="Apple M1")),
        ),
        {"macos-version": "warn", "mps-available": "fail"},
    ),
    "macOS 14 with torch 2.15, and MPS works": (
        Answers(
            replace(_ON_15, name="Apple M1", system="macOS 14.7"),
            torch(MPS, version="2.15.0", default="mps", mps=METAL),
        ),
        {"macos-version": "warn", "mps-available": "ok", "device:mps": "ok"},
    ),
    "a virtual Mac with torch 2.15": (
        Answers(
            replace(_ON_15, name="Apple M1 (Virtual)"),
            torch(_NOT_TAKEN, version="2.15.0", mps=metal(PARAVIRTUAL)),
            around(session=HostSession(virtual_machine=True)),
        ),
        {"macos-version": "ok", "mps-available": "fail", "accelerator": "warn"},
    ),
    "a virtual Mac whose families were not asked": (
        Answers(
            replace(_ON_15, name="Apple M1 (Virtual)"),
            torch(
                _NOT_TAKEN,
                version="2.15.0",
                mps=MpsFacts(metal_device="Apple Paravirtual device"),
            ),
            around(session=HostSession(virtual_machine=True)),
        ),
        {"mps-available": "fail"},
    ),
    "M4 with a torch newer than what is known": (
        Answers(
            replace(_ON_15, torch="2.17.0", torch_tag="macosx_15_0_arm64"),
            torch(_NOT_TAKEN, version="2.17.0", mps=metal(M1_GPU)),
        ),
        {"macos-version": "ok", "mps-available": "fail"},
    ),
    "M4 whose device torch should take": (
        Answers(_ON_15, torch(_NOT_TAKEN, version="2.15.0", mps=metal(M1_GPU))),
        {"macos-version": "ok", "mps-available": "fail"},
    ),
    "a Mac whose Metal could not be asked": (
        Answers(
            _ON_15,
            torch(
                absent("mps", "torch finds no MPS device", built=True),
                version="2.15.0",
                mps=MpsFacts(metal_device=None, metal_reason="dlopen failed"),
            ),
            around(session=HostSession(ssh=True)),
        ),
        {"mps-available": "fail"},
    ),
    "M5 Max": (
        Answers(
            replace(
                M4,
                name="Apple M5 Max",
                cores_physical=18,
                cores_logical=18,
                core_kinds=(
                    CoreKind(name="Super", count=6),
                    CoreKind(name="Performance", count=12),
                ),
            ),
            replace(HEALTHY, mps=replace(METAL, metal_devices=None)),
        ),
        {"apple-silicon": "ok"},
    ),
    "Intel Mac without torch": (
        Answers(
            replace(
                M4,
                name="Intel(R) Core(TM) i7",
                arch="x86_64",
                python_arch="x86_64",
                translated=None,
                core_kinds=(),
                torch=None,
                torchvision=None,
            ),
            "torch is not installed",
        ),
        {"apple-silicon": "warn", "torch-installed": "fail"},
    ),
    "Windows on ARM": (
        Answers(
            replace(WINDOWS, name="Snapdragon X", arch="arm64", python_arch="arm64", torch=None),
            "torch is not installed",
        ),
        {"torch-installed": "fail"},
    ),
    "Windows with variables that change results": (
        Answers(
            WINDOWS,
            torch(NO_DRIVER, version="2.14.1+cu130", cuda="13.0", threads=1),
            around(
                variables={
                    "OMP_NUM_THREADS": "1",
                    "NVIDIA_TF32_OVERRIDE": "0",
                    "CUDA_VISIBLE_DEVICES": "",
                }
            ),
        ),
        {"threads": "warn", "variables": "warn", "accelerator": "warn"},
    ),
    "a CPU-only wheel beside a driver for CUDA 12": (
        Answers(
            replace(LINUX, torch="2.14.1+cpu"),
            torch(absent("cuda"), version="2.14.1+cpu", cuda_driver="12.4"),
            around(nvidia_driver="550.54.14"),
        ),
        {"cuda-driver": "fail"},
    ),
    "a driver for CUDA 11": (
        Answers(
            LINUX,
            torch(
                absent("cuda", "The NVIDIA driver on your system is too old", built=True),
                version="2.14.1+cu130",
                cuda="13.0",
                cuda_driver="11.4",
            ),
            around(nvidia_driver="470.256.02"),
        ),
        {"cuda-driver": "fail"},
    ),
    "an empty fallback variable, which is on": (
        Answers(M4, HEALTHY, around(variables={"PYTORCH_ENABLE_MPS_FALLBACK": ""})),
        {"mps-fallback": "warn"},
    ),
    "a fallback variable that is off": (
        Answers(M4, HEALTHY, around(variables={"PYTORCH_ENABLE_MPS_FALLBACK": "0"})),
        {"mps-fallback": "ok"},
    ),
    "an empty high watermark, which is no limit": (
        Answers(M4, HEALTHY, around(variables={"PYTORCH_MPS_HIGH_WATERMARK_RATIO": ""})),
        {"mps-watermark": "warn"},
    ),
}
"""How they answer, and the findings that matter on them."""

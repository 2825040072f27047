"""Machines to be judged, as probes would answer on them.

Those in ``CONSTRUCTED`` were written by hand, from documentation and threads: none of them is a
reading of a real machine. Those under ``tests/recorded`` were read off the machine that their label
names. Tests and pictures that use either must not be passed off as measurements.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
from msgspec.structs import replace

from mpstui.doctor.probes import NOT_BUILT, DeviceTrial
from mpstui.domain.conditions import Conditions, Disk, Gauge, HostSession, Power, Terminal, Thermal
from mpstui.domain.facts import (
    DeviceFact,
    DoctorFacts,
    ImportFact,
    MetalDevice,
    MpsFacts,
    TorchFacts,
)
from mpstui.domain.machine import CoreKind, Machine, PythonEnvironment
from mpstui.domain.ops import OpsRun
from mpstui.processes.client import ProcessFailed

GIB = 2**30

M4 = Machine(
    name="Apple M4 Pro",
    system="macOS 26.1",
    arch="arm64",
    python="3.12.7",
    python_arch="arm64",
    translated=False,
    cores_physical=14,
    cores_logical=14,
    core_kinds=(CoreKind(name="Performance", count=10), CoreKind(name="Efficiency", count=4)),
    memory_bytes=24 * GIB,
    torch="2.14.1",
    torchvision="0.29.1",
    torch_tag="macosx_14_0_arm64",
    torch_installer="pip",
    torchvision_requires="torch==2.14.1",
    environment=PythonEnvironment(
        executable="/work/.venv/bin/python", kind="venv", folder="/work/.venv"
    ),
)
LINUX = replace(
    M4,
    name="AMD EPYC",
    system="Debian GNU/Linux 12",
    arch="x86_64",
    python_arch="x86_64",
    translated=None,
    cores_physical=8,
    cores_logical=16,
    core_kinds=(),
    memory_bytes=32 * GIB,
    torch_tag="manylinux_2_28_x86_64",
)
WINDOWS = replace(
    LINUX,
    name="12th Gen Intel(R) Core(TM) i7",
    system="Windows 11",
    torch_tag="win_amd64",
    environment=PythonEnvironment(
        executable=r"C:\work\.venv\Scripts\python.exe", kind="venv", folder=r"C:\work\.venv"
    ),
)

AT_REST = Conditions(
    memory_available=12 * GIB,
    swap_used=0,
    power=Power(source="mains", percent=100.0, saving=False),
    thermal=Thermal(throttled=False, detail="thermal pressure nominal"),
    disk=Disk(free=200 * GIB, total=500 * GIB),
    terminal=Terminal(
        columns=120, rows=40, colours=2**24, encoding="utf-8", name="constructed terminal"
    ),
    gauges=(Gauge(what="CPU, memory, swap", by="psutil", available=True),),
)

CPU = DeviceFact(device="cpu", built=True, available=True, usable=None)
MPS = DeviceFact(device="mps", built=True, available=True, usable=None, name="Apple M4 Pro")
CUDA = DeviceFact(device="cuda:0", built=True, available=True, usable=None, name="NVIDIA L4")
META = DeviceFact(
    device="meta", built=True, available=True, usable=False, reason="holds shapes but no data"
)

IMPORTED = tuple(
    ImportFact(package=package, imported=True, version=version)
    for package, version in (("torch", None), ("numpy", "2.4.6"), ("pillow", "13.0.0"))
)
"""A torchvision is judged by its metadata, where a test does not say how it was imported."""


def absent(device: str, reason: str = NOT_BUILT, *, built: bool = False) -> DeviceFact:
    return DeviceFact(device=device, built=built, available=False, usable=False, reason=reason)


def torch(*devices: DeviceFact, default: str | None = None, **others: Any) -> TorchFacts:
    made = TorchFacts(
        version="2.14.1",
        cuda=None,
        git=None,
        default_accelerator=default,
        threads=8,
        devices=(CPU, *devices, META),
        import_seconds=1.9,
        interop_threads=8,
        openmp=True,
        imports=IMPORTED,
    )
    return replace(made, **others)


class Answers:
    """Probes that answer as a machine would.

    ``torch`` may be the reason why torch gives no facts, ``trials`` name devices that fail.
    """

    def __init__(
        self,
        machine: Machine,
        torch: TorchFacts | str,
        conditions: Conditions = AT_REST,
        trials: dict[str, str] | None = None,
    ) -> None:
        self._machine = machine
        self._torch = torch
        self._surroundings = conditions
        self._trials = trials or {}

    def machine(self) -> Machine:
        return self._machine

    def conditions(self) -> Conditions:
        return self._surroundings

    def torch_facts(self) -> TorchFacts:
        if isinstance(self._torch, str):
            raise ProcessFailed(self._torch)
        return self._torch

    def use(self, device: str) -> DeviceTrial:
        if device in self._trials:
            return DeviceTrial(device=device, usable=False, reason=self._trials[device])
        return DeviceTrial(device=device, usable=True, milliseconds=0.4)

    def ops(
        self, device: str, only: frozenset[str], on_progress: Callable[[OpsRun], None]
    ) -> OpsRun:
        return OpsRun(device=device, seconds=0.0)


def around(**changed: Any) -> Conditions:
    return replace(AT_REST, **changed)


APPLE9 = (*range(1001, 1010), 2001, 2002, 3001, 3002, 3003, 5001)
"""Families that an M3 or M4 supports by Apple's Metal feature set tables."""
METAL = MpsFacts(
    metal_device="Apple M4 Pro",
    metal_devices=(MetalDevice(name="Apple M4 Pro", families=APPLE9),),
    gpu_cores=20,
    recommended_bytes=17 * GIB,
    driver_bytes=2**20,
    current_bytes=0,
)
NO_METAL = MpsFacts(metal_device=None, metal_devices=())
M1_GPU = MetalDevice(name="Apple M1", families=(*range(1001, 1008), 2001, 2002, 3003, 5001))
HIDDEN = absent("mps", "no Metal device is visible to this process", built=True)
HEALTHY = torch(MPS, default="mps", mps=METAL)
NO_DRIVER = absent("cuda", "Found no NVIDIA driver on your system", built=True)
_CUDA = torch(CUDA, absent("mps"), default="cuda", version="2.14.1+cu130", cuda="13.0")

CONSTRUCTED: dict[str, tuple[Answers, dict[str, str]]] = {
    "M1 with the torch of 2022": (
        Answers(
            replace(
                M4,
                name="Apple M1",
                system="macOS 12.3",
                torch="1.12.0",
                torchvision="0.13.0",
                torch_tag="macosx_11_0_arm64",
                torchvision_requires="torch==1.12.0",
            ),
            torch(MPS, version="1.12.0", default="mps", mps=METAL),
        ),
        {
            "apple-silicon": "ok",
            "arm64-python": "ok",
            "torch-mps": "ok",
            "macos-version": "ok",
            "mps-available": "ok",
            "accelerator": "ok",
            "torchvision-installed": "ok",
        },
    ),
    "M1 under Rosetta": (
        Answers(
            replace(M4, name="Apple M1", python_arch="x86_64", translated=True, torch="2.2.2"),
            torch(absent("mps"), version="2.2.2"),
        ),
        {
            "apple-silicon": "ok",
            "arm64-python": "fail",
            "torch-mps": "fail",
            "mps-available": "not applicable",
            "accelerator": "warn",
        },
    ),
    "Intel Mac": (
        Answers(
            replace(
                M4,
                name="Intel(R) Core(TM) i7",
                arch="x86_64",
                python_arch="x86_64",
                translated=None,
                torch="2.2.2",
                torchvision="0.17.2",
                torchvision_requires="torch==2.2.2",
            ),
            torch(absent("mps"), version="2.2.2"),
        ),
        {
            "apple-silicon": "warn",
            "arm64-python": "not applicable",
            "torch-mps": "not applicable",
            "macos-version": "not applicable",
            "accelerator": "warn",
        },
    ),
    "M4, healthy": (
        Answers(M4, HEALTHY),
        {
            "apple-silicon": "ok",
            "arm64-python": "ok",
            "torch-mps": "ok",
            "macos-version": "ok",
            "mps-available": "ok",
            "torch-installed": "ok",
            "torchvision-installed": "ok",
            "accelerator": "ok",
            "cuda-driver": "not applicable",
            "device:cpu": "ok",
            "device:mps": "ok",
            "mps-memory": "ok",
            "mps-watermark": "ok",
            "mps-fallback": "ok",
            "variables": "ok",
            "threads": "ok",
            "memory": "ok",
            "disk": "ok",
            "power": "ok",
            "thermal": "ok",
            "terminal": "ok",
            "telemetry": "ok",
            "ops": "unknown",
        },
    ),
    "macOS too old": (
        Answers(
            replace(M4, name="Apple M2", system="macOS 13.6"),
            torch(HIDDEN, mps=replace(METAL, metal_device="Apple M2", metal_devices=(M1_GPU,))),
        ),
        {"torch-mps": "ok", "macos-version": "fail", "mps-available": "fail"},
    ),
    "macOS 26, built but unavailable": (
        Answers(M4, torch(HIDDEN, mps=NO_METAL)),
        {"torch-mps": "ok", "macos-version": "ok", "mps-available": "fail", "accelerator": "warn"},
    ),
    "M4 over ssh": (
        Answers(M4, torch(HIDDEN, mps=NO_METAL), around(session=HostSession(ssh=True))),
        {"macos-version": "ok", "mps-available": "fail"},
    ),
    "macOS in a virtual machine": (
        Answers(M4, torch(HIDDEN, mps=NO_METAL), around(session=HostSession(virtual_machine=True))),
        {"mps-available": "fail"},
    ),
    "M4 with a torch built without MPS": (
        Answers(replace(M4, torch_installer="conda"), torch(absent("mps"), mps=NO_METAL)),
        {"torch-mps": "fail", "mps-available": "not applicable", "torch-installed": "ok"},
    ),
    "Linux, CPU only": (
        Answers(replace(LINUX, torch="2.14.1+cpu"), torch(absent("cuda"), version="2.14.1+cpu")),
        {
            "apple-silicon": "not applicable",
            "torch-installed": "ok",
            "accelerator": "warn",
            "cuda-driver": "not applicable",
            "mps-fallback": "not applicable",
        },
    ),
    "Linux with CUDA": (
        Answers(LINUX, replace(_CUDA, cuda_driver="13.0"), around(nvidia_driver="580.95.05")),
        {
            "accelerator": "ok",
            "cuda-driver": "ok",
            "device:cuda:0": "ok",
            "torch-mps": "not applicable",
        },
    ),
    "CUDA driver too old": (
        Answers(
            LINUX,
            torch(
                absent(
                    "cuda",
                    "The NVIDIA driver on your system is too old (found version 12040)",
                    built=True,
                ),
                version="2.14.1+cu130",
                cuda="13.0",
                cuda_driver="12.4",
            ),
            around(nvidia_driver="550.54.14"),
        ),
        {"accelerator": "warn", "cuda-driver": "fail"},
    ),
    "NVIDIA GPU with a CPU-only wheel": (
        Answers(
            replace(LINUX, torch="2.14.1+cpu"),
            torch(absent("cuda"), version="2.14.1+cpu"),
            around(nvidia_driver="580.95.05"),
        ),
        {"accelerator": "warn", "cuda-driver": "fail"},
    ),
    "torchvision that does not match": (
        Answers(
            replace(LINUX, torchvision="0.26.0", torchvision_requires="torch==2.11.0"),
            torch(NO_DRIVER, version="2.14.1+cu130", cuda="13.0"),
        ),
        {"torchvision-installed": "warn", "torch-installed": "ok"},
    ),
    "fallback variable set": (
        Answers(M4, HEALTHY, around(variables={"PYTORCH_ENABLE_MPS_FALLBACK": "1"})),
        {"mps-fallback": "warn", "mps-available": "ok"},
    ),
    "watermarks that torch refuses": (
        Answers(
            M4,
            HEALTHY,
            around(variables={"PYTORCH_MPS_HIGH_WATERMARK_RATIO": "0.7"}),
        ),
        {"mps-watermark": "fail"},
    ),
    "low memory": (
        Answers(
            replace(M4, name="Apple M1", memory_bytes=8 * GIB),
            HEALTHY,
            around(memory_available=GIB, swap_used=6 * GIB),
        ),
        {"memory": "warn", "disk": "ok"},
    ),
    "a hot laptop on battery": (
        Answers(
            M4,
            HEALTHY,
            around(
                power=Power(source="battery", percent=31.0, saving=False),
                thermal=Thermal(throttled=True, detail="thermal pressure heavy"),
                disk=Disk(free=GIB // 10, total=500 * GIB),
            ),
        ),
        {"power": "warn", "thermal": "warn", "disk": "fail"},
    ),
    "Windows, CPU": (
        Answers(
            WINDOWS,
            torch(absent("cuda"), version="2.14.1+cpu"),
            around(thermal=Thermal(throttled=None, reason="no temperature sensor can be read")),
        ),
        {"apple-silicon": "not applicable", "accelerator": "warn", "thermal": "unknown"},
    ),
    "a container with two of sixteen cores": (
        Answers(LINUX, torch(NO_DRIVER, threads=16), around(cores_usable=2)),
        {"threads": "warn"},
    ),
    "OMP_NUM_THREADS=1": (
        Answers(LINUX, torch(NO_DRIVER, threads=1), around(variables={"OMP_NUM_THREADS": "1"})),
        {"threads": "warn"},
    ),
    "a GPU that aborts": (
        Answers(M4, HEALTHY, trials={"mps": "the process aborted (SIGABRT): failed assertion"}),
        {"device:mps": "fail", "accelerator": "fail", "device:cpu": "ok"},
    ),
    "torch that cannot be imported": (
        Answers(LINUX, "ImportError: libcudart.so.13: cannot open shared object file"),
        {"torch-installed": "fail", "accelerator": "unknown", "memory": "ok"},
    ),
    "no torch": (
        Answers(replace(M4, torch=None, torchvision=None), "torch is not installed"),
        {"torch-installed": "fail", "torchvision-installed": "warn", "torch-mps": "unknown"},
    ),
}
"""Constructed machines: how they answer, and the findings that matter on them."""


class Recording(msgspec.Struct):
    """Facts that were read off a real machine."""

    label: str
    """Where and when."""
    facts: DoctorFacts


def recordings() -> dict[str, Recording]:
    """The recordings under ``tests/recorded``, by file name."""
    folder = Path(__file__).parents[1] / "recorded"
    return {
        path.stem: msgspec.json.decode(path.read_bytes(), type=Recording)
        for path in sorted(folder.glob("*.json"))
    }

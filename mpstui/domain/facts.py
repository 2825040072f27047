"""What the probes found out, as far as they have come. ``None`` is unknown, with its reason."""

from __future__ import annotations

from enum import IntEnum
from typing import Literal

import msgspec

from .conditions import Conditions
from .machine import Machine
from .ops import OpsRun


class ProbeStage(IntEnum):
    """How far the probes have to come before something can be judged."""

    MACHINE = 0
    SURROUNDINGS = 1
    TORCH = 2
    USE = 3
    OPS = 4


PACKAGES = ("torch", "numpy", "pillow", "torchvision")
"""What a worker imports that has binaries of its own, in the order in which it is tried."""


class ImportFact(msgspec.Struct, frozen=True, kw_only=True):
    """How a package that a worker imports was imported, in a process of its own."""

    package: str
    """One of :data:`PACKAGES`."""
    imported: bool | None
    """None when nothing was decided, and then ``error`` says why."""
    version: str | None = None
    """By the module itself, or by the package's metadata when it cannot be imported; None without
    either."""
    path: str = ""
    """The file that it is imported from; empty when there is none."""
    shadows: bool = False
    """Whether that file stands before the installed package, and is no part of it."""
    error: str = ""
    """Why it could not be imported, all of it: ``ImportError: …``."""


class DeviceFact(msgspec.Struct, frozen=True, kw_only=True):
    """What torch says of one device type, or of one device of a type."""

    device: str
    """As torch names it: ``cuda:0``, ``mps``, ``hpu``."""
    built: bool | None
    """This torch has kernels for it."""
    available: bool | None
    """The runtime finds hardware and driver."""
    usable: bool | None
    """A small forward and backward ran there and agreed with the CPU; None before that is tried,
    or when the trial decided nothing, and then ``reason`` says why."""
    name: str | None = None
    """The hardware's own name, e.g. ``NVIDIA H100 80GB HBM3``."""
    memory_bytes: int | None = None
    capability: str | None = None
    """The GPU's architecture as wheels name it: ``sm_120``, ``gfx1100``; None for other devices."""
    milliseconds: float | None = None
    """Median time of that forward and backward, synchronised."""
    reason: str = ""
    """Why not, in torch's or the system's words, where an answer above is not True."""

    @property
    def type(self) -> str:
        """The device type without its index."""
        return self.device.partition(":")[0]


class MetalDevice(msgspec.Struct, frozen=True, kw_only=True):
    """A GPU as Metal describes it."""

    name: str
    families: tuple[int, ...] = ()
    """The values of MTLGPUFamily that it says it supports (MTLDevice.h): 1007 is Apple7."""
    low_power: bool = False
    """``isLowPower``: true of a Mac's integrated Intel GPU."""

    @property
    def apple_family(self) -> str:
        """The newest of Apple's families that it supports, ``Apple7``; empty without any."""
        newest = max((number for number in self.families if 1000 < number < 2000), default=1000)
        return f"Apple{newest - 1000}" if newest > 1000 else ""


class MpsFacts(msgspec.Struct, frozen=True, kw_only=True):
    """What only a Mac can tell. Memory in bytes."""

    metal_device: str | None
    """The name of the first Metal device that this process sees; None when it sees none."""
    metal_reason: str = ""
    metal_devices: tuple[MetalDevice, ...] | None = None
    """All of them, in Metal's order, which is the one that torch goes by; None when Metal was not
    asked, or did not answer."""
    gpu_cores: int | None = None
    recommended_bytes: int | None = None
    """``torch.mps.recommended_max_memory()``."""
    driver_bytes: int | None = None
    """``torch.mps.driver_allocated_memory()``."""
    current_bytes: int | None = None
    """``torch.mps.current_allocated_memory()``."""


class TorchFacts(msgspec.Struct, frozen=True, kw_only=True):
    """What importing torch, in a process of its own, told."""

    version: str
    cuda: str | None
    """The CUDA version that the wheel was built for."""
    git: str | None
    default_accelerator: str | None
    """``torch.accelerator.current_accelerator(check_available=True)``."""
    threads: int
    devices: tuple[DeviceFact, ...]
    import_seconds: float
    interop_threads: int | None = None
    hip: str | None = None
    """The HIP version that the wheel was built for, by ROCm's name."""
    arches: tuple[str, ...] = ()
    """What the wheel has kernels for, as ``torch.cuda.get_arch_list()`` has it; empty without a
    build for CUDA or ROCm."""
    openmp: bool | None = None
    """Whether this torch runs its loops under OpenMP."""
    cuda_driver: str | None = None
    """The CUDA version that the driver supports, such as ``13.0``; None without a driver."""
    mps: MpsFacts | None = None
    """None off macOS."""
    mps_kernels: tuple[str, ...] = ()
    """Ops of ``aten`` that are registered for the dispatch key MPS; empty without MPS."""
    imports: tuple[ImportFact, ...] = ()
    """How the packages of :data:`PACKAGES` were imported; empty where it was not tried."""


class DoctorFacts(msgspec.Struct, frozen=True, kw_only=True):
    """Everything the doctor knows so far. Fields fill in as the probes return."""

    machine: Machine
    surroundings: Conditions | None = None
    """None until they were read."""
    torch: TorchFacts | None = None
    torch_error: str = ""
    """Why there are no torch facts, once that is known."""
    torch_import: ImportFact | None = None
    """How torch was imported, where that failed in a way that says so."""
    torch_state: Literal["probing", "known", "failed", "undecided"] = "probing"
    """``undecided``: torch did not answer, for a reason that says nothing about it."""
    usable_probed: bool = False
    """Whether each available device has been tried yet."""
    ops: tuple[OpsRun, ...] = ()
    """The op checks, one for each device that was checked."""

    def imported(self, package: str) -> ImportFact | None:
        """How a package was imported; None where it was not tried."""
        facts = self.torch.imports if self.torch else ()
        return next((fact for fact in facts if fact.package == package), None)

    def device(self, name: str) -> DeviceFact | None:
        """The fact about a device; ``cuda`` answers for ``cuda:0``."""
        if self.torch is None:
            return None
        by_name = {fact.device: fact for fact in self.torch.devices}
        return by_name.get(name) or by_name.get(f"{name}:0")

    def trainable(self) -> tuple[str, ...]:
        """Devices that a run can be started on: the CPU first, then what is available."""
        if self.torch is None:
            return ("cpu",)
        found = [
            fact.device
            for fact in self.torch.devices
            if fact.available and fact.usable is not False and fact.type in ("cuda", "mps", "xpu")
        ]
        return ("cpu", *found)

    def usable(self) -> tuple[str, ...]:
        """Devices on which a forward and backward were seen to work."""
        devices = self.torch.devices if self.torch else ()
        return tuple(fact.device for fact in devices if fact.usable)

    def default_devices(self) -> tuple[str, ...]:
        """The CPU and the machine's best accelerator; the CPU alone where there is none."""
        return self.trainable()[:2]

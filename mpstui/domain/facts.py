"""Facts that the probes have read so far. ``None`` means unknown; a reason field says why."""

from __future__ import annotations

from enum import IntEnum
from typing import Literal

import msgspec

from .conditions import Conditions
from .devices import ACCELERATORS
from .machine import Machine
from .ops import OpsRun


class ProbeStage(IntEnum):
    """The probe results that a check needs."""

    MACHINE = 0
    CONDITIONS = 1
    TORCH = 2
    USE = 3
    OPS = 4


PACKAGES = ("torch", "numpy", "pillow", "torchvision")
"""Packages with binaries that a worker imports, in the order of the trial imports."""


class ImportFact(msgspec.Struct, frozen=True, kw_only=True):
    """The result of importing a package in a separate process."""

    package: str
    """One of :data:`PACKAGES`."""
    imported: bool | None
    """None if that is undecided; ``error`` then says why."""
    version: str | None = None
    """From the module, or from the package's metadata if it cannot be imported; None without
    either."""
    path: str = ""
    """The file that it is imported from; empty if there is none."""
    shadows: bool = False
    """Whether that file shadows the installed package."""
    error: str = ""
    """The complete error of a failed import: ``ImportError: …``."""


class DeviceFact(msgspec.Struct, frozen=True, kw_only=True):
    """What torch reports about a device type, or about one device of a type."""

    device: str
    """Torch's name for it: ``cuda:0``, ``mps``, ``hpu``."""
    built: bool | None
    """Whether this torch has kernels for it."""
    available: bool | None
    """Whether the runtime finds hardware and driver."""
    usable: bool | None
    """Whether a small forward and backward ran there and agreed with the CPU; None before the
    trial, or if the trial was undecided, and then ``reason`` says why."""
    name: str | None = None
    """The hardware's own name, e.g. ``NVIDIA H100 80GB HBM3``."""
    memory_bytes: int | None = None
    capability: str | None = None
    """The GPU's architecture: ``sm_120``, ``gfx1100``; None for other devices."""
    milliseconds: float | None = None
    """Median time of that forward and backward, synchronised."""
    reason: str = ""
    """The message of torch or the system, if one of the above is not True."""

    @property
    def type(self) -> str:
        """The device type without its index."""
        return self.device.partition(":")[0]


class MetalDevice(msgspec.Struct, frozen=True, kw_only=True):
    """A GPU as reported by Metal."""

    name: str
    families: tuple[int, ...] = ()
    """The values of MTLGPUFamily that it supports (MTLDevice.h): 1007 is Apple7."""
    low_power: bool = False
    """``isLowPower``: true for a Mac's integrated Intel GPU."""

    @property
    def apple_family(self) -> str:
        """The newest Apple GPU family that it supports, ``Apple7``; empty if none."""
        newest = max((number for number in self.families if 1000 < number < 2000), default=1000)
        return f"Apple{newest - 1000}" if newest > 1000 else ""


class MpsFacts(msgspec.Struct, frozen=True, kw_only=True):
    """Facts that only a Mac has. Memory is in bytes."""

    metal_device: str | None
    """The name of the first Metal device that this process sees; None if it sees none."""
    metal_reason: str = ""
    metal_devices: tuple[MetalDevice, ...] | None = None
    """All Metal devices, in Metal's order, which torch uses too; None if Metal was not queried or
    did not answer."""
    gpu_cores: int | None = None
    recommended_bytes: int | None = None
    """``torch.mps.recommended_max_memory()``."""
    driver_bytes: int | None = None
    """``torch.mps.driver_allocated_memory()``."""
    current_bytes: int | None = None
    """``torch.mps.current_allocated_memory()``."""


class TorchFacts(msgspec.Struct, frozen=True, kw_only=True):
    """Facts from importing torch in a separate process."""

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
    """The HIP version that the wheel was built for (ROCm)."""
    arches: tuple[str, ...] = ()
    """The architectures that the wheel has kernels for, from ``torch.cuda.get_arch_list()``; empty
    unless it is built for CUDA or ROCm."""
    openmp: bool | None = None
    """Whether this torch parallelizes with OpenMP."""
    cuda_driver: str | None = None
    """The CUDA version that the driver supports, such as ``13.0``; None without a driver."""
    mps: MpsFacts | None = None
    """None on other systems than macOS."""
    mps_kernels: tuple[str, ...] = ()
    """``aten`` ops registered for the dispatch key MPS; empty without MPS."""
    imports: tuple[ImportFact, ...] = ()
    """The trial imports of :data:`PACKAGES`; empty if they were not tried."""


class DoctorFacts(msgspec.Struct, frozen=True, kw_only=True):
    """All facts of the doctor so far. Fields are filled in as the probes return."""

    machine: Machine
    conditions: Conditions | None = None
    """None until they are read."""
    torch: TorchFacts | None = None
    torch_error: str = ""
    """Why there are no torch facts, once known."""
    torch_import: ImportFact | None = None
    """The failed import of torch, if the failure was reported."""
    torch_state: Literal["probing", "known", "failed", "undecided"] = "probing"
    """``undecided``: torch did not answer, for a reason unrelated to torch."""
    usable_probed: bool = False
    """Whether the trial has run on each available device."""
    ops: tuple[OpsRun, ...] = ()
    """The op checks, one per checked device."""

    def imported(self, package: str) -> ImportFact | None:
        """Return the trial import of a package; None if it was not tried."""
        facts = self.torch.imports if self.torch else ()
        return next((fact for fact in facts if fact.package == package), None)

    def device(self, name: str) -> DeviceFact | None:
        """Return the facts about a device; ``cuda`` also finds ``cuda:0``."""
        if self.torch is None:
            return None
        by_name = {fact.device: fact for fact in self.torch.devices}
        return by_name.get(name) or by_name.get(f"{name}:0")

    def trainable(self) -> tuple[str, ...]:
        """Return the devices that a run can be started on, the CPU first."""
        if self.torch is None:
            return ("cpu",)
        accelerators = [
            fact.device
            for fact in self.torch.devices
            if fact.available and fact.usable is not False and fact.type in ACCELERATORS
        ]
        return ("cpu", *accelerators)

    def usable(self) -> tuple[str, ...]:
        """Return the devices on which a forward and backward worked."""
        devices = self.torch.devices if self.torch else ()
        return tuple(fact.device for fact in devices if fact.usable)

    def default_devices(self) -> tuple[str, ...]:
        """Return the CPU and the machine's best accelerator, if there is one."""
        return self.trainable()[:2]

"""Facts about a machine, as the probes found them. ``None`` is unknown, with a reason beside it."""

from __future__ import annotations

from typing import Literal

import msgspec


class Machine(msgspec.Struct, frozen=True, kw_only=True):
    """The machine and the Python that runs on it; known without importing torch."""

    name: str
    """The chip's or processor's name, e.g. ``Apple M2 Pro``."""
    system: str
    """Operating system and version, e.g. ``macOS 26.1``."""
    arch: str
    """The machine's own architecture: ``arm64``, ``x86_64``, … (not a translated process's)."""
    python: str
    """Python's version."""
    python_arch: str
    """The architecture this Python was built for."""
    translated: bool | None
    """True when this process runs under Rosetta; None where the question has no meaning."""
    cores_physical: int | None
    cores_logical: int | None
    cores_performance: int | None
    """Performance cores, where the system tells them apart."""
    memory_bytes: int
    torch: str | None
    """Installed version by package metadata; None when it is not installed."""
    torchvision: str | None

    @property
    def apple_silicon(self) -> bool:
        """Whether the chip is one of Apple's own."""
        return self.system.startswith("macOS") and self.arch == "arm64"

    @property
    def platform(self) -> str:
        """The kind of system and its architecture, in two words: ``Linux x86_64``."""
        word = self.system.partition(" ")[0]
        kind = word if word in ("macOS", "Windows") or word.endswith("BSD") else "Linux"
        return f"{kind} {self.arch}"


class DeviceFact(msgspec.Struct, frozen=True, kw_only=True):
    """What torch says of one device type, or of one device of a type."""

    device: str
    """As torch names it: ``cuda:0``, ``mps``, ``hpu``."""
    built: bool | None
    """This torch has kernels for it."""
    available: bool | None
    """The runtime finds hardware and driver."""
    usable: bool | None
    """A small forward and backward ran there and agreed with the CPU."""
    name: str | None = None
    """The hardware's own name, e.g. ``NVIDIA H100 80GB HBM3``."""
    memory_bytes: int | None = None
    milliseconds: float | None = None
    """Median time of that forward and backward, synchronised."""
    reason: str = ""
    """Why not, in torch's or the system's words, where an answer above is not True."""

    @property
    def type(self) -> str:
        """The device type without its index."""
        return self.device.partition(":")[0]


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


class Facts(msgspec.Struct, frozen=True, kw_only=True):
    """Everything the doctor knows so far. Fields fill in as the probes return."""

    machine: Machine
    torch: TorchFacts | None = None
    torch_error: str = ""
    """Why there are no torch facts, once that is known."""
    torch_state: Literal["probing", "known", "failed"] = "probing"
    usable_probed: bool = False
    """Whether each available device has been tried yet."""

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

    def default_devices(self) -> tuple[str, ...]:
        """The CPU and the machine's best accelerator; the CPU alone where there is none."""
        return self.trainable()[:2]

"""What surrounds a run on its machine: variables, power, heat, disk, terminal, session, gauges.

These change from minute to minute, where a :class:`~mpstui.domain.machine.Machine` does not. What a
system does not tell is ``None``, and ``reason`` says why.
"""

from __future__ import annotations

from typing import Literal

import msgspec


class Power(msgspec.Struct, frozen=True, kw_only=True):
    """Where the machine's power comes from."""

    source: Literal["mains", "battery"] | None
    percent: float | None = None
    """Charge of the battery."""
    saving: bool | None = None
    """Whether the system saves energy at the cost of speed."""
    saving_by: str = ""
    """What says so: ``Low Power Mode``, ``CPU governor powersave``."""
    reason: str = ""


class Thermal(msgspec.Struct, frozen=True, kw_only=True):
    """Whether heat slows the machine down."""

    throttled: bool | None
    detail: str = ""
    """What was read: ``CPU speed limit 60 %``, ``package 71 °C``."""
    reason: str = ""


class Disk(msgspec.Struct, frozen=True, kw_only=True):
    """The disk that runs are written to, in bytes."""

    free: int | None
    total: int | None
    reason: str = ""


class Terminal(msgspec.Struct, frozen=True, kw_only=True):
    """The terminal that this process writes to."""

    columns: int
    rows: int
    colours: int
    """0, 16, 256 or 16,777,216."""
    encoding: str
    name: str
    """TERM_PROGRAM or TERM."""

    @property
    def unicode(self) -> bool:
        """Whether it can be sent every character."""
        return self.encoding.lower().replace("-", "").startswith("utf")


class HostSession(msgspec.Struct, frozen=True, kw_only=True):
    """Where this process runs, as far as it may hide a GPU."""

    ssh: bool = False
    sandbox: bool = False
    """An App Sandbox on macOS."""
    virtual_machine: bool | None = None
    container: bool = False
    kernel: str = ""
    """The kernel's release as /proc/version has it, on Linux: ``6.6.87.2-microsoft-standard-WSL2``.
    """

    @property
    def wsl(self) -> bool:
        """Whether this Linux runs under Windows, in WSL 2."""
        return "microsoft" in self.kernel.lower()

    @property
    def mac_container(self) -> bool:
        """Whether the kernel is one that containers on a Mac run on."""
        return self.container and any(name in self.kernel for name in ("linuxkit", "orbstack"))


class Gpus(msgspec.Struct, frozen=True, kw_only=True):
    """The GPUs that the system shows, with or without a driver."""

    vendors: tuple[str, ...] | None = None
    """``NVIDIA``, ``AMD``, ``Intel``; empty when there is none of theirs, None when not known."""
    reason: str = "not read"
    """Why the vendors are not known."""
    kfd: Literal["usable", "denied", "absent"] | None = None
    """/dev/kfd, which ROCm computes through; None off Linux."""
    nvidia_files: bool | None = None
    """Whether NVIDIA's device files are there; None off Linux."""


class Gauge(msgspec.Struct, frozen=True, kw_only=True):
    """Something that could be measured while a run trains."""

    what: str
    """``CPU and memory``, ``GPU use, power and energy``, …"""
    by: str
    """The library or file that gives it: ``psutil``, ``NVML``, ``RAPL``."""
    available: bool
    reason: str = ""
    """Why not."""
    commands: tuple[str, ...] = ()
    """What would make it available, beside the package."""
    package: str = ""
    """What would have to be installed."""


class Conditions(msgspec.Struct, frozen=True, kw_only=True):
    """All of it, read at one moment."""

    variables: dict[str, str] = {}
    """Those of :data:`mpstui.domain.environment_variables.VARIABLES` that are set."""
    memory_available: int | None = None
    """Bytes that can be had without swapping."""
    swap_used: int | None = None
    cores_usable: int | None = None
    """Cores that this process may use: affinity and a container's quota; None where not limited."""
    power: Power = Power(source=None, reason="not read")
    thermal: Thermal = Thermal(throttled=None, reason="not read")
    disk: Disk = Disk(free=None, total=None, reason="not read")
    terminal: Terminal | None = None
    """None when stdout is not a terminal."""
    session: HostSession = HostSession()
    nvidia_driver: str | None = None
    """Version of the NVIDIA driver that the system has loaded; None where there is none."""
    gpus: Gpus = Gpus()
    gauges: tuple[Gauge, ...] = ()

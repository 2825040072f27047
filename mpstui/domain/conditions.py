"""A run's environment: variables, power, heat, disk, terminal, session, gauges.

These change from minute to minute; a :class:`~mpstui.domain.machine.Machine` does not. A value that
the system does not report is ``None``, and ``reason`` says why.
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
    """The setting that shows it: ``Low Power Mode``, ``CPU governor powersave``."""
    reason: str = ""


class Thermal(msgspec.Struct, frozen=True, kw_only=True):
    """Whether heat slows the machine down."""

    throttled: bool | None
    detail: str = ""
    """The reading: ``CPU speed limit 60 %``, ``package 71 °C``."""
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
        """Whether it can show Unicode characters."""
        return self.encoding.lower().replace("-", "").startswith("utf")


class HostSession(msgspec.Struct, frozen=True, kw_only=True):
    """Properties of this process's session that may hide a GPU."""

    ssh: bool = False
    sandbox: bool = False
    """An App Sandbox on macOS."""
    virtual_machine: bool | None = None
    container: bool = False
    kernel: str = ""
    """The kernel release from /proc/version, on Linux: ``6.6.87.2-microsoft-standard-WSL2``.
    """

    @property
    def wsl(self) -> bool:
        """Whether this Linux runs under Windows, in WSL 2."""
        return "microsoft" in self.kernel.lower()

    @property
    def mac_container(self) -> bool:
        """Whether this is a container on a Mac, judging by the kernel's name."""
        return self.container and any(name in self.kernel for name in ("linuxkit", "orbstack"))


class Gpus(msgspec.Struct, frozen=True, kw_only=True):
    """The GPUs that the system reports, with or without a driver."""

    vendors: tuple[str, ...] | None = None
    """``NVIDIA``, ``AMD``, ``Intel``; empty if there is no GPU of these, None if unknown."""
    reason: str = "not read"
    """Why the vendors are unknown."""
    kfd: Literal["usable", "denied", "absent"] | None = None
    """State of /dev/kfd, which ROCm needs to compute; None on other systems than Linux."""
    nvidia_files: bool | None = None
    """Whether NVIDIA's device files exist; None on other systems than Linux."""


class Gauge(msgspec.Struct, frozen=True, kw_only=True):
    """A measurement that can be taken while a run trains."""

    what: str
    """``CPU and memory``, ``GPU use, power and energy``, …"""
    by: str
    """The library or file that provides it: ``psutil``, ``NVML``, ``RAPL``."""
    available: bool
    reason: str = ""
    """Why it is not available."""
    commands: tuple[str, ...] = ()
    """Commands that make it available, besides installing the package."""
    package: str = ""
    """The package to install for it."""


class Conditions(msgspec.Struct, frozen=True, kw_only=True):
    """A snapshot of a run's environment."""

    variables: dict[str, str] = {}
    """The set variables among :data:`mpstui.domain.environment_variables.VARIABLES`."""
    memory_available: int | None = None
    """Bytes available without swapping."""
    swap_used: int | None = None
    cores_usable: int | None = None
    """Cores that this process may use, by affinity and a container's quota; None if not limited."""
    power: Power = Power(source=None, reason="not read")
    thermal: Thermal = Thermal(throttled=None, reason="not read")
    disk: Disk = Disk(free=None, total=None, reason="not read")
    terminal: Terminal | None = None
    """None if stdout is not a terminal."""
    session: HostSession = HostSession()
    nvidia_driver: str | None = None
    """Version of the loaded NVIDIA driver; None if there is none."""
    gpus: Gpus = Gpus()
    gauges: tuple[Gauge, ...] = ()

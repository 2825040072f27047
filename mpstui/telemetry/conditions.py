"""Reads a run's conditions in a fraction of a second and without importing torch.

All access goes through a :class:`ConditionsSource`, so that recorded machines can be read like
this one.
"""

from __future__ import annotations

import os
import re
import shutil
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Protocol

import psutil

from mpstui.domain.conditions import Conditions, Disk, HostSession, Terminal
from mpstui.domain.environment_variables import VARIABLES

from .cores import QUOTA_FILE, affinity, core_limit
from .gauges import read_gauges
from .gpus import read_gpus
from .machine import LocalMachine
from .power import Battery, read_power, read_thermal

TRUE_COLOUR = 2**24


class ConditionsSource(Protocol):
    """Access to a machine. Failed readings are None."""

    system: str
    """``Darwin``, ``Linux``, ``Windows``."""
    python: tuple[int, int]
    """Version of the running Python."""

    def variables(self) -> Mapping[str, str]:
        """Return the environment variables."""

    def command(self, *args: str) -> str | None:
        """Run a command and return its output."""

    def text(self, path: str) -> str | None:
        """Read a system file's text."""

    def exists(self, path: str) -> bool:
        """Return whether a file exists, readable or not."""

    def names(self, folder: str) -> Sequence[str] | None:
        """List a folder; None if it cannot be read."""

    def may_use(self, path: str) -> bool:
        """Return whether this process may read and write a file."""

    def registry(self, key: str, value: str) -> str | None:
        """Read a text under HKEY_LOCAL_MACHINE; None if there is none, or no registry."""

    def has_module(self, name: str) -> bool:
        """Return whether a Python module is installed."""

    def memory(self) -> tuple[int, int]:
        """Return available memory and used swap, in bytes."""

    def battery(self) -> Battery | None:
        """Read the battery; None if the machine has none."""

    def temperatures(self) -> list[tuple[str, float, float | None]]:
        """Read the sensors: name, °C, and the °C from which it counts as hot."""

    def disk(self) -> tuple[int, int] | None:
        """Return free and total bytes of the disk with the runs."""

    def affinity(self) -> int | None:
        """Return the number of cores that the scheduler gives this process."""

    def terminal_size(self) -> tuple[int, int] | None:
        """Return columns and rows; None if stdout is not a terminal."""

    def encoding(self) -> str:
        """Return stdout's encoding."""


def read_conditions(view: ConditionsSource) -> Conditions:
    """Read the environment of this process.

    Args:
        view: The machine to read; :class:`LocalConditions` for this one.
    """
    variables = view.variables()
    available, swap = view.memory()
    disk = view.disk()
    driver = _nvidia_driver(view)
    return Conditions(
        variables={name: variables[name] for name in VARIABLES if name in variables},
        memory_available=available,
        swap_used=swap,
        cores_usable=core_limit(view.affinity(), view.text(QUOTA_FILE)),
        power=read_power(view.system, view.battery(), view.command, view.text),
        thermal=read_thermal(view.system, view.temperatures(), view.command),
        disk=Disk(free=disk[0], total=disk[1])
        if disk
        else Disk(free=None, total=None, reason="the system does not report it"),
        terminal=_terminal(view, variables),
        session=_session(view, variables),
        nvidia_driver=driver,
        gpus=read_gpus(view),
        gauges=read_gauges(view, driver is not None),
    )


def _terminal(view: ConditionsSource, variables: Mapping[str, str]) -> Terminal | None:
    size = view.terminal_size()
    if size is None:
        return None
    return Terminal(
        columns=size[0],
        rows=size[1],
        colours=_colours(variables),
        encoding=view.encoding(),
        name=variables.get("TERM_PROGRAM") or variables.get("TERM", ""),
    )


def _colours(variables: Mapping[str, str]) -> int:
    term = variables.get("TERM", "")
    if variables.get("COLORTERM") in ("truecolor", "24bit") or "WT_SESSION" in variables:
        return TRUE_COLOUR
    if "256" in term or variables.get("TERM_PROGRAM") == "Apple_Terminal":
        return 256
    return 0 if term == "dumb" else 16


def _session(view: ConditionsSource, variables: Mapping[str, str]) -> HostSession:
    virtual = None
    if view.system == "Darwin":
        output = view.command("/usr/sbin/sysctl", "-n", "kern.hv_vmm_present")
        virtual = None if output is None else output == "1"
    elif view.system == "Linux":
        cpuinfo = view.text("/proc/cpuinfo") or ""
        # Only x86 has the flag; on other systems its absence means nothing.
        virtual = " hypervisor" in cpuinfo if "flags" in cpuinfo else None
    return HostSession(
        ssh=any(name in variables for name in ("SSH_CONNECTION", "SSH_TTY")),
        sandbox="APP_SANDBOX_CONTAINER_ID" in variables,
        virtual_machine=virtual,
        container=view.exists("/.dockerenv") or view.exists("/run/.containerenv"),
        kernel=_kernel(view),
    )


def _kernel(view: ConditionsSource) -> str:
    match = re.match(r"Linux version (\S+)", view.text("/proc/version") or "")
    return match[1] if match else ""


def _nvidia_driver(view: ConditionsSource) -> str | None:
    if view.system == "Darwin":
        return None
    version_text = view.text("/proc/driver/nvidia/version") if view.system == "Linux" else None
    if version_text is None:
        version_text = view.command(
            "nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader"
        )
    match = re.search(r"\b\d{3}\.\d+(?:\.\d+)?\b", version_text or "")
    return match[0] if match else None


class LocalConditions(LocalMachine):
    """The view of this machine.

    Args:
        runs: The folder of runs, whose disk is read; it need not exist yet.
    """

    def __init__(self, runs: Path) -> None:
        self._runs = runs
        self.python = (sys.version_info.major, sys.version_info.minor)
        self.system = {"darwin": "Darwin", "win32": "Windows"}.get(sys.platform, "Linux")

    def variables(self) -> Mapping[str, str]:
        """Return the environment variables."""
        return os.environ

    def exists(self, path: str) -> bool:
        """Return whether a file exists, readable or not."""
        return os.path.exists(path)

    def names(self, folder: str) -> Sequence[str] | None:
        """List a folder; None if it cannot be read."""
        try:
            return os.listdir(folder)
        except OSError:
            return None

    def may_use(self, path: str) -> bool:
        """Return whether this process may read and write a file."""
        return os.access(path, os.R_OK | os.W_OK)

    def has_module(self, name: str) -> bool:
        """Return whether a Python module is installed."""
        from importlib.util import find_spec

        return find_spec(name) is not None

    def memory(self) -> tuple[int, int]:
        """Return available memory and used swap, in bytes."""
        return psutil.virtual_memory().available, psutil.swap_memory().used

    def battery(self) -> Battery | None:
        """Read the battery; None if the machine has none."""
        get_battery = getattr(psutil, "sensors_battery", None)  # missing on some platforms
        reading = get_battery() if get_battery else None
        return Battery(reading.percent, reading.power_plugged) if reading else None

    def temperatures(self) -> list[tuple[str, float, float | None]]:
        """Read the sensors: name, °C, and the °C from which it counts as hot."""
        get_sensors = getattr(psutil, "sensors_temperatures", None)  # Linux and FreeBSD only
        sensors = get_sensors() if get_sensors else {}
        return [
            (entry.label or name, entry.current, entry.high or entry.critical)
            for name, entries in sensors.items()
            for entry in entries
        ]

    def disk(self) -> tuple[int, int] | None:
        """Return free and total bytes of the disk with the runs."""
        try:
            folders = (self._runs, *self._runs.parents)
            existing_folder = next(folder for folder in folders if os.path.exists(folder))
            usage = shutil.disk_usage(existing_folder)
        except (OSError, StopIteration):
            return None
        return usage.free, usage.total

    def affinity(self) -> int | None:
        """Return the number of cores that the scheduler gives this process."""
        return affinity()

    def terminal_size(self) -> tuple[int, int] | None:
        """Return columns and rows; None if stdout is not a terminal."""
        stdout = sys.__stdout__  # Textual replaces sys.stdout
        if stdout is None or not stdout.isatty():
            return None
        try:
            size = os.get_terminal_size(stdout.fileno())
        except OSError:
            return None
        return size.columns, size.lines

    def encoding(self) -> str:
        """Return stdout's encoding."""
        return sys.__stdout__.encoding if sys.__stdout__ else ""

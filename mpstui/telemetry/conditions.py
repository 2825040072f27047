"""What surrounds a run, read in a fraction of a second and without importing torch.

Everything comes through a :class:`View`, so that recorded machines can be read like this one.
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

from .gauges import read_gauges
from .gpus import read_gpus
from .machine import LocalMachine
from .power import Battery, read_power, read_thermal

TRUE_COLOUR = 2**24


class ConditionsSource(Protocol):
    """Where the readings come from. Readings that fail are None."""

    system: str
    """``Darwin``, ``Linux``, ``Windows``."""
    python: tuple[int, int]
    """Version of the Python that runs this."""

    def variables(self) -> Mapping[str, str]:
        """The environment."""

    def command(self, *args: str) -> str | None:
        """A command's output."""

    def text(self, path: str) -> str | None:
        """A system file's text."""

    def exists(self, path: str) -> bool:
        """Whether there is such a file, readable or not."""

    def names(self, folder: str) -> Sequence[str] | None:
        """What a folder holds; None when it cannot be read."""

    def may_use(self, path: str) -> bool:
        """Whether this process may read and write a file."""

    def registry(self, key: str, value: str) -> str | None:
        """A text under HKEY_LOCAL_MACHINE; None when there is none, or no registry."""

    def has_module(self, name: str) -> bool:
        """Whether a Python module is installed."""

    def memory(self) -> tuple[int, int]:
        """Available memory and used swap, in bytes."""

    def battery(self) -> Battery | None:
        """The battery; None when the machine has none."""

    def temperatures(self) -> list[tuple[str, float, float | None]]:
        """Sensor, °C, and the °C from which it counts as hot."""

    def disk(self) -> tuple[int, int] | None:
        """Free and total bytes where runs are kept."""

    def affinity(self) -> int | None:
        """Cores that the scheduler gives this process."""

    def terminal_size(self) -> tuple[int, int] | None:
        """Columns and rows; None when stdout is no terminal."""

    def encoding(self) -> str:
        """Stdout's encoding."""


def read_conditions(view: ConditionsSource) -> Conditions:
    """Read what surrounds this process now.

    Args:
        view: Where to read from; :class:`LocalConditions` for this machine.
    """
    variables = view.variables()
    available, swap = view.memory()
    disk = view.disk()
    driver = _nvidia_driver(view)
    return Conditions(
        variables={name: variables[name] for name in VARIABLES if name in variables},
        memory_available=available,
        swap_used=swap,
        cores_usable=_cores(view),
        power=read_power(view.system, view.battery(), view.command, view.text),
        thermal=read_thermal(view.system, view.temperatures(), view.command),
        disk=Disk(free=disk[0], total=disk[1])
        if disk
        else Disk(free=None, total=None, reason="the system does not say"),
        terminal=_terminal(view, variables),
        session=_session(view, variables),
        nvidia_driver=driver,
        gpus=read_gpus(view),
        gauges=read_gauges(view, driver is not None),
    )


def _cores(view: ConditionsSource) -> int | None:
    """The least of what the scheduler and a container's quota give."""
    limits = [view.affinity()]
    quota, _, period = (view.text("/sys/fs/cgroup/cpu.max") or "").strip().partition(" ")
    if quota.isdecimal() and period.isdecimal() and int(period):
        limits.append(max(1, int(quota) // int(period)))
    return min((limit for limit in limits if limit), default=None)


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
        told = view.command("/usr/sbin/sysctl", "-n", "kern.hv_vmm_present")
        virtual = None if told is None else told == "1"
    elif view.system == "Linux":
        cpuinfo = view.text("/proc/cpuinfo") or ""
        # Only x86 has the flag, so that its absence elsewhere says nothing.
        virtual = " hypervisor" in cpuinfo if "flags" in cpuinfo else None
    return HostSession(
        ssh=any(name in variables for name in ("SSH_CONNECTION", "SSH_TTY")),
        sandbox="APP_SANDBOX_CONTAINER_ID" in variables,
        virtual_machine=virtual,
        container=view.exists("/.dockerenv") or view.exists("/run/.containerenv"),
        kernel=_kernel(view),
    )


def _kernel(view: ConditionsSource) -> str:
    found = re.match(r"Linux version (\S+)", view.text("/proc/version") or "")
    return found[1] if found else ""


def _nvidia_driver(view: ConditionsSource) -> str | None:
    if view.system == "Darwin":
        return None
    told = view.text("/proc/driver/nvidia/version") if view.system == "Linux" else None
    if told is None:
        told = view.command("nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader")
    found = re.search(r"\b\d{3}\.\d+(?:\.\d+)?\b", told or "")
    return found[0] if found else None


class LocalConditions(LocalMachine):
    """This machine.

    Args:
        runs: The folder of runs, whose disk is looked at; it need not be there yet.
    """

    def __init__(self, runs: Path) -> None:
        self._runs = runs
        self.python = (sys.version_info.major, sys.version_info.minor)
        self.system = {"darwin": "Darwin", "win32": "Windows"}.get(sys.platform, "Linux")

    def variables(self) -> Mapping[str, str]:
        """The environment."""
        return os.environ

    def exists(self, path: str) -> bool:
        """Whether there is such a file, readable or not."""
        return os.path.exists(path)

    def names(self, folder: str) -> Sequence[str] | None:
        """What a folder holds; None when it cannot be read."""
        try:
            return os.listdir(folder)
        except OSError:
            return None

    def may_use(self, path: str) -> bool:
        """Whether this process may read and write a file."""
        return os.access(path, os.R_OK | os.W_OK)

    def has_module(self, name: str) -> bool:
        """Whether a Python module is installed."""
        from importlib.util import find_spec

        return find_spec(name) is not None

    def memory(self) -> tuple[int, int]:
        """Available memory and used swap, in bytes."""
        return psutil.virtual_memory().available, psutil.swap_memory().used

    def battery(self) -> Battery | None:
        """The battery; None when the machine has none."""
        read = getattr(psutil, "sensors_battery", None)  # not on every platform
        found = read() if read else None
        return Battery(found.percent, found.power_plugged) if found else None

    def temperatures(self) -> list[tuple[str, float, float | None]]:
        """Sensor, °C, and the °C from which it counts as hot."""
        read = getattr(psutil, "sensors_temperatures", None)  # Linux and FreeBSD only
        sensors = read() if read else {}
        return [
            (each.label or name, each.current, each.high or each.critical)
            for name, entries in sensors.items()
            for each in entries
        ]

    def disk(self) -> tuple[int, int] | None:
        """Free and total bytes where runs are kept."""
        try:
            folders = (self._runs, *self._runs.parents)
            there = next(folder for folder in folders if folder.exists())
            usage = shutil.disk_usage(there)
        except (OSError, StopIteration):
            return None
        return usage.free, usage.total

    def affinity(self) -> int | None:
        """Cores that the scheduler gives this process."""
        read = getattr(os, "sched_getaffinity", None)
        return len(read(0)) if read else None

    def terminal_size(self) -> tuple[int, int] | None:
        """Columns and rows; None when stdout is no terminal."""
        stdout = sys.__stdout__  # textual puts something else in its place
        if stdout is None or not stdout.isatty():
            return None
        try:
            size = os.get_terminal_size(stdout.fileno())
        except OSError:
            return None
        return size.columns, size.lines

    def encoding(self) -> str:
        """Stdout's encoding."""
        return sys.__stdout__.encoding if sys.__stdout__ else ""

"""Checks whether a recorded process still has its pid, and is alive.

A pid alone says little: it is reused, and another machine or container counts its own. A start
time as Unix seconds is not enough either. On Linux, psutil computes it from the clock, so setting
the clock moves it. There, a process starts at a number of clock ticks after boot, and each boot has
an id (proc(5), "/proc/pid/stat" and "/proc/sys/kernel/random/boot_id"). macOS and Windows store the
start time once, when the process starts.
"""

from __future__ import annotations

import os
import platform
import sys
from enum import Enum
from functools import lru_cache
from pathlib import Path

import msgspec

from mpstui.domain.bounds import Count, Number, Pid

CLOCK_SECONDS = 1.0
"""Start times in Unix seconds are equal within this; psutil rounds them."""


class Presence(Enum):
    """Whether a recorded process exists."""

    ALIVE = "alive"
    ENDED = "ended"
    ELSEWHERE = "elsewhere"
    """It belongs to another machine or container, so its end is not seen here."""


class Boot(msgspec.Struct, frozen=True, kw_only=True):
    """Where pids count: a boot of a machine, and on Linux a namespace of pids in it."""

    id: str = ""
    """Linux: the boot's random id; empty elsewhere."""
    namespace: str = ""
    """Linux: the namespace of pids, which a container has of its own; empty elsewhere."""
    machine: str = ""
    """An id of the machine that a reboot and another network leave as it is."""


class ProcessIdentity(msgspec.Struct, frozen=True, kw_only=True):
    """A process, as it is recorded in a file."""

    pid: Pid
    created: Number
    """Its start as Unix time in seconds."""
    ticks: Count | None = None
    """Linux: its start in clock ticks since boot; None elsewhere and in older files."""
    boot: Boot | None = None
    """None in older files."""
    host: str = ""
    """The machine's name, for messages."""

    @property
    def presence(self) -> Presence:
        """Whether the process exists; a zombie does not."""
        here = current_boot()
        if self.boot is not None and self.boot != here:
            is_same_boot = self.boot.id == here.id != ""
            is_other = is_same_boot or self.boot.machine != here.machine
            return Presence.ELSEWHERE if is_other else Presence.ENDED
        if self.ticks is not None:
            return Presence.ALIVE if _linux_ticks(self.pid) == self.ticks else Presence.ENDED
        return _presence_by_clock(self.pid, self.created)


def identify(pid: int) -> ProcessIdentity:
    """Return the identity of a process; of one that has ended too, as one that has."""
    import psutil  # late: reading identities on Linux does without

    try:
        created = psutil.Process(pid).create_time()
    except psutil.NoSuchProcess:
        created = 0.0
    return ProcessIdentity(
        pid=pid, created=created, ticks=_linux_ticks(pid), boot=current_boot(), host=platform.node()
    )


@lru_cache(maxsize=1)
def current_boot() -> Boot:
    """Return where this process's own pid counts."""
    if not sys.platform.startswith("linux"):
        return Boot(machine=_machine_id())
    try:
        namespace = os.readlink("/proc/self/ns/pid")
    except OSError:
        namespace = ""
    return Boot(
        id=_line_of("/proc/sys/kernel/random/boot_id"), namespace=namespace, machine=_machine_id()
    )


def _machine_id() -> str:
    """Return an id of this machine; its name where the system has none."""
    if sys.platform == "win32":
        import winreg

        try:
            with winreg.OpenKey(
                winreg.HKEY_LOCAL_MACHINE, r"SOFTWARE\Microsoft\Cryptography"
            ) as key:
                return str(winreg.QueryValueEx(key, "MachineGuid")[0])
        except OSError:
            return platform.node()
    if sys.platform == "darwin":
        return _mac_id() or platform.node()
    return _line_of("/etc/machine-id") or platform.node()


def _mac_id() -> str:
    """Return macOS's id of this machine, as gethostuuid(3) gives it; empty if it does not."""
    import ctypes

    uuid, timeout = ctypes.create_string_buffer(16), (ctypes.c_long * 2)(1, 0)
    try:
        is_read = ctypes.CDLL(None).gethostuuid(uuid, timeout) == 0
    except (AttributeError, OSError):
        return ""
    return uuid.raw.hex() if is_read else ""


def _linux_ticks(pid: int) -> int | None:
    """Return when a process started, in clock ticks since boot; None if it is gone or a zombie."""
    try:
        text = Path(f"/proc/{pid}/stat").read_bytes()
    except OSError:
        return None
    # The second field, the program's name in brackets, may hold brackets and spaces itself.
    state, *fields = text.rpartition(b")")[2].split()
    return None if state in (b"Z", b"X") or len(fields) < 19 else int(fields[18])


def _presence_by_clock(pid: int, created: float) -> Presence:
    import psutil

    try:
        process = psutil.Process(pid)
        is_alive = process.status() != psutil.STATUS_ZOMBIE
        is_same = abs(process.create_time() - created) < CLOCK_SECONDS
    except psutil.NoSuchProcess:
        return Presence.ENDED
    except psutil.AccessDenied:  # it exists
        return Presence.ALIVE
    return Presence.ALIVE if is_alive and is_same else Presence.ENDED


def _line_of(path: str) -> str:
    try:
        return Path(path).read_text(encoding="utf-8", errors="replace").strip()
    except OSError:
        return ""

"""Reads the machine's properties in well under 100 ms and without importing torch.

All access goes through a :class:`MachineSource`, so that recorded machines can be read like this
one.
"""

from __future__ import annotations

import os
import platform
import re
import subprocess
import sys
import sysconfig
from typing import Literal, Protocol

import msgspec
import psutil

from mpstui.domain.machine import CoreKind, Machine, PythonEnvironment

_SYSCTL = "/usr/sbin/sysctl"
_CPU_KEY = r"HARDWARE\DESCRIPTION\System\CentralProcessor\0"
_ARCHITECTURES = {"amd64": "x86_64", "x64": "x86_64", "aarch64": "arm64", "win32": "x86"}
_WINDOWS_11_BUILD = 22000


class HostReadings(msgspec.Struct, frozen=True, kw_only=True):
    """Properties from Python and psutil, read without starting a process."""

    system: str
    """``Darwin``, ``Linux``, ``Windows``, from ``platform.system``."""
    release: str
    version: str
    machine: str
    """The architecture that this process sees; under Rosetta, not the machine's own."""
    processor: str
    python: str
    python_platform: str
    """``sysconfig.get_platform()``, such as ``macosx-11.0-arm64``."""
    mac_version: str = ""
    linux_name: str = ""
    """Distribution and version; empty without an os-release file."""
    cores_physical: int | None
    cores_logical: int | None
    memory_bytes: int
    torch: str | None
    torchvision: str | None
    torch_tag: str | None = None
    """The platform tag in torch's WHEEL file."""
    torch_installer: str | None = None
    torchvision_requires: str | None = None
    executable: str = ""
    prefix: str = ""
    """``sys.prefix``."""
    base_prefix: str = ""
    """``sys.base_prefix``; differs from the prefix in a virtual environment."""
    stdlib: str = ""
    """The folder of the standard library."""
    pip: bool = True
    """Whether this Python has pip."""


class MachineSource(Protocol):
    """Access to a machine."""

    def host(self) -> HostReadings:
        """Read the properties that Python reports."""

    def command(self, *args: str) -> str | None:
        """Run a command and return its stripped output; None if it fails, is missing or is slow."""

    def text(self, path: str) -> str | None:
        """Read a system file's text; None if it cannot be read."""

    def registry(self, key: str, value: str) -> str | None:
        """Read a text under HKEY_LOCAL_MACHINE; None if there is none, or no registry."""


def read_machine(source: MachineSource | None = None) -> Machine:
    """Read the machine that this process runs on.

    Args:
        source: The machine to read; by default this one.

    Returns:
        The machine, with None for unknown properties.
    """
    source = source or LocalMachine()
    host = source.host()
    arch, translated = _architecture(source, host)
    return Machine(
        name=_name(source, host),
        system=_system(source, host),
        arch=arch,
        python=host.python,
        python_arch=_python_arch(host),
        translated=translated,
        cores_physical=host.cores_physical,
        cores_logical=host.cores_logical,
        memory_bytes=host.memory_bytes,
        torch=host.torch,
        torchvision=host.torchvision,
        torch_tag=host.torch_tag,
        torch_installer=host.torch_installer,
        torchvision_requires=host.torchvision_requires,
        core_kinds=_core_kinds(source, host),
        environment=_environment(source, host),
    )


def cpu_model(cpuinfo: str) -> str | None:
    """Return the first ``model name`` of a /proc/cpuinfo text, with single spaces."""
    for line in cpuinfo.splitlines():
        key, _, value = line.partition(":")
        if key.strip() == "model name" and value.strip():
            return " ".join(value.split())
    return None


def wheel_platform(wheel: str) -> str | None:
    """Return the platform tag of a WHEEL file's text: ``macosx_14_0_arm64``."""
    match = re.search(r"^Tag: *[^-\s]+-[^-\s]+-(\S+)", wheel, re.MULTILINE)
    return match[1] if match else None


def requirement(metadata: str, package: str) -> str | None:
    """Return a METADATA file's requirement on a package: ``torch==2.14.1``."""
    for line in metadata.splitlines():
        match = re.match(rf"Requires-Dist: ({package})(?![\w.-]) *\(?([^);]*)\)?", line)
        if match and "extra ==" not in line:
            return match[1] + match[2].strip()
    return None


def _name(source: MachineSource, host: HostReadings) -> str:
    model: str | None = None
    if host.system == "Darwin":
        model = source.command(_SYSCTL, "-n", "machdep.cpu.brand_string")
    elif host.system == "Linux":
        model = cpu_model(source.text("/proc/cpuinfo") or "")
        if not model:  # arm64 kernels have no model name there; boards have it here
            model = (source.text("/proc/device-tree/model") or "").strip("\0 \n")
    elif host.system == "Windows":
        # platform.processor() returns "Intel64 Family 6 Model 151", which is not a common name.
        model = source.registry(_CPU_KEY, "ProcessorNameString")
    return (model or "").strip() or host.processor or host.machine


def _system(source: MachineSource, host: HostReadings) -> str:
    if host.system == "Darwin":
        # A Python built with an old SDK sees 10.16 for every macOS from 11 on.
        return f"macOS {source.command('/usr/bin/sw_vers', '-productVersion') or host.mac_version}"
    if host.system == "Linux" and host.linux_name:
        return host.linux_name
    if host.system == "Windows":
        return f"Windows {_windows_release(host)}"
    return f"{host.system} {host.release}".strip()


def _windows_release(host: HostReadings) -> str:
    # Windows 11 reports version 10.0, which older Pythons pass on.
    build = host.version.rpartition(".")[2]
    is_windows_11 = host.release == "10" and build.isdecimal() and int(build) >= _WINDOWS_11_BUILD
    return "11" if is_windows_11 else host.release


def _architecture(source: MachineSource, host: HostReadings) -> tuple[str, bool | None]:
    """Return the machine's own architecture, and whether this process is translated."""
    process_arch = _plain(host.machine)
    if host.system != "Darwin":
        return process_arch, None
    if process_arch == "arm64":
        return process_arch, False
    keys = ("sysctl.proc_translated", "hw.optional.arm64")
    if any(source.command(_SYSCTL, "-n", name) == "1" for name in keys):
        return "arm64", True
    return process_arch, None  # an Intel Mac has neither key


def _python_arch(host: HostReadings) -> str:
    built_for = _plain(host.python_platform.rpartition("-")[2])
    # A universal2 Python runs as either architecture.
    return _plain(host.machine) if built_for.startswith(("universal", "fat")) else built_for


def _plain(arch: str) -> str:
    return _ARCHITECTURES.get(arch.lower(), arch.lower())


def _core_kinds(source: MachineSource, host: HostReadings) -> tuple[CoreKind, ...]:
    """Read macOS's performance levels, level 0 being the fastest.

    Their number and names differ by chip, so none is assumed. Source: Apple, "Determining system
    capabilities" (``hw.nperflevels``, ``hw.perflevelN.name`` and ``.physicalcpu``).
    """
    if host.system != "Darwin":
        return ()

    def read_sysctl(name: str) -> str:
        return source.command(_SYSCTL, "-n", f"hw.{name}") or ""

    levels, kinds = read_sysctl("nperflevels"), []
    for level in range(int(levels) if levels.isdecimal() else 0):
        count = read_sysctl(f"perflevel{level}.physicalcpu")
        if count.isdecimal():
            name = read_sysctl(f"perflevel{level}.name") or f"level {level}"
            kinds.append(CoreKind(name=name, count=int(count)))
    return tuple(kinds)


def _environment(source: MachineSource, host: HostReadings) -> PythonEnvironment | None:
    if not host.executable:
        return None  # an embedded Python has none
    kind: Literal["venv", "uv", "conda", "system"]
    managed = False
    if host.prefix != host.base_prefix:
        settings = source.text(os.path.join(host.prefix, "pyvenv.cfg")) or ""
        uv_match = re.search(r"^uv\s*=", settings, re.MULTILINE)
        kind = "uv" if uv_match and not host.pip else "venv"
    elif source.text(os.path.join(host.prefix, "conda-meta", "history")) is not None:
        kind = "conda"
    else:
        kind = "system"
        managed = source.text(os.path.join(host.stdlib, "EXTERNALLY-MANAGED")) is not None
    return PythonEnvironment(
        executable=host.executable, kind=kind, folder=host.prefix, managed=managed
    )


class LocalMachine:
    """The source for this machine."""

    def host(self) -> HostReadings:
        """Read the properties that Python reports."""
        return HostReadings(
            system=platform.system(),
            release=platform.release(),
            version=platform.version(),
            machine=platform.machine(),
            # On Linux it would start uname, which usually prints "unknown".
            processor="" if platform.system() == "Linux" else platform.processor(),
            python=platform.python_version(),
            python_platform=sysconfig.get_platform(),
            mac_version=platform.mac_ver()[0],
            linux_name=_linux_name(),
            cores_physical=psutil.cpu_count(logical=False),
            cores_logical=psutil.cpu_count(),
            memory_bytes=psutil.virtual_memory().total,
            torch=_package("torch"),
            torchvision=_package("torchvision"),
            torch_tag=wheel_platform(_metadata("torch", "WHEEL") or ""),
            torch_installer=(_metadata("torch", "INSTALLER") or "").strip() or None,
            torchvision_requires=requirement(_metadata("torchvision", "METADATA") or "", "torch"),
            executable=sys.executable or "",
            prefix=sys.prefix,
            base_prefix=sys.base_prefix,
            stdlib=sysconfig.get_path("stdlib"),
            pip=_package("pip") is not None,
        )

    def command(self, *args: str) -> str | None:
        """Run a command and return its stripped output; None if it fails or takes over 2 s."""
        try:
            completed = subprocess.run(
                args, capture_output=True, text=True, errors="replace", timeout=2, check=False
            )
        except (OSError, subprocess.TimeoutExpired):
            return None
        return completed.stdout.strip() if completed.returncode == 0 else None

    def text(self, path: str) -> str | None:
        """Read a system file's text; None if it cannot be read."""
        try:
            with open(path, encoding="utf-8", errors="replace") as file:
                return file.read()
        except OSError:
            return None

    def registry(self, key: str, value: str) -> str | None:
        """Read a text under HKEY_LOCAL_MACHINE; None if there is none, or no registry."""
        if sys.platform != "win32":
            return None
        import winreg

        try:
            with winreg.OpenKey(winreg.HKEY_LOCAL_MACHINE, key) as opened:
                return str(winreg.QueryValueEx(opened, value)[0])
        except OSError:
            return None


def _linux_name() -> str:
    try:
        release = platform.freedesktop_os_release()
    except OSError:
        return ""
    return f"{release.get('NAME', '')} {release.get('VERSION_ID', '')}".strip()


def _package(name: str) -> str | None:
    import importlib.metadata  # slow to import, and only needed here

    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None


def _metadata(name: str, file: str) -> str | None:
    import importlib.metadata

    try:
        return importlib.metadata.distribution(name).read_text(file)
    except importlib.metadata.PackageNotFoundError:
        return None

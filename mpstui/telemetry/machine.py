"""What the machine is, read in well under 100 ms and without importing torch.

Everything comes through a :class:`Source`, so that recorded machines can be read like this one.
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


class Host(msgspec.Struct, frozen=True, kw_only=True):
    """What Python and psutil say without starting a process."""

    system: str
    """``Darwin``, ``Linux``, ``Windows``, as ``platform.system`` has it."""
    release: str
    version: str
    machine: str
    """The architecture that this process sees; under Rosetta not the machine's own."""
    processor: str
    python: str
    python_platform: str
    """``sysconfig.get_platform()``, such as ``macosx-11.0-arm64``."""
    mac_version: str = ""
    linux_name: str = ""
    """Distribution and version; empty where no os-release file is found."""
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
    """``sys.base_prefix``; another than the prefix in a virtual environment."""
    stdlib: str = ""
    """The folder of the standard library."""
    pip: bool = True
    """Whether this Python has pip."""


class MachineSource(Protocol):
    """Where the readings come from."""

    def host(self) -> Host:
        """What Python itself knows."""

    def command(self, *args: str) -> str | None:
        """A command's output, stripped; None when it fails, is missing or takes too long."""

    def text(self, path: str) -> str | None:
        """A system file's text; None when it cannot be read."""

    def registry(self, key: str, value: str) -> str | None:
        """A text under HKEY_LOCAL_MACHINE; None when there is none, or no registry."""


def read_machine(source: MachineSource | None = None) -> Machine:
    """Read the machine that this process runs on.

    Args:
        source: Where to read from; this machine when left out.

    Returns:
        The machine, with None for what the system does not tell.
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
    """The first ``model name`` of a /proc/cpuinfo text, with runs of blanks closed up."""
    for line in cpuinfo.splitlines():
        key, _, value = line.partition(":")
        if key.strip() == "model name" and value.strip():
            return " ".join(value.split())
    return None


def wheel_platform(wheel: str) -> str | None:
    """The platform tag of a WHEEL file's text: ``macosx_14_0_arm64``."""
    found = re.search(r"^Tag: *[^-\s]+-[^-\s]+-(\S+)", wheel, re.MULTILINE)
    return found[1] if found else None


def requirement(metadata: str, package: str) -> str | None:
    """What a METADATA file's text requires of a package: ``torch==2.14.1``."""
    for line in metadata.splitlines():
        words = re.match(rf"Requires-Dist: ({package})(?![\w.-]) *\(?([^);]*)\)?", line)
        if words and "extra ==" not in line:
            return words[1] + words[2].strip()
    return None


def _name(source: MachineSource, host: Host) -> str:
    found: str | None = None
    if host.system == "Darwin":
        found = source.command(_SYSCTL, "-n", "machdep.cpu.brand_string")
    elif host.system == "Linux":
        found = cpu_model(source.text("/proc/cpuinfo") or "")
        if not found:  # arm64 kernels name no model there; boards name themselves here
            found = (source.text("/proc/device-tree/model") or "").strip("\0 \n")
    elif host.system == "Windows":
        # platform.processor() says "Intel64 Family 6 Model 151", which nobody recognises.
        found = source.registry(_CPU_KEY, "ProcessorNameString")
    return (found or "").strip() or host.processor or host.machine


def _system(source: MachineSource, host: Host) -> str:
    if host.system == "Darwin":
        # A Python built with an old SDK is told 10.16 for every macOS from 11 on.
        return f"macOS {source.command('/usr/bin/sw_vers', '-productVersion') or host.mac_version}"
    if host.system == "Linux" and host.linux_name:
        return host.linux_name
    if host.system == "Windows":
        return f"Windows {_windows_release(host)}"
    return f"{host.system} {host.release}".strip()


def _windows_release(host: Host) -> str:
    # Windows 11 calls itself 10.0; older Pythons pass that on.
    build = host.version.rpartition(".")[2]
    eleven = host.release == "10" and build.isdecimal() and int(build) >= _WINDOWS_11_BUILD
    return "11" if eleven else host.release


def _architecture(source: MachineSource, host: Host) -> tuple[str, bool | None]:
    """The machine's own architecture, and whether this process is translated."""
    seen = _plain(host.machine)
    if host.system != "Darwin":
        return seen, None
    if seen == "arm64":
        return seen, False
    asked = ("sysctl.proc_translated", "hw.optional.arm64")
    if any(source.command(_SYSCTL, "-n", name) == "1" for name in asked):
        return "arm64", True
    return seen, None  # an Intel Mac, which has neither name


def _python_arch(host: Host) -> str:
    built_for = _plain(host.python_platform.rpartition("-")[2])
    # A universal2 Python is what it runs as.
    return _plain(host.machine) if built_for.startswith(("universal", "fat")) else built_for


def _plain(arch: str) -> str:
    return _ARCHITECTURES.get(arch.lower(), arch.lower())


def _core_kinds(source: MachineSource, host: Host) -> tuple[CoreKind, ...]:
    """The performance levels that macOS names, level 0 being the fastest.

    Their number and names differ by chip, so none is assumed. Source: Apple, "Determining system
    capabilities" (``hw.nperflevels``, ``hw.perflevelN.name`` and ``.physicalcpu``).
    """
    if host.system != "Darwin":
        return ()

    def ask(name: str) -> str:
        return source.command(_SYSCTL, "-n", f"hw.{name}") or ""

    levels, kinds = ask("nperflevels"), []
    for level in range(int(levels) if levels.isdecimal() else 0):
        count = ask(f"perflevel{level}.physicalcpu")
        if count.isdecimal():
            name = ask(f"perflevel{level}.name") or f"level {level}"
            kinds.append(CoreKind(name=name, count=int(count)))
    return tuple(kinds)


def _environment(source: MachineSource, host: Host) -> PythonEnvironment | None:
    if not host.executable:
        return None  # an embedded Python has none
    kind: Literal["venv", "uv", "conda", "system"]
    managed = False
    if host.prefix != host.base_prefix:
        settings = source.text(os.path.join(host.prefix, "pyvenv.cfg")) or ""
        by_uv = re.search(r"^uv\s*=", settings, re.MULTILINE)
        kind = "uv" if by_uv and not host.pip else "venv"
    elif source.text(os.path.join(host.prefix, "conda-meta", "history")) is not None:
        kind = "conda"
    else:
        kind = "system"
        managed = source.text(os.path.join(host.stdlib, "EXTERNALLY-MANAGED")) is not None
    return PythonEnvironment(
        executable=host.executable, kind=kind, folder=host.prefix, managed=managed
    )


class LocalMachine:
    """This machine."""

    def host(self) -> Host:
        """What Python itself knows."""
        return Host(
            system=platform.system(),
            release=platform.release(),
            version=platform.version(),
            machine=platform.machine(),
            # On Linux it would start uname, which mostly answers "unknown".
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
        """A command's output, stripped; None when it fails, is missing or takes over 2 s."""
        try:
            done = subprocess.run(
                args, capture_output=True, text=True, errors="replace", timeout=2, check=False
            )
        except (OSError, subprocess.TimeoutExpired):
            return None
        return done.stdout.strip() if done.returncode == 0 else None

    def text(self, path: str) -> str | None:
        """A system file's text; None when it cannot be read."""
        try:
            with open(path, encoding="utf-8", errors="replace") as file:
                return file.read()
        except OSError:
            return None

    def registry(self, key: str, value: str) -> str | None:
        """A text under HKEY_LOCAL_MACHINE; None when there is none, or no registry."""
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

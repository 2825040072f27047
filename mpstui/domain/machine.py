"""A machine's chip, system, Python and installed torch. They don't change while mpstui runs."""

from __future__ import annotations

import re
from typing import Literal

import msgspec

from .bounds import Count


class CoreKind(msgspec.Struct, frozen=True, kw_only=True):
    """The cores of one kind, under the system's name for it."""

    name: str
    """``Performance``, ``Efficiency``, ``Super``, …"""
    count: Count
    """Physical cores."""


class PythonEnvironment(msgspec.Struct, frozen=True, kw_only=True):
    """The Python that is checked, and the environment that it belongs to."""

    executable: str
    """``sys.executable``; it starts this Python regardless of PATH."""
    kind: Literal["venv", "uv", "conda", "system"]
    """``uv``: a virtual environment created by uv, which has no pip."""
    folder: str = ""
    """``sys.prefix``."""
    managed: bool = False
    """The system's package manager owns it, so pip refuses to install there (PEP 668)."""

    @property
    def name(self) -> str:
        """The last part of its folder."""
        return re.split(r"[/\\]", self.folder.rstrip("/\\"))[-1]


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
    """True if this process runs under Rosetta; None on other systems than macOS."""
    cores_physical: Count | None
    cores_logical: Count | None
    memory_bytes: Count
    torch: str | None
    """Installed version by package metadata; None if it is not installed."""
    torchvision: str | None
    torch_tag: str | None = None
    """The platform tag of torch's wheel, ``macosx_14_0_arm64``; None if no wheel records it."""
    torch_installer: str | None = None
    """What installed it: ``pip``, ``uv``, ``conda``."""
    torchvision_requires: str | None = None
    """The torch that torchvision's metadata requires: ``torch==2.14.1``."""
    core_kinds: tuple[CoreKind, ...] = ()
    """The kinds of cores, fastest first; empty if the system does not distinguish them."""
    environment: PythonEnvironment | None = None
    """None if it was not read."""

    @property
    def apple_silicon(self) -> bool:
        """Whether the chip is one of Apple's own."""
        return self.system.startswith("macOS") and self.arch == "arm64"

    @property
    def platform(self) -> str:
        """The kind of system and its architecture: ``Linux x86_64``."""
        word = self.system.partition(" ")[0]
        kind = word if word in ("macOS", "Windows") or word.endswith("BSD") else "Linux"
        return f"{kind} {self.arch}"

    @property
    def mac(self) -> bool:
        """Whether it runs macOS."""
        return self.system.startswith("macOS")

    @property
    def windows(self) -> bool:
        """Whether it runs Windows."""
        return self.system.startswith("Windows")

    @property
    def macos(self) -> tuple[int, int] | None:
        """The first two numbers of the macOS version; None on other systems or if unknown."""
        match = re.match(r"macOS (\d+)(?:\.(\d+))?", self.system)
        return (int(match[1]), int(match[2] or 0)) if match else None

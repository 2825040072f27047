"""What a simulated device is like, and the environment that gives it to a process."""

from __future__ import annotations

import hashlib
import importlib.metadata
import os
from pathlib import Path
from typing import Literal

import msgspec

from mpstui.kernel_tables.tables import kernel_table

from .build import build

VARIABLE = "SIMULATED_MPS"
SITE = Path(__file__).parent / "site"
READERS = Path(__file__).parent / "readers"
"""Constructed stand-ins for the packages that read an Apple chip's use, power and energy."""


class Fault(msgspec.Struct, frozen=True):
    """An op that misbehaves.

    ``abort`` ends the process as a Metal assertion does, ``hang`` never returns, ``fail later``
    raises at the next synchronisation, and ``scale`` multiplies each floating result.
    """

    op: str
    """With its namespace and overload: ``aten::add.Tensor``."""
    how: Literal["abort", "hang", "fail later", "scale"]
    factor: float = 1.0
    from_call: int = 1
    """The first call of the process that is affected."""


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """A simulated device; a healthy one by default."""

    available: bool = True
    """False for a torch that has MPS built and finds no device."""
    recommended: int = 8 * 2**30
    """Bytes, as ``torch.mps.recommended_max_memory`` gives them."""
    limit: int = 0
    """Bytes after which an allocation raises; 0 for no limit."""
    macos: tuple[int, int] = (26, 1)
    without: tuple[str, ...] = ()
    """Kernels left out of the table: ``add.Tensor``."""
    faults: tuple[Fault, ...] = ()


def environment(settings: Settings | None = None) -> dict[str, str]:
    """This process's environment, with a simulated device in it.

    Raises:
        Unavailable: The device cannot be built here.
    """
    settings = settings or Settings()
    library = build()
    table = kernel_table(importlib.metadata.version("torch"))
    described = msgspec.json.encode(
        {
            "library": str(library),
            "kernels": sorted(table.native - set(settings.without)),
            "fallbacks": sorted(table.fallback - set(settings.without)),
            **msgspec.to_builtins(settings),
        }
    )
    file = library.with_name(f"settings-{hashlib.sha256(described).hexdigest()[:12]}.json")
    file.write_bytes(described)
    paths = [str(SITE), str(READERS), os.environ.get("PYTHONPATH", "")]
    return {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, paths)), VARIABLE: str(file)}

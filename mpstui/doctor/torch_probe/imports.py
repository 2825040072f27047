"""Imports what a worker imports, and says what came of each package before the next begins."""

from __future__ import annotations

import importlib
import importlib.metadata
import importlib.util
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from msgspec.structs import replace

from mpstui.domain.facts import PACKAGES, ImportFact

Say = Callable[[ImportFact], None]

_MODULES = {"pillow": "PIL.Image"}
"""What is imported of a package: PIL alone would not load Pillow's binary."""


def import_package(package: str, say: Say) -> bool:
    """Import one package, and say where it lies first: importing may end the process.

    Args:
        package: One of :data:`~mpstui.domain.facts.PACKAGES`.
        say: Called when the import begins, and with what came of it.

    Returns:
        Whether it was imported.
    """
    fact = _located(package)
    say(fact)
    try:
        module = importlib.import_module(_MODULES.get(package, package))
        _try(package, module)
    except Exception as error:  # noqa: BLE001 - importing runs anybody's code
        say(replace(fact, imported=False, error=f"{type(error).__name__}: {error}"))
        return False
    version = str(getattr(module, "__version__", fact.version or ""))
    say(replace(fact, imported=True, version=version))
    return True


def _try(package: str, module: object) -> None:
    """Use a package a little, where importing it does not tell."""
    if package != "torchvision" and not hasattr(module, "__version__"):
        raise ImportError("the module that was imported has no __version__")
    if package == "numpy":
        import numpy
        import torch

        # A torch that was compiled for another NumPy prints a warning, and fails here.
        torch.from_numpy(numpy.zeros(1))


def _located(package: str) -> ImportFact:
    name = _MODULES.get(package, package).partition(".")[0]
    installed, version, path = "", None, ""
    with suppress(importlib.metadata.PackageNotFoundError):
        distribution = importlib.metadata.distribution(package)
        installed = str(distribution.locate_file(name))
        version = distribution.version
    with suppress(ImportError, ValueError):
        spec = importlib.util.find_spec(name)
        if spec is not None:
            path = spec.origin or next(iter(spec.submodule_search_locations or ()), "")
    return ImportFact(
        package=package,
        imported=None,
        version=version,
        path=path,
        shadows=bool(path and installed) and not _is_below(path, installed),
    )


def _is_below(path: str, folder: str) -> bool:
    return Path(path).resolve().is_relative_to(Path(folder).resolve())


def import_others(say: Say) -> None:
    """Import what a worker imports beside torch."""
    for package in PACKAGES:
        if package != "torch":
            import_package(package, say)

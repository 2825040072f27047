"""Imports of a worker's packages; each result is reported before the next import starts."""

from __future__ import annotations

import importlib
import importlib.metadata
import importlib.util
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from msgspec.structs import replace

from mpstui.domain.facts import PACKAGES, ImportFact

Report = Callable[[ImportFact], None]

_MODULES = {"pillow": "PIL.Image"}
"""The module to import for a package: PIL alone would not load Pillow's binary."""


def import_package(package: str, report: Report) -> bool:
    """Import one package, and report its location first: importing may end the process.

    Args:
        package: One of :data:`~mpstui.domain.facts.PACKAGES`.
        report: Called when the import starts, and with its result.

    Returns:
        True if the import succeeded.
    """
    fact = _locate(package)
    report(fact)
    try:
        module = importlib.import_module(_MODULES.get(package, package))
        _use_briefly(package, module)
    except Exception as error:  # noqa: BLE001 - importing runs third-party code
        report(replace(fact, imported=False, error=f"{type(error).__name__}: {error}"))
        return False
    version = str(getattr(module, "__version__", fact.version or ""))
    report(replace(fact, imported=True, version=version))
    return True


def _use_briefly(package: str, module: object) -> None:
    """Use a package briefly, where its import alone does not show whether it works."""
    if package != "torchvision" and not hasattr(module, "__version__"):
        raise ImportError("the module that was imported has no __version__")
    if package == "numpy":
        import numpy
        import torch

        # A torch that was compiled for another NumPy warns on import and fails here.
        torch.from_numpy(numpy.zeros(1))


def _locate(package: str) -> ImportFact:
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


def import_remaining(report: Report) -> None:
    """Import a worker's packages other than torch."""
    for package in PACKAGES:
        if package != "torch":
            import_package(package, report)

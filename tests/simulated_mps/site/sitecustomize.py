"""Loads the simulated mps device into a process whose environment names one, as torch is imported.

Python imports this module when it starts, because its folder is on PYTHONPATH.
"""

from __future__ import annotations

import importlib.abc
import importlib.util
import os
import sys
from collections.abc import Sequence
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType


class BeforeTorch(importlib.abc.MetaPathFinder):
    """Finds torch as usual; the device is registered before torch runs, and completed after.

    Looking for torch is not importing it: whoever only asks where it lies changes nothing.
    """

    def __init__(self) -> None:
        self._searching = False

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """Find torch only."""
        if fullname != "torch" or self._searching:
            return None
        self._searching = True
        try:
            spec = importlib.util.find_spec("torch")
        finally:
            self._searching = False
        if spec is None or spec.loader is None or spec.origin is None:
            return spec
        execute, libraries = spec.loader.exec_module, Path(spec.origin).parent / "lib"

        def execute_with_device(module: ModuleType) -> None:
            import simulated_mps_device

            simulated_mps_device.before_torch(libraries)
            execute(module)
            simulated_mps_device.after_torch(module)

        spec.loader.exec_module = execute_with_device  # type: ignore[method-assign]
        return spec


if os.environ.get("SIMULATED_MPS"):
    sys.meta_path.insert(0, BeforeTorch())

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
    """Finds torch as usual; the device is registered before torch runs, and completed after."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """Find torch only."""
        if fullname != "torch":
            return None
        sys.meta_path.remove(self)
        spec = importlib.util.find_spec("torch")
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

"""Registers the simulated device with torch, from the settings that the environment names."""

from __future__ import annotations

import ctypes
import json
import os
from pathlib import Path
from typing import Any

NAME = "Simulated MPS device (CPU)"
CORES = 8


def before_torch(libraries: Path) -> None:
    """Register the device: torch asks its registries once, during its own import.

    Args:
        libraries: The folder of torch's own libraries.
    """
    settings = _settings()
    if (cuda := libraries / "libtorch_cuda.so").exists():
        ctypes.CDLL(str(cuda), ctypes.RTLD_GLOBAL)
    library = ctypes.CDLL(settings["library"], ctypes.RTLD_GLOBAL)
    library.simulated_mps_setup(
        ctypes.c_bool(settings["available"]),
        ctypes.c_bool(_fallback_is_on()),
        ctypes.c_size_t(settings["recommended"]),
        ctypes.c_size_t(settings["limit"]),
        *settings["macos"],
    )
    for fault in settings["faults"]:
        library.simulated_mps_fault(
            fault["op"].encode(),
            fault["how"].encode(),
            ctypes.c_double(fault["factor"]),
            ctypes.c_int64(fault["from_call"]),
        )
    library.simulated_mps_register()
    # copy_ has no kernel in the table: ATen's own sends MPS away behind ``#ifdef USE_MPS``.
    for op in (*settings["kernels"], "copy_"):
        library.simulated_mps_kernel(op.encode(), ctypes.c_bool(False))
    for op in settings["fallbacks"]:
        library.simulated_mps_kernel(op.encode(), ctypes.c_bool(True))
    library.simulated_mps_missing()


def after_torch(torch: Any) -> None:
    """Add what a Mac's torch has in Python, and the ops that only MPS has."""
    torch._C._has_mps = True
    torch._C._mps_get_name = lambda: NAME
    torch._C._mps_get_core_count = lambda: CORES
    if hasattr(torch.mps, "current_stream"):  # from 2.15 on; this device has one stream
        only = object()
        torch.mps.current_stream = torch.mps.default_stream = lambda: only
    import simulated_mps_kernels

    simulated_mps_kernels.register()


def _settings() -> Any:
    return json.loads(Path(os.environ["SIMULATED_MPS"]).read_text(encoding="utf-8"))


def _fallback_is_on() -> bool:
    # aten/src/ATen/mps/MPSFallback.mm takes any number but 0 for on.
    value = os.environ.get("PYTORCH_ENABLE_MPS_FALLBACK")
    return value is not None and value != "0"

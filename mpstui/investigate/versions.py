"""Versions, devices and threads, as PyTorch's maintainers request them; no user names or paths."""

from __future__ import annotations

import os
import platform

from mpstui.domain.environment_variables import NUMBERS
from mpstui.domain.machine import Machine


def package_versions(machine: Machine) -> dict[str, str]:
    """Return the first lines of ``torch.utils.collect_env`` by name; fewer without torch."""
    versions = {
        "Python": f"{platform.python_version()} ({machine.python_arch})",
        "OS": f"{machine.system} {machine.arch}",
        "CPU": machine.name,
    }
    try:
        import torch
    except ImportError:
        return {"PyTorch": "—, it cannot be imported", **versions}
    debug = ", debug build" if torch.version.debug else ""
    versions = {
        "PyTorch": f"{torch.__version__} (git {str(torch.version.git_version)[:12]}){debug}",
        "Built with": _built(),
        **versions,
        "Devices": "; ".join(_devices()) or "none but the CPU",
        "Threads": f"{torch.get_num_threads()} in an op, {torch.get_num_interop_threads()} between",
    }
    variables = [f"{name}={os.environ[name]}" for name in NUMBERS if name in os.environ]
    return versions | ({"Variables": ", ".join(variables)} if variables else {})


def _built() -> str:
    import torch

    parts = [
        f"CUDA {torch.version.cuda}" if torch.version.cuda else "no CUDA",
        *([f"ROCm {torch.version.hip}"] if torch.version.hip else []),
        "MPS" if torch.backends.mps.is_built() else "no MPS",
        "MKL" if torch._C.has_mkl else "no MKL",
    ]
    return ", ".join(parts)


def _devices() -> list[str]:
    import torch

    devices = []
    if torch.backends.mps.is_available():
        devices.append(f"MPS, its driver is that of macOS {platform.mac_ver()[0]}")
    if torch.cuda.is_available():
        version = int(getattr(torch._C, "_cuda_getDriverVersion", int)())
        driver = f"driver for CUDA {version // 1000}.{version % 1000 // 10}"
        names = [torch.cuda.get_device_name(n) for n in range(torch.cuda.device_count())]
        devices += [f"{name}, {driver}" for name in names]
    return devices

"""Every device type that torch names: whether it is built and available, or why not."""

from __future__ import annotations

import ctypes
import os
import re
import sys
import time
from typing import Protocol

from mpstui.doctor.probes import NOT_BUILT
from mpstui.domain.facts import DeviceFact, MpsFacts, TorchFacts

from .attempt import TORCH_ERRORS, attempt, error_line
from .kernels import mps_kernels
from .mac import mps_device, mps_facts

KNOWN_TYPES = (
    *("cpu", "cuda", "ipu", "xpu", "mkldnn", "opengl", "opencl", "ideep", "hip", "ve", "fpga"),
    *("maia", "xla", "lazy", "vulkan", "mps", "meta", "hpu", "mtia", "privateuseone"),
)
"""The types of torch 2.14.1, for a torch whose message has another form."""

_KEYS = {
    **{"cpu": "CPU", "cuda": "CUDA", "hip": "HIP", "mps": "MPS", "xpu": "XPU", "ipu": "IPU"},
    **{"vulkan": "Vulkan", "xla": "XLA", "lazy": "Lazy", "meta": "Meta", "hpu": "HPU", "ve": "VE"},
    **{"fpga": "FPGA", "maia": "MAIA", "mtia": "MTIA", "mkldnn": "MkldnnCPU"},
    **{"privateuseone": "PrivateUse1"},
}
"""Device type to dispatch key."""


class _Runtime(Protocol):
    """The common interface of ``torch.cuda`` and similar modules."""

    def init(self) -> None: ...
    def is_available(self) -> bool: ...
    def device_count(self) -> int: ...
    def get_device_name(self, index: int) -> str: ...
    def get_device_properties(self, index: int) -> _Properties: ...


class _Properties(Protocol):
    total_memory: int


def device_types(message: str) -> tuple[str, ...]:
    """Return the device types that torch lists in its error about an unknown one.

    Args:
        message: The error's text, ``Expected one of cpu, cuda, … device type at start of …``.
    """
    match = re.search(r"one of ((?:\w+, )*\w+) device type", message)
    return tuple(dict.fromkeys(match[1].split(", "))) if match else KNOWN_TYPES


def facts() -> TorchFacts:
    """Import torch and query every device type that it names."""
    start = time.perf_counter()
    import torch

    seconds = time.perf_counter() - start
    try:
        torch.device("nosuchdevice")
    except RuntimeError as error:
        kinds = device_types(str(error))
    mps = mps_facts()
    default, _ = attempt(lambda: torch.accelerator.current_accelerator(check_available=True))
    return TorchFacts(
        version=str(torch.__version__),
        cuda=torch.version.cuda,
        hip=torch.version.hip,
        arches=arches(),
        git=torch.version.git_version,
        default_accelerator=None if default is None else str(default),
        threads=torch.get_num_threads(),
        devices=tuple(fact for kind in kinds for fact in _type_facts(kind, mps)),
        import_seconds=seconds,
        interop_threads=torch.get_num_interop_threads(),
        openmp=torch.backends.openmp.is_available(),  # type: ignore[no-untyped-call]
        cuda_driver=cuda_driver(),
        mps=mps,
        mps_kernels=mps_kernels(),
    )


def arches() -> tuple[str, ...]:
    """Return the architectures that this torch has kernels for, without querying a GPU."""
    import torch

    # get_arch_list() returns nothing where CUDA is not available.
    flags, _ = attempt(lambda: torch._C._cuda_getArchFlags())
    return tuple(str(flags).split()) if flags else ()


def _type_facts(kind: str, mps: MpsFacts | None) -> list[DeviceFact]:
    try:
        return _query_type(kind, mps)
    except TORCH_ERRORS as error:
        return [
            DeviceFact(
                device=kind, built=None, available=None, usable=None, reason=error_line(error)
            )
        ]


def _query_type(kind: str, mps: MpsFacts | None) -> list[DeviceFact]:
    import torch

    built = torch.backends.mps.is_built() if kind == "mps" else _has_kernels(kind)
    if not built:
        return [_absent(kind, NOT_BUILT, built=False)]
    if kind == "cpu":
        return [DeviceFact(device="cpu", built=True, available=True, usable=None)]
    if kind == "meta":
        reason = "holds shapes but no data, so nothing can be trained there"
        return [DeviceFact(device="meta", built=True, available=True, usable=False, reason=reason)]
    if kind == "mkldnn":
        return [_absent(kind, "deprecated as a device type: oneDNN's kernels serve the cpu")]
    if kind == "mps":
        return [mps_device(mps)]
    module, why = attempt(lambda: _runtime(kind))
    if module is None:
        return [DeviceFact(device=kind, built=True, available=None, usable=None, reason=why)]
    if not module.is_available():
        return [_absent(kind, _why_unavailable(kind, module))]
    if kind in ("cuda", "xpu"):
        return [_indexed_device(kind, index, module) for index in range(module.device_count())]
    return [DeviceFact(device=kind, built=True, available=True, usable=None)]


def _runtime(kind: str) -> _Runtime:
    import torch

    module: _Runtime = torch.get_device_module(kind)
    return module


def _has_kernels(kind: str) -> bool:
    import torch

    # opengl, opencl and ideep are leftovers of Caffe2: names without a dispatch key. A key that
    # this torch cannot parse has no kernels either.
    key = _KEYS.get(kind)
    if key is None:
        return False
    has_kernel_for_key = torch._C._dispatch_has_kernel_for_dispatch_key
    has_kernel, _ = attempt(lambda: has_kernel_for_key("aten::empty.memory_format", key))
    return bool(has_kernel)


def _absent(kind: str, reason: str, *, built: bool = True) -> DeviceFact:
    return DeviceFact(device=kind, built=built, available=False, usable=False, reason=reason)


def _why_unavailable(kind: str, module: _Runtime) -> str:
    """Return the error of initialising, since ``is_available`` returns False without a reason."""
    _, why = attempt(lambda: module.init())
    reason = why or "torch finds no such device"
    visible = os.environ.get("CUDA_VISIBLE_DEVICES") if kind == "cuda" else None
    return reason if visible is None else f"{reason} (CUDA_VISIBLE_DEVICES is {visible!r})"


def _indexed_device(kind: str, index: int, module: _Runtime) -> DeviceFact:
    device = f"{kind}:{index}"
    name, why = attempt(lambda: str(module.get_device_name(index)))
    memory, _ = attempt(lambda: int(module.get_device_properties(index).total_memory))
    return DeviceFact(
        device=device,
        built=True,
        available=name is not None,
        usable=None if name is not None else False,
        name=name,
        memory_bytes=memory,
        capability=_capability(index) if kind == "cuda" else None,
        reason=why,
    )


def _capability(index: int) -> str | None:
    import torch

    if torch.version.hip:
        name, _ = attempt(lambda: str(torch.cuda.get_device_properties(index).gcnArchName))
        return name.partition(":")[0] if name else None
    numbers, _ = attempt(lambda: torch.cuda.get_device_capability(index))
    return f"sm_{numbers[0]}{numbers[1]}" if numbers else None


def cuda_driver() -> str | None:
    """Return the CUDA version that the driver supports; None without a driver.

    ``cuDriverGetVersion`` needs no initialised driver, so it works where torch only reports that
    something is too old.
    """
    library = "nvcuda.dll" if sys.platform == "win32" else "libcuda.so.1"
    try:
        driver = ctypes.CDLL(library)
    except OSError:
        return None
    version = ctypes.c_int(0)
    if driver.cuDriverGetVersion(ctypes.byref(version)) != 0 or not version.value:
        return None
    return f"{version.value // 1000}.{version.value % 1000 // 10}"

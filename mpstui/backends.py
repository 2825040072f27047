"""What differs between devices, in one place: engine, doctor and op checks share the rest.

MPS facts are from torch's own ``torch/mps`` and from known threads: no float64, no pinned memory,
one Python thread per process, and allocator counters of its own (``torch.accelerator``'s answer an
empty table there, which would read as zero bytes).
"""

from __future__ import annotations

import contextlib
import os
from contextlib import AbstractContextManager
from typing import Any, ClassVar

import psutil
import torch
from typing_extensions import override

from .domain.devices import DeviceSpec
from .domain.environment_variables import FAST_MATH, anything_but_zero
from .domain.errors import DeviceUnavailable


def host_room() -> int:
    """Half of the bytes of memory that the system can hand out without swapping."""
    return psutil.virtual_memory().available // 2


HALVES = {"bf16": torch.bfloat16, "fp16": torch.float16}
"""Types that autocast computes in, by the precision's name."""


class Backend:
    """A device that can be trained on; this base is the CPU."""

    loader_options: ClassVar[dict[str, Any]] = {}
    """What the article's script gives its DataLoader on this device."""

    pins: ClassVar[bool] = False
    """Whether copies from pinned memory of the host are quicker. MPS has no such memory."""

    def __init__(self, spec: DeviceSpec) -> None:
        self.spec = spec
        self.device = torch.device(spec.device)

    def name(self) -> str:
        """The hardware's own name."""
        return f"CPU, {torch.backends.cpu.get_cpu_capability()}"

    def synchronize(self) -> None:
        """Wait until everything that was launched is done. The CPU is always done."""

    def allocated(self) -> int | None:
        """Bytes of tensors that the device's allocator holds; None where it does not count."""
        return None

    def room(self) -> int:
        """Bytes that a check may take without getting in anybody's way."""
        return host_room()

    def dtypes(self) -> tuple[torch.dtype, ...]:
        """Floating-point types that models are trained in here, the usual one first."""
        return (torch.float32, torch.float16, torch.bfloat16, torch.float64)

    def check(self) -> None:
        """Touch the device.

        Raises:
            DeviceUnavailable: When it is not there; the message says why, in torch's words.
        """

    def set_precision(self, precision: str) -> tuple[str, ...]:
        """Make ``float32`` mean float32: TF32 stays off unless it was asked for.

        By default torch lets cuDNN's convolutions use TF32.

        Returns:
            Notes for the reader of the results.
        """
        if precision in HALVES:
            scaled = ", gradients scaled" if precision == "fp16" else ""
            return (f"{precision} autocast{scaled}: a lower precision than the article's float32",)
        return ()

    def lower_precision(self, precision: str) -> list[tuple[str, str]]:
        """What makes results less exact than float32, each with the switch that removes it."""
        if precision in HALVES:
            switch = "train with --precision float32, without torch.autocast"
            return [(f"{precision} autocast", switch)]
        return []

    def autocast(self, precision: str) -> AbstractContextManager[Any]:
        """The context that a forward pass runs in."""
        if precision in HALVES:
            return torch.autocast(self.device.type, dtype=HALVES[precision])
        return contextlib.nullcontext()

    def scaler(self, precision: str) -> torch.amp.GradScaler | None:
        """What keeps half-precision gradients from vanishing; None where none is needed.

        Source: Micikevicius et al., "Mixed Precision Training", ICLR 2018 (arXiv:1710.03740),
        section 3.2. bf16 has float32's range.
        """
        return torch.amp.GradScaler(self.device.type) if precision == "fp16" else None


class Accelerator(Backend):
    """CUDA (and XPU): a device behind ``torch.accelerator``."""

    @override
    def name(self) -> str:
        return str(torch.get_device_module(self.device).get_device_name(self.device))

    @override
    def synchronize(self) -> None:
        torch.accelerator.synchronize(self.device)

    @override
    def allocated(self) -> int | None:
        return torch.accelerator.memory_allocated(self.device)

    @override
    def room(self) -> int:
        free, _ = torch.get_device_module(self.device).mem_get_info(self.device)
        return int(free) // 2

    @override
    def check(self) -> None:
        try:
            torch.zeros(1, device=self.device)
        except (RuntimeError, AssertionError, NotImplementedError) as error:
            why = str(error).splitlines()[0].partition(". ")[0]
            raise DeviceUnavailable(f"device: {self.spec.device}: {why}") from error
        if self.spec.index is not None:
            torch.accelerator.set_device_index(self.spec.index)


class Cuda(Accelerator):
    """NVIDIA's, or AMD's under the same name."""

    loader_options: ClassVar[dict[str, Any]] = {"num_workers": 1, "pin_memory": True}
    pins: ClassVar[bool] = True

    @override
    def set_precision(self, precision: str) -> tuple[str, ...]:
        wanted = "tf32" if precision == "tf32" else "ieee"
        torch.backends.cuda.matmul.fp32_precision = wanted
        torch.backends.cudnn.conv.fp32_precision = wanted  # type: ignore[attr-defined,unused-ignore]
        torch.backends.cudnn.rnn.fp32_precision = wanted  # type: ignore[attr-defined,unused-ignore]
        if precision == "tf32":
            return ("TF32: products of float32 with 10 bits of mantissa",)
        return super().set_precision(precision)

    @override
    def lower_precision(self, precision: str) -> list[tuple[str, str]]:
        if precision == "tf32":
            switch = "torch.backends.cuda.matmul.fp32_precision = 'ieee', and cudnn.conv's likewise"
            return [("TF32", f"train with --precision float32 ({switch})")]
        return super().lower_precision(precision)


class Mps(Accelerator):
    """Apple's Metal Performance Shaders."""

    @override
    def name(self) -> str:
        get_name = getattr(torch.backends.mps, "get_name", None)  # not in every torch we allow
        return str(get_name()) if get_name is not None else "MPS"

    @override
    def synchronize(self) -> None:
        torch.mps.synchronize()

    @override
    def allocated(self) -> int | None:
        return torch.mps.current_allocated_memory()

    @override
    def room(self) -> int:
        # Unified memory: the GPU takes it from the same bytes as every other program. torch.mps has
        # no mem_get_info.
        free = torch.mps.recommended_max_memory() - torch.mps.driver_allocated_memory()
        return min(free // 2, host_room())

    @override
    def dtypes(self) -> tuple[torch.dtype, ...]:
        halves = (torch.float16, torch.bfloat16)
        macos14 = torch.backends.mps.is_macos_or_newer(14, 0)
        return (torch.float32, *(halves if macos14 else halves[:1]))

    @override
    def lower_precision(self, precision: str) -> list[tuple[str, str]]:
        causes = super().lower_precision(precision)
        if anything_but_zero(os.environ.get(FAST_MATH, "0")):
            causes.append(("fast math", f"unset {FAST_MATH}"))
        return causes


_BACKENDS: dict[str, type[Backend]] = {
    "cpu": Backend,
    "cuda": Cuda,
    "xpu": Accelerator,
    "mps": Mps,
}


def open_backend(spec: DeviceSpec) -> Backend:
    """The backend of a device spec, with the spec's thread count set.

    Raises:
        DeviceUnavailable: When torch cannot put a tensor there.
    """
    threads = spec.option("threads")
    if threads is not None:
        torch.set_num_threads(int(threads))
    backend = _BACKENDS[spec.type](spec)
    backend.check()
    return backend

"""The differences between devices; everything else is shared by engine, doctor and op checks.

The facts about MPS are from ``torch/mps`` and from known threads: no float64, no pinned memory, one
Python thread per process, and separate allocator counters (``torch.accelerator`` returns an empty
table there, which would look like zero bytes).
"""

from __future__ import annotations

import contextlib
import os
from contextlib import AbstractContextManager
from typing import Any, ClassVar, Literal

import psutil
import torch
from typing_extensions import override

from .domain.devices import DeviceSpec
from .domain.environment_variables import FAST_MATH, anything_but_zero
from .domain.errors import DeviceUnavailable
from .domain.plan import PLAIN, Plan


def available_host_bytes() -> int:
    """Return half of the bytes of memory that are available without swapping."""
    return psutil.virtual_memory().available // 2


HALVES = {"bf16": torch.bfloat16, "fp16": torch.float16}
"""Dtypes of autocast, by the precision's name."""


RngState = dict[str, torch.Tensor]
"""States of torch's default generators by device type: ``cpu``, and the device's own."""


class Backend:
    """A device to train on; this base class is the CPU."""

    is_asynchronous: ClassVar[bool] = False
    """Whether calls return before their work on the device is done."""

    copies: ClassVar[Literal["none", "queue", "stream"]] = "none"
    """How batches reach the device: not at all, in the queue of the steps, or on a stream."""

    autotuned: ClassVar[frozenset[str]] = frozenset(
        {"allocator", "threads", "eval_chunk", "byte-dropout"}
    )
    """Fields of a plan, and rewrites, that autotune tries on this type of device only."""

    usual_plan: ClassVar[Plan] = Plan(rewrites=("pool-first", "byte-dropout"), allocator="keep")
    """What usually wins on this type of device, and a run starts with where no plan is saved. It
    is :data:`~mpstui.domain.plan.PLAIN` where that was never measured; else the fused optimizer
    comes with it, or a flat one."""

    loader_options: ClassVar[dict[str, Any]] = {}
    """DataLoader options of the article's script on this device."""

    pins: ClassVar[bool] = False
    """Whether copies from pinned host memory are faster. MPS has no pinned memory."""

    def __init__(self, spec: DeviceSpec) -> None:
        self.spec = spec
        self.device = torch.device(spec.device)

    def name(self) -> str:
        """Return the hardware's name."""
        return f"CPU, {torch.backends.cpu.get_cpu_capability()}"

    def synchronize(self) -> None:
        """Wait until all launched work is done. On the CPU it always is."""

    def rng_state(self) -> RngState:
        """Return the generators' current states."""
        return {"cpu": torch.get_rng_state()}

    def set_rng_state(self, states: RngState) -> None:
        """Set the generators' states; one without a state in ``states`` is not changed."""
        torch.set_rng_state(states["cpu"])

    def allocated(self) -> int | None:
        """Return the bytes of tensors in the device's allocator; None if it does not count them."""
        return None

    def room(self) -> int:
        """Return the bytes that a check may use without disturbing other programs."""
        return available_host_bytes()

    def dtypes(self) -> tuple[torch.dtype, ...]:
        """Return the floating-point dtypes for training on this device, the default first."""
        return (torch.float32, torch.float16, torch.bfloat16, torch.float64)

    def check(self) -> None:
        """Check that the device works.

        Raises:
            DeviceUnavailable: If it is not available; the message has torch's reason.
        """

    def set_precision(self, precision: str) -> tuple[str, ...]:
        """Set the precision; ``float32`` disables TF32.

        By default torch lets cuDNN's convolutions use TF32.

        Returns:
            Notes for the reader of the results.
        """
        if precision in HALVES:
            scaled = ", gradients scaled" if precision == "fp16" else ""
            return (f"{precision} autocast{scaled}: a lower precision than the article's float32",)
        return ()

    def lower_precision(self, precision: str) -> list[tuple[str, str]]:
        """Return causes of results less exact than float32, each with the setting to change."""
        if precision in HALVES:
            switch = "train with --precision float32, without torch.autocast"
            return [(f"{precision} autocast", switch)]
        return []

    def autocast(self, precision: str) -> AbstractContextManager[Any]:
        """Return the context for a forward pass."""
        if precision in HALVES:
            return torch.autocast(self.device.type, dtype=HALVES[precision])
        return contextlib.nullcontext()

    def scaler(self, precision: str) -> torch.amp.GradScaler | None:
        """Return a gradient scaler that prevents fp16 underflow; None if not needed.

        Source: Micikevicius et al., "Mixed Precision Training", ICLR 2018 (arXiv:1710.03740),
        section 3.2. bf16 has float32's range.
        """
        return torch.amp.GradScaler(self.device.type) if precision == "fp16" else None


class Accelerator(Backend):
    """A CUDA or XPU device, accessed through ``torch.accelerator``."""

    is_asynchronous: ClassVar[bool] = True
    copies: ClassVar[Literal["none", "queue", "stream"]] = "stream"
    autotuned: ClassVar[frozenset[str]] = frozenset()
    usual_plan: ClassVar[Plan] = PLAIN

    @override
    def name(self) -> str:
        return str(torch.get_device_module(self.device).get_device_name(self.device))

    @override
    def synchronize(self) -> None:
        torch.accelerator.synchronize(self.device)

    @override
    def rng_state(self) -> RngState:
        state = torch.get_device_module(self.device).get_rng_state(self.device)
        return {**super().rng_state(), self.device.type: state}

    @override
    def set_rng_state(self, states: RngState) -> None:
        super().set_rng_state(states)
        if (state := states.get(self.device.type)) is not None:
            torch.get_device_module(self.device).set_rng_state(state, self.device)

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
        except (RuntimeError, AssertionError, NotImplementedError, ImportError) as error:
            reason = str(error).splitlines()[0].partition(". ")[0]
            raise DeviceUnavailable(f"device: {self.spec.device}: {reason}") from error
        if self.spec.index is not None:
            torch.accelerator.set_device_index(self.spec.index)


class Cuda(Accelerator):
    """An NVIDIA GPU, or an AMD GPU under the same device type."""

    loader_options: ClassVar[dict[str, Any]] = {"num_workers": 1, "pin_memory": True}
    pins: ClassVar[bool] = True
    autotuned: ClassVar[frozenset[str]] = frozenset({"graph_steps", "bias-apart"})
    usual_plan: ClassVar[Plan] = Plan(rewrites=("pool-first",), graph_steps=1)

    @override
    def set_precision(self, precision: str) -> tuple[str, ...]:
        precision_mode = "tf32" if precision == "tf32" else "ieee"
        torch.backends.cuda.matmul.fp32_precision = precision_mode
        torch.backends.cudnn.conv.fp32_precision = precision_mode  # type: ignore[attr-defined,unused-ignore]
        torch.backends.cudnn.rnn.fp32_precision = precision_mode  # type: ignore[attr-defined,unused-ignore]
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
    """Apple's GPU, through Metal Performance Shaders."""

    copies: ClassVar[Literal["none", "queue", "stream"]] = "queue"

    @override
    def name(self) -> str:
        get_name = getattr(
            torch.backends.mps, "get_name", None
        )  # missing in some supported versions of torch
        return str(get_name()) if get_name is not None else "MPS"

    @override
    def synchronize(self) -> None:
        torch.mps.synchronize()

    @override
    def rng_state(self) -> RngState:
        return {"cpu": torch.get_rng_state(), "mps": torch.mps.get_rng_state()}

    @override
    def set_rng_state(self, states: RngState) -> None:
        torch.set_rng_state(states["cpu"])
        if (state := states.get("mps")) is not None:
            torch.mps.set_rng_state(state)

    @override
    def allocated(self) -> int | None:
        return torch.mps.current_allocated_memory()

    @override
    def room(self) -> int:
        # Unified memory: the GPU shares it with all other programs. torch.mps has no mem_get_info.
        free = torch.mps.recommended_max_memory() - torch.mps.driver_allocated_memory()
        return min(free // 2, available_host_bytes())

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


BACKENDS: dict[str, type[Backend]] = {
    "cpu": Backend,
    "cuda": Cuda,
    "xpu": Accelerator,
    "mps": Mps,
}
"""The class of each device type in :data:`mpstui.domain.devices.DEVICE_TYPES`."""


def open_backend(spec: DeviceSpec) -> Backend:
    """Open the backend of a device spec and set the spec's thread count.

    Raises:
        DeviceUnavailable: If torch cannot create a tensor there.
    """
    threads = spec.option("threads")
    if threads is not None:
        torch.set_num_threads(int(threads))
    backend = BACKENDS[spec.type](spec)
    backend.check()
    return backend

"""What torch says, asked in a process of its own, because asking can abort or hang that process.

``python -m mpstui.doctor.torch_probe facts`` prints a :class:`TorchFacts`, and ``… use DEVICE`` a
:class:`Trial`, each as one line of JSON. Whatever torch or a driver prints goes to stderr.
"""

from __future__ import annotations

import os
import platform
import re
import subprocess
import sys
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Protocol, TypeVar

import msgspec

from mpstui.doctor.probes import NOT_BUILT, Trial
from mpstui.domain.machine import DeviceFact, TorchFacts

if TYPE_CHECKING:
    import torch

T = TypeVar("T")

KNOWN_TYPES = (
    *("cpu", "cuda", "ipu", "xpu", "mkldnn", "opengl", "opencl", "ideep", "hip", "ve", "fpga"),
    *("maia", "xla", "lazy", "vulkan", "mps", "meta", "hpu", "mtia", "privateuseone"),
)
"""Those that torch 2.14.1 names, for a torch whose message has another form."""

_KEYS = {
    **{"cpu": "CPU", "cuda": "CUDA", "hip": "HIP", "mps": "MPS", "xpu": "XPU", "ipu": "IPU"},
    **{"vulkan": "Vulkan", "xla": "XLA", "lazy": "Lazy", "meta": "Meta", "hpu": "HPU", "ve": "VE"},
    **{"fpga": "FPGA", "maia": "MAIA", "mtia": "MTIA", "mkldnn": "MkldnnCPU"},
    **{"privateuseone": "PrivateUse1"},
}
"""Device type to dispatch key."""

TORCH_ERRORS = (
    *(RuntimeError, AssertionError, AttributeError, ImportError),
    *(OSError, TypeError, ValueError),
)
"""What torch raises for a device that it cannot use, in one place or another."""

TOLERANCE = 1e-3
"""Largest allowed difference from the CPU, as a share of the tensor's largest absolute value.

A gradient of the convolution is a sum of 64 · 26 · 26 = 43,264 products. Float32 rounds each to
6e-8, and in another order such a sum moves by about sqrt(43,264) · 6e-8 = 1.2e-5; an H100 with
torch 2.11 came within 8e-7. Real faults are at 0.2 and above. 1e-3 lies well clear of both. TF32
is off: it rounds each factor to 5e-4, which is a setting and no fault.
"""

_TIMED = 5


class _Runtime(Protocol):
    """What ``torch.cuda`` and its like have in common."""

    def init(self) -> None: ...
    def is_available(self) -> bool: ...
    def device_count(self) -> int: ...
    def get_device_name(self, index: int) -> str: ...
    def get_device_properties(self, index: int) -> _Properties: ...


class _Properties(Protocol):
    total_memory: int


def device_types(message: str) -> tuple[str, ...]:
    """The device types that torch lists when it is asked for one that does not exist.

    Args:
        message: The error's text, ``Expected one of cpu, cuda, … device type at start of …``.
    """
    found = re.search(r"one of ((?:\w+, )*\w+) device type", message)
    return tuple(dict.fromkeys(found[1].split(", "))) if found else KNOWN_TYPES


def first_sentence(text: str) -> str:
    """The first sentence of an error's first line, without its full stop; cut at 200 characters."""
    line = " ".join(next(iter(text.strip().splitlines()), "").split())
    return re.split(r"(?<=[\w)\]'\"+])[.!](?:\s|$)", line, maxsplit=1)[0].rstrip(". ")[:200]


def _said(error: BaseException) -> str:
    return first_sentence(str(error)) or type(error).__name__


def _ask(question: Callable[[], T]) -> tuple[T | None, str]:
    """The answer, or None and why there is none."""
    try:
        return question(), ""
    except TORCH_ERRORS as error:
        return None, _said(error)


def facts() -> TorchFacts:
    """Import torch and ask it about every device type that it names."""
    start = time.perf_counter()
    import torch

    seconds = time.perf_counter() - start
    try:
        torch.device("nosuchdevice")
    except RuntimeError as error:
        kinds = device_types(str(error))
    default, _ = _ask(lambda: torch.accelerator.current_accelerator(check_available=True))
    return TorchFacts(
        version=str(torch.__version__),
        cuda=torch.version.cuda,
        git=torch.version.git_version,
        default_accelerator=None if default is None else str(default),
        threads=torch.get_num_threads(),
        devices=tuple(fact for kind in kinds for fact in _type_facts(kind)),
        import_seconds=seconds,
    )


def _type_facts(kind: str) -> list[DeviceFact]:
    try:
        return _ask_type(kind)
    except TORCH_ERRORS as error:
        return [
            DeviceFact(device=kind, built=None, available=None, usable=None, reason=_said(error))
        ]


def _ask_type(kind: str) -> list[DeviceFact]:
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
        return [_mps()]
    module, why = _ask(lambda: _runtime(kind))
    if module is None:
        return [DeviceFact(device=kind, built=True, available=None, usable=None, reason=why)]
    if not module.is_available():
        return [_absent(kind, _why_unavailable(kind, module))]
    if kind in ("cuda", "xpu"):
        return [_numbered(kind, index, module) for index in range(module.device_count())]
    return [DeviceFact(device=kind, built=True, available=True, usable=None)]


def _runtime(kind: str) -> _Runtime:
    import torch

    module: _Runtime = torch.get_device_module(kind)
    return module


def _has_kernels(kind: str) -> bool:
    import torch

    # opengl, opencl and ideep are Caffe2's leftovers: names without a dispatch key. A key that this
    # torch cannot parse has no kernels in it either.
    key = _KEYS.get(kind)
    if key is None:
        return False
    has = torch._C._dispatch_has_kernel_for_dispatch_key
    found, _ = _ask(lambda: has("aten::empty.memory_format", key))
    return bool(found)


def _absent(kind: str, reason: str, *, built: bool = True) -> DeviceFact:
    return DeviceFact(device=kind, built=built, available=False, usable=False, reason=reason)


def _why_unavailable(kind: str, module: _Runtime) -> str:
    """What initialising says, since ``is_available`` answers no without a word."""
    _, why = _ask(lambda: module.init())
    reason = why or "torch finds no such device"
    visible = os.environ.get("CUDA_VISIBLE_DEVICES") if kind == "cuda" else None
    return reason if visible is None else f"{reason} (CUDA_VISIBLE_DEVICES is {visible!r})"


def _numbered(kind: str, index: int, module: _Runtime) -> DeviceFact:
    device = f"{kind}:{index}"
    name, why = _ask(lambda: str(module.get_device_name(index)))
    memory, _ = _ask(lambda: int(module.get_device_properties(index).total_memory))
    return DeviceFact(
        device=device,
        built=True,
        available=name is not None,
        usable=None if name is not None else False,
        name=name,
        memory_bytes=memory,
        reason=why,
    )


def _mps() -> DeviceFact:
    import torch

    if not torch.backends.mps.is_available():
        return _absent("mps", mps_reason(_macos()))
    name, _ = _ask(lambda: torch.backends.mps.get_name())
    memory, _ = _ask(lambda: int(torch.mps.recommended_max_memory()))
    return DeviceFact(
        device="mps", built=True, available=True, usable=None, name=name, memory_bytes=memory
    )


def mps_reason(macos: str) -> str:
    """Why a built MPS may be unavailable; torch's own words blame the macOS version, often wrongly.

    Args:
        macos: The version, such as ``26.1``; empty when unknown.
    """
    return (
        f"built, but unavailable on macOS {macos or 'of unknown version'}: "
        "perhaps no Metal device is visible to this process (ssh, VM, sandbox)"
    )


def _macos() -> str:
    # platform.mac_ver says 10.16 where Python was built with an old SDK.
    try:
        return subprocess.run(
            ["/usr/bin/sw_vers", "-productVersion"],
            capture_output=True,
            text=True,
            timeout=2,
            check=True,
        ).stdout.strip()
    except (OSError, subprocess.SubprocessError):
        return platform.mac_ver()[0]


def use(device: str) -> Trial:
    """Train one step on a device and compare it with the CPU's."""
    # With it, ops that MPS lacks would run on the CPU, and the CPU would be judged.
    os.environ.pop("PYTORCH_ENABLE_MPS_FALLBACK", None)
    try:
        return _try(device)
    except TORCH_ERRORS as error:
        return Trial(device=device, usable=False, reason=_said(error))


def _try(device: str) -> Trial:
    import copy
    import statistics

    import torch
    from torch import nn

    torch.backends.cuda.matmul.fp32_precision = "ieee"
    torch.backends.cudnn.conv.fp32_precision = "ieee"  # type: ignore[attr-defined]
    torch.manual_seed(0)
    on_cpu = nn.Sequential(nn.Conv2d(1, 8, 3), nn.ReLU(), nn.Flatten(), nn.Linear(8 * 26 * 26, 10))
    images, labels = torch.randn(64, 1, 28, 28), torch.randint(10, (64,))
    on_device = copy.deepcopy(on_cpu).to(device)
    images_there, labels_there = images.to(device), labels.to(device)

    def step(model: nn.Module, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        model.zero_grad()
        loss = nn.functional.cross_entropy(model(x), y)
        loss.backward()  # type: ignore[no-untyped-call]
        return loss.detach()

    def synchronise() -> None:
        if device != "cpu":
            torch.accelerator.synchronize(torch.device(device))

    there, here = step(on_device, images_there, labels_there), step(on_cpu, images, labels)
    pairs = {"the loss": (there, here)}
    for (name, ours), theirs in zip(on_device.named_parameters(), on_cpu.parameters(), strict=True):
        pairs[f"the gradient of {name}"] = (_gradient(ours), _gradient(theirs))
    for what, (there, here) in pairs.items():
        expected = here.double()
        gap = float((there.cpu().double() - expected).abs().max() / expected.abs().max())
        if not gap <= TOLERANCE:  # a NaN is no agreement either
            reason = f"{what} differs from the CPU's by {gap:.1e} (allowed: {TOLERANCE:g})"
            return Trial(device=device, usable=False, reason=reason)
    times = []
    for _ in range(_TIMED):
        synchronise()
        start = time.perf_counter()
        step(on_device, images_there, labels_there)
        synchronise()
        times.append(time.perf_counter() - start)
    return Trial(device=device, usable=True, milliseconds=1e3 * statistics.median(times))


def _gradient(parameter: torch.Tensor) -> torch.Tensor:
    if parameter.grad is None:
        raise RuntimeError("backward left a parameter without a gradient")
    return parameter.grad.clone()


def main(arguments: list[str]) -> int:
    """Run one question and print its answer on the real stdout.

    Returns:
        The exit status: 0, or 2 for a question that is not understood.
    """
    answer: TorchFacts | Trial
    with os.fdopen(os.dup(1), "w", encoding="utf-8") as stdout:
        os.dup2(2, 1)  # from here on, C++ and Python that print to stdout reach stderr
        match arguments:
            case ["facts"]:
                answer = facts()
            case ["use", device]:
                answer = use(device)
            case _:
                sys.stderr.write("usage: python -m mpstui.doctor.torch_probe facts | use DEVICE\n")
                return 2
        stdout.write(msgspec.json.encode(answer).decode() + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

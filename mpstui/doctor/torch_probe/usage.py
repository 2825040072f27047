"""A trial of one device: one training step, compared with the CPU's."""

from __future__ import annotations

import copy
import os
import statistics
import time
from typing import TYPE_CHECKING

from mpstui.doctor.probes import DeviceTrial
from mpstui.domain.devices import TYPES, DeviceSpec, parse_device

from .attempt import TORCH_ERRORS, error_line

if TYPE_CHECKING:
    import torch

TOLERANCE = 1e-3
"""Largest allowed difference from the CPU, as a share of the tensor's largest absolute value.

A gradient of the convolution is a sum of 64 · 26 · 26 = 43,264 products. Float32 rounds each to
6e-8, and in another order such a sum changes by about sqrt(43,264) · 6e-8 = 1.2e-5; an H100 with
torch 2.11 came within 8e-7. Real faults are at 0.2 and above. 1e-3 is well clear of both. TF32
is off: it rounds each factor to 5e-4, which is a setting, not a fault.
"""

_TIMED = 5


def use(device: str) -> DeviceTrial:
    """Train one step on a device and compare it with the CPU's."""
    # With the fallback, ops that MPS lacks would run on the CPU, and the trial would judge the CPU.
    os.environ.pop("PYTORCH_ENABLE_MPS_FALLBACK", None)
    try:
        return _run_trial(device)
    except TORCH_ERRORS as error:
        return DeviceTrial(device=device, usable=False, reason=error_line(error))


def _run_trial(device: str) -> DeviceTrial:
    import torch
    from torch import nn

    from mpstui.backends import Accelerator, open_backend

    is_supported_type = device.partition(":")[0] in TYPES
    # Types that mpstui does not start runs on, such as hpu, can still be tried.
    backend = (
        open_backend(parse_device(device)) if is_supported_type else Accelerator(DeviceSpec(device))
    )
    backend.set_precision("float32")
    torch.manual_seed(0)
    on_cpu = nn.Sequential(nn.Conv2d(1, 8, 3), nn.ReLU(), nn.Flatten(), nn.Linear(8 * 26 * 26, 10))
    images, labels = torch.randn(64, 1, 28, 28), torch.randint(10, (64,))
    on_device = copy.deepcopy(on_cpu).to(device)
    device_images, device_labels = images.to(device), labels.to(device)

    def step(model: nn.Module, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        model.zero_grad()
        loss = nn.functional.cross_entropy(model(x), y)
        loss.backward()  # type: ignore[no-untyped-call]
        return loss.detach()

    on_device_value, cpu_value = (
        step(on_device, device_images, device_labels),
        step(on_cpu, images, labels),
    )
    pairs = {"the loss": (on_device_value, cpu_value)}
    for (name, device_parameter), cpu_parameter in zip(
        on_device.named_parameters(), on_cpu.parameters(), strict=True
    ):
        pairs[f"the gradient of {name}"] = (_gradient(device_parameter), _gradient(cpu_parameter))
    for label, (on_device_value, cpu_value) in pairs.items():
        expected = cpu_value.double()
        gap = float((on_device_value.cpu().double() - expected).abs().max() / expected.abs().max())
        if not gap <= TOLERANCE:  # also true for a NaN
            reason = f"{label} differs from the CPU's by {gap:.1e} (allowed: {TOLERANCE:g})"
            return DeviceTrial(device=device, usable=False, reason=reason)
    times = []
    for _ in range(_TIMED):
        backend.synchronize()
        start = time.perf_counter()
        step(on_device, device_images, device_labels)
        backend.synchronize()
        times.append(time.perf_counter() - start)
    return DeviceTrial(device=device, usable=True, milliseconds=1e3 * statistics.median(times))


def _gradient(parameter: torch.nn.Parameter) -> torch.Tensor:
    if parameter.grad is None:
        raise RuntimeError("backward left a parameter without a gradient")
    return parameter.grad.clone()

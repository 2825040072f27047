"""Trains one step on a device and compares it with the CPU's."""

from __future__ import annotations

import copy
import os
import statistics
import time
from typing import TYPE_CHECKING

from mpstui.doctor.probes import DeviceTrial
from mpstui.domain.devices import TYPES, DeviceSpec, parse_device

from .attempt import TORCH_ERRORS, said

if TYPE_CHECKING:
    import torch

TOLERANCE = 1e-3
"""Largest allowed difference from the CPU, as a share of the tensor's largest absolute value.

A gradient of the convolution is a sum of 64 · 26 · 26 = 43,264 products. Float32 rounds each to
6e-8, and in another order such a sum moves by about sqrt(43,264) · 6e-8 = 1.2e-5; an H100 with
torch 2.11 came within 8e-7. Real faults are at 0.2 and above. 1e-3 lies well clear of both. TF32
is off: it rounds each factor to 5e-4, which is a setting and no fault.
"""

_TIMED = 5


def use(device: str) -> DeviceTrial:
    """Train one step on a device and compare it with the CPU's."""
    # With it, ops that MPS lacks would run on the CPU, and the CPU would be judged.
    os.environ.pop("PYTORCH_ENABLE_MPS_FALLBACK", None)
    try:
        return _try(device)
    except TORCH_ERRORS as error:
        return DeviceTrial(device=device, usable=False, reason=said(error))


def _try(device: str) -> DeviceTrial:
    import torch
    from torch import nn

    from mpstui.backends import Accelerator, open_backend

    known = device.partition(":")[0] in TYPES
    # A type that runs are not started on, such as hpu, can be tried all the same.
    backend = open_backend(parse_device(device)) if known else Accelerator(DeviceSpec(device))
    backend.set_precision("float32")
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

    there, here = step(on_device, images_there, labels_there), step(on_cpu, images, labels)
    pairs = {"the loss": (there, here)}
    for (name, ours), theirs in zip(on_device.named_parameters(), on_cpu.parameters(), strict=True):
        pairs[f"the gradient of {name}"] = (_gradient(ours), _gradient(theirs))
    for what, (there, here) in pairs.items():
        expected = here.double()
        gap = float((there.cpu().double() - expected).abs().max() / expected.abs().max())
        if not gap <= TOLERANCE:  # a NaN is no agreement either
            reason = f"{what} differs from the CPU's by {gap:.1e} (allowed: {TOLERANCE:g})"
            return DeviceTrial(device=device, usable=False, reason=reason)
    times = []
    for _ in range(_TIMED):
        backend.synchronize()
        start = time.perf_counter()
        step(on_device, images_there, labels_there)
        backend.synchronize()
        times.append(time.perf_counter() - start)
    return DeviceTrial(device=device, usable=True, milliseconds=1e3 * statistics.median(times))


def _gradient(parameter: torch.nn.Parameter) -> torch.Tensor:
    if parameter.grad is None:
        raise RuntimeError("backward left a parameter without a gradient")
    return parameter.grad.clone()

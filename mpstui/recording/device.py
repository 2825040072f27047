"""The device that a script trains on."""

from __future__ import annotations

from typing import Any

import torch

from mpstui.backends import BACKENDS, Backend
from mpstui.domain.devices import DEVICE_TYPES, parse_device


def backend_of(device: torch.device) -> Backend:
    """Return the backend of a tensor's device; the CPU's for a type that mpstui does not know."""
    spec = parse_device(str(device) if device.type in DEVICE_TYPES else "cpu")
    return BACKENDS[spec.type](spec)


def device_of(loss: Any) -> torch.device:
    """Return the device of a loss; the CPU for a number."""
    return loss.device if isinstance(loss, torch.Tensor) else torch.device("cpu")


def is_capturing() -> bool:
    """Return whether a CUDA graph is being captured: then nothing may wait for the device."""
    is_initialized: bool = torch.cuda.is_initialized()  # type: ignore[no-untyped-call]
    return is_initialized and torch.cuda.is_current_stream_capturing()

"""The changes that an op makes to its arguments.

A parameter after an update is nearly the parameter before it, so a weight decay of the wrong sign
is lost in its rounding, and only the change shows it. The error of a change is compared at least
with the rounding error of the stored value.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch

from mpstui.numerics import NamedTensors, tolerance

from .schema import OpInfo, written

CHANGE = "change of "
"""Prefix of such a result's name: ``change of argument self``."""

ROUNDINGS = 4
"""Allowed error of a change, in roundings of the stored value."""


def before_call(info: OpInfo, args: Any, kwargs: Any) -> dict[str, torch.Tensor]:
    """Copy the values that a call will overwrite to the CPU, by argument name.

    Only finite floating-point values are included: uninitialised memory proves nothing.
    """
    values = {
        name: tensor.detach().cpu().clone()
        for name, tensor in written(info, args, kwargs)
        if tensor.is_floating_point() and tensor.layout is torch.strided and tensor.numel()
    }
    return {name: tensor for name, tensor in values.items() if bool(tensor.isfinite().all())}


def with_changes(
    tensors: NamedTensors, before: Mapping[str, torch.Tensor]
) -> list[tuple[str, torch.Tensor]]:
    """Return a call's results, and the change of each argument that it wrote to."""
    results = [(name, tensor) for name, tensor in tensors if tensor is not None]
    return [
        *results,
        *(
            (CHANGE + name, tensor - before[name].to(tensor.dtype))
            for name, tensor in results
            if name in before and before[name].shape == tensor.shape
        ),
    ]


def floor_of(name: str, before: Mapping[str, torch.Tensor]) -> float:
    """Return the least scale for a result's error; 0 if it is not a change."""
    value = before.get(name.removeprefix(CHANGE)) if name.startswith(CHANGE) else None
    if value is None:
        return 0.0
    rounding = torch.finfo(value.dtype).eps * float(value.abs().amax())
    return ROUNDINGS * rounding / tolerance(value.dtype)

"""What an op that writes to its arguments changes of them.

A parameter after an update is nearly the parameter before it, so a weight decay of the wrong sign
is lost in its rounding. The change alone shows it. What rounding the stored value costs is the
least that a change's error is measured against.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch

from mpstui.numerics import Named, tolerance

from .schema import OpInfo, written

CHANGE = "change of "
"""Begins the name of such a result: ``change of argument self``."""

ROUNDINGS = 4
"""Roundings of the stored value that a change may be off by."""


def before_call(facts: OpInfo, args: Any, kwargs: Any) -> dict[str, torch.Tensor]:
    """The values that a call is about to write over, copied to the CPU, by the arguments' names.

    Only floating-point ones, and only finite ones: memory that was never written says nothing.
    """
    values = {
        name: tensor.detach().cpu().clone()
        for name, tensor in written(facts, args, kwargs)
        if tensor.is_floating_point() and tensor.layout is torch.strided and tensor.numel()
    }
    return {name: tensor for name, tensor in values.items() if bool(tensor.isfinite().all())}


def with_changes(
    named: Named, before: Mapping[str, torch.Tensor]
) -> list[tuple[str, torch.Tensor]]:
    """The results of a call, and of each argument that it wrote to the change."""
    results = [(name, tensor) for name, tensor in named if tensor is not None]
    return [
        *results,
        *(
            (CHANGE + name, tensor - before[name].to(tensor.dtype))
            for name, tensor in results
            if name in before and before[name].shape == tensor.shape
        ),
    ]


def floor_of(name: str, before: Mapping[str, torch.Tensor]) -> float:
    """The least value that the error of a result is measured against; 0 when it is no change."""
    value = before.get(name.removeprefix(CHANGE)) if name.startswith(CHANGE) else None
    if value is None:
        return 0.0
    rounding = torch.finfo(value.dtype).eps * float(value.abs().amax())
    return ROUNDINGS * rounding / tolerance(value.dtype)

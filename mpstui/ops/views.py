"""Checks view ops.

A view computes nothing, but a wrong one makes the op that reads it look wrong. So its sizes,
strides and offset are compared with those of torch's meta device for the same view of the same
storage, and the values read through it with those that the CPU reads through the right view.
"""

from __future__ import annotations

from typing import Any

import torch
from torch.utils._pytree import tree_map

from .judge import RIGHT, OpJudgement
from .schema import tensors
from .storages import CPU, flat, resolved

ROOM = 2**22
"""Largest storage, in bytes, for which values are compared too if the layout is right."""


def judge_view(op: Any, args: Any, kwargs: Any, out: Any) -> OpJudgement:
    """Judge the result of a view op.

    Args:
        op: The ``OpOverload``.
        args: Its arguments; the first tensor among them is the base of the view.
        kwargs: Its keyword arguments.
        out: The view or views.

    Raises:
        RuntimeError: If the meta device cannot create the view, or the layout has no strides.
    """
    base = tensors((args, kwargs))[0]
    args, kwargs = tree_map(_on_meta, args), tree_map(_on_meta, dict(kwargs))
    expected = tensors(op(*args, **kwargs))
    views = tensors(out)
    if len(views) != len(expected):
        problem = f"{len(views)} views where {len(expected)} are right"
        return OpJudgement("wrong", "results", values=problem)
    for number, (view, expected_view) in enumerate(zip(views, expected, strict=True), 1):
        problem = _difference(base, view, expected_view)
        if problem:
            name = f"output {number}" if len(views) > 1 else "output"
            return OpJudgement("wrong", name, values=problem)
    return RIGHT


def _on_meta(value: Any) -> Any:
    """Return a tensor on the meta device with the same sizes, strides and offset."""
    if not isinstance(value, torch.Tensor):
        return torch.device("meta") if isinstance(value, torch.device) else value
    count = value.untyped_storage().nbytes() // value.element_size()
    storage = torch.empty(count, dtype=value.dtype, device="meta")
    return storage.as_strided(value.size(), value.stride(), value.storage_offset())


def _difference(base: torch.Tensor, view: torch.Tensor, expected: torch.Tensor) -> str:
    """Describe what is wrong with a view; empty if nothing is."""
    if view.shape != expected.shape or view.dtype != expected.dtype:
        return f"{_describe(view)} where {_describe(expected)} is right"
    same_memory = view.untyped_storage().data_ptr() == base.untyped_storage().data_ptr()
    same_place = _layout(view) == _layout(expected)
    if same_memory and same_place and (view.device == CPU or _bytes(base) > ROOM):
        return ""
    storage = flat(base.detach())
    if expected.element_size() != base.element_size():
        storage = storage.view(expected.dtype)
    values = storage.cpu().as_strided(expected.size(), expected.stride(), expected.storage_offset())
    if _equal(resolved(view.detach()).cpu(), values):
        return ""
    if not same_place:
        return f"{_describe(view)} where {_describe(expected)} is right"
    return "the values read through it are not those in memory"


def _layout(tensor: torch.Tensor) -> tuple[tuple[int, ...], int]:
    """Return strides and offset, without the meaningless strides of dimensions of size 1."""
    strides = zip(tensor.stride(), tensor.size(), strict=True)
    return tuple(stride for stride, size in strides if size > 1), int(tensor.storage_offset())


def _describe(tensor: torch.Tensor) -> str:
    dtype = str(tensor.dtype).removeprefix("torch.")
    sizes, strides = tuple(tensor.size()), tuple(tensor.stride())
    return f"{dtype} {sizes}, strides {strides}, offset {tensor.storage_offset()}"


def _bytes(tensor: torch.Tensor) -> int:
    return int(tensor.untyped_storage().nbytes())


def _equal(actual: torch.Tensor, expected: torch.Tensor) -> bool:
    """Return whether values are bitwise equal, except for a NaN's payload."""
    return bool(((actual == expected) | ((actual != actual) & (expected != expected))).all())

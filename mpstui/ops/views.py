"""Whether a view is the view that was asked for.

A view computes nothing, and a wrong one makes the op that reads it look wrong. So its sizes,
strides and offset are compared with those that torch's meta device gives for the same view of the
same storage, and what is read through it with what the CPU reads through the right one.
"""

from __future__ import annotations

from typing import Any

import torch
from torch.utils._pytree import tree_map

from .judge import RIGHT, OpJudgement
from .schema import tensors
from .storages import CPU, flat, plain

ROOM = 2**22
"""Bytes of a storage up to which what is read through a view is compared on other devices."""


def judge_view(op: Any, args: Any, kwargs: Any, out: Any) -> OpJudgement:
    """Judge what a view op returned.

    Args:
        op: The ``OpOverload``.
        args: Its arguments; the first tensor among them is what it is a view of.
        kwargs: Its named arguments.
        out: The view, or several.

    Raises:
        RuntimeError: When the meta device cannot make the view, or the layout has no strides.
    """
    base = tensors((args, kwargs))[0]
    args, kwargs = tree_map(_on_meta, args), tree_map(_on_meta, dict(kwargs))
    expected = tensors(op(*args, **kwargs))
    views = tensors(out)
    if len(views) != len(expected):
        words = f"{len(views)} views where {len(expected)} are right"
        return OpJudgement("wrong", "results", values=words)
    for number, (view, right) in enumerate(zip(views, expected, strict=True), 1):
        words = _difference(base, view, right)
        if words:
            name = f"output {number}" if len(views) > 1 else "output"
            return OpJudgement("wrong", name, values=words)
    return RIGHT


def _on_meta(value: Any) -> Any:
    """A tensor of the same sizes, strides and offset without values."""
    if not isinstance(value, torch.Tensor):
        return torch.device("meta") if isinstance(value, torch.device) else value
    count = value.untyped_storage().nbytes() // value.element_size()
    storage = torch.empty(count, dtype=value.dtype, device="meta")
    return storage.as_strided(value.size(), value.stride(), value.storage_offset())


def _difference(base: torch.Tensor, view: torch.Tensor, right: torch.Tensor) -> str:
    """What is wrong with a view, in words; empty when nothing is."""
    if view.shape != right.shape or view.dtype != right.dtype:
        return f"{_words(view)} where {_words(right)} is right"
    same_memory = view.untyped_storage().data_ptr() == base.untyped_storage().data_ptr()
    same_place = _place(view) == _place(right)
    if same_memory and same_place and (view.device == CPU or _bytes(base) > ROOM):
        return ""
    storage = flat(base.detach())
    if right.element_size() != base.element_size():
        storage = storage.view(right.dtype)
    read = storage.cpu().as_strided(right.size(), right.stride(), right.storage_offset())
    if _equal(plain(view.detach()).cpu(), read):
        return ""
    if not same_place:
        return f"{_words(view)} where {_words(right)} is right"
    return "what is read through it is not what lies there"


def _place(tensor: torch.Tensor) -> tuple[tuple[int, ...], int]:
    """Strides and offset, without those of dimensions of size 1, which mean nothing."""
    strides = zip(tensor.stride(), tensor.size(), strict=True)
    return tuple(stride for stride, size in strides if size > 1), int(tensor.storage_offset())


def _words(tensor: torch.Tensor) -> str:
    dtype = str(tensor.dtype).removeprefix("torch.")
    sizes, strides = tuple(tensor.size()), tuple(tensor.stride())
    return f"{dtype} {sizes}, strides {strides}, offset {tensor.storage_offset()}"


def _bytes(tensor: torch.Tensor) -> int:
    return int(tensor.untyped_storage().nbytes())


def _equal(ours: torch.Tensor, right: torch.Tensor) -> bool:
    """Equal bit for bit but for the payload of a NaN."""
    return bool(((ours == right) | ((ours != ours) & (right != right))).all())

"""Tensors copied storage by storage, so that strides, offsets and aliasing survive.

A kernel that ignores strides or offsets is only seen when its reference reads the same memory
layout; copies made contiguous gave false findings (and hid true ones).
"""

from __future__ import annotations

from typing import Any

import torch
from torch.utils._pytree import tree_map

CPU = torch.device("cpu")
Key = tuple[int, int, torch.dtype]


def key_of(tensor: torch.Tensor) -> Key:
    """What tells a storage, read as one dtype, from every other that is alive."""
    storage = tensor.untyped_storage()
    return storage.data_ptr(), storage.nbytes(), tensor.dtype


def plain(tensor: torch.Tensor) -> torch.Tensor:
    """The tensor without a pending conjugation or sign, which its storage does not show."""
    if tensor.is_conj() or tensor.is_neg():
        return tensor.resolve_conj().resolve_neg()
    return tensor


def flat(tensor: torch.Tensor) -> torch.Tensor:
    """The whole storage behind a tensor, as one dimension of its dtype."""
    storage = tensor.untyped_storage()
    count = storage.nbytes() // tensor.element_size()
    return torch.empty(0, dtype=tensor.dtype, device=tensor.device).set_(storage, 0, (count,), (1,))


class Copies:
    """Copies of tensors, on the CPU unless told otherwise; those that alias go on aliasing.

    Args:
        dtype: What floating-point values become; None keeps theirs.
        device: Where the copies lie.
        share: Storages that may be handed out as they are, instead of a copy: all but those in
            ``written``, where the dtype stays and the device is the same. Only for who reads.
        written: Storages that will be written to.
    """

    def __init__(
        self,
        dtype: torch.dtype | None = None,
        device: torch.device = CPU,
        share: bool = False,
        written: frozenset[Key] = frozenset(),
    ) -> None:
        self._dtype = dtype
        self._device = device
        self._share = share
        self._written = written
        self._made: dict[Key, torch.Tensor] = {}

    def __call__(self, value: Any) -> Any:
        """The copy of a tensor; anything else is returned as it is."""
        if not isinstance(value, torch.Tensor):
            return value
        value = plain(value)
        wanted = self._wanted(value.dtype)
        cast = wanted != value.dtype
        if value.layout is not torch.strided:
            moved = value.to(self._device)
            return moved.to(wanted)
        key = key_of(value)
        if self._share and not cast and value.device == self._device and key not in self._written:
            return value
        base = self._made.get(key)
        if base is None:
            base = flat(value.detach()).to(self._device, copy=True)
            base = self._made[key] = base.to(wanted)
        return torch.as_strided(base, value.size(), value.stride(), value.storage_offset())

    def _wanted(self, dtype: torch.dtype) -> torch.dtype:
        if self._dtype is None:
            return dtype
        if dtype.is_complex:
            return torch.complex128 if self._dtype == torch.float64 else dtype
        return self._dtype if dtype.is_floating_point else dtype

    def tree(self, values: Any) -> Any:
        """A structure of lists, tuples and dicts, with its tensors copied."""
        return tree_map(self, values)

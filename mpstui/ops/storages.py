"""Copies tensors storage by storage, so that strides, offsets and aliasing are preserved.

A kernel that ignores strides or offsets is only detected if its reference reads the same memory
layout; contiguous copies caused false findings and hid true ones.
"""

from __future__ import annotations

from typing import Any

import torch
from torch.utils._pytree import tree_map

CPU = torch.device("cpu")
Key = tuple[int, int, torch.dtype]


def key_of(tensor: torch.Tensor) -> Key:
    """Return a key that identifies a storage, read as one dtype, among all live ones."""
    storage = tensor.untyped_storage()
    return storage.data_ptr(), storage.nbytes(), tensor.dtype


def resolved(tensor: torch.Tensor) -> torch.Tensor:
    """Return the tensor without a pending conjugation or negation, which storages lack."""
    if tensor.is_conj() or tensor.is_neg():
        return tensor.resolve_conj().resolve_neg()
    return tensor


def flat(tensor: torch.Tensor) -> torch.Tensor:
    """Return a tensor's complete storage, as one dimension of its dtype."""
    storage = tensor.untyped_storage()
    count = storage.nbytes() // tensor.element_size()
    return torch.empty(0, dtype=tensor.dtype, device=tensor.device).set_(storage, 0, (count,), (1,))


class Copies:
    """A copier of tensors that preserves aliasing.

    Args:
        dtype: The dtype of floating-point copies; None keeps theirs.
        device: The device of the copies.
        share: Whether to return the original instead of a copy, for read-only use, if dtype and
            device are the same and the storage is not in ``written``.
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
        self._copies: dict[Key, torch.Tensor] = {}

    def __call__(self, value: Any) -> Any:
        """Copy a tensor; return anything else as it is."""
        if not isinstance(value, torch.Tensor):
            return value
        value = resolved(value)
        dtype = self._target_dtype(value.dtype)
        cast = dtype != value.dtype
        if value.layout is not torch.strided:
            moved = value.to(self._device)
            return moved.to(dtype)
        key = key_of(value)
        if self._share and not cast and value.device == self._device and key not in self._written:
            return value
        base = self._copies.get(key)
        if base is None:
            base = flat(value.detach()).to(self._device, copy=True)
            base = self._copies[key] = base.to(dtype)
        return torch.as_strided(base, value.size(), value.stride(), value.storage_offset())

    def _target_dtype(self, dtype: torch.dtype) -> torch.dtype:
        if self._dtype is None:
            return dtype
        if dtype.is_complex:
            return torch.complex128 if self._dtype == torch.float64 else dtype
        return self._dtype if dtype.is_floating_point else dtype

    def tree(self, values: Any) -> Any:
        """Copy the tensors in a structure of lists, tuples and dicts."""
        return tree_map(self, values)

"""One call of an op with its inputs on the CPU, to repeat, change or save it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch.utils._pytree import tree_map

from .schema import op_info
from .storages import CPU, Copies, Key, flat, key_of, resolved


@dataclass(frozen=True)
class Slot:
    """A tensor argument, as a view of one of the call's storages."""

    storage: int
    size: tuple[int, ...]
    stride: tuple[int, ...]
    offset: int


@dataclass(frozen=True)
class Call:
    """An op's call: storages as one-dimensional CPU tensors, and arguments with slots."""

    op: str
    """``aten.mm.default``."""
    storages: tuple[torch.Tensor, ...]
    args: Any
    kwargs: Any

    @property
    def function(self) -> Any:
        """The op.

        Raises:
            AttributeError: If this torch has no such op.
        """
        space, packet, overload = self.op.split(".")
        return getattr(getattr(getattr(torch.ops, space), packet), overload)

    @property
    def slots(self) -> list[Slot]:
        """Every tensor argument, in order."""
        slots: list[Slot] = []
        map_slots((self.args, self.kwargs), slots.append)
        return slots

    def on(
        self, device: torch.device = CPU, dtype: torch.dtype | None = None, dense: bool = False
    ) -> tuple[Any, Any]:
        """Create new arguments.

        Args:
            device: The device of the tensors.
            dtype: The dtype of floating-point tensors; None keeps theirs.
            dense: Whether to make every tensor contiguous, in a separate storage.
        """
        copies = Copies(dtype, device)

        def build(slot: Slot) -> torch.Tensor:
            view = self.view(slot)
            if not dense:
                return copies(view)  # type: ignore[no-any-return]
            return Copies(dtype, device)(view.contiguous().clone())  # type: ignore[no-any-return]

        args, kwargs = map_slots((self.args, self.kwargs), build)
        if "device" in kwargs:
            kwargs["device"] = device
        if dtype is not None and isinstance(kwargs.get("dtype"), torch.dtype):
            kwargs["dtype"] = dtype if kwargs["dtype"].is_floating_point else kwargs["dtype"]
        return args, kwargs

    def view(self, slot: Slot) -> torch.Tensor:
        """Return a tensor argument as a view of its storage."""
        return self.storages[slot.storage].as_strided(slot.size, slot.stride, slot.offset)

    def with_storages(self, storages: tuple[torch.Tensor, ...]) -> Call:
        """Return the call with other values."""
        return replace(self, storages=storages)

    def describe_tensors(self) -> tuple[str, ...]:
        """Describe each tensor: ``float32 (128, 20), strides (0, 0)``."""
        return tuple(_describe(self.view(slot)) for slot in self.slots)

    def save(self, path: Path) -> None:
        """Save it for another process of mpstui."""
        torch.save(self, path)

    @staticmethod
    def load(path: Path) -> Call:
        """Load a call that :meth:`save` wrote; never any other file, because it is a pickle."""
        call = torch.load(path, weights_only=False)
        assert isinstance(call, Call)
        return call


def capture(op: Any, args: Any, kwargs: Any) -> Call:
    """Capture a call before it runs; its complete storages are copied to the CPU."""
    storages: list[torch.Tensor] = []
    indices: dict[Key, int] = {}

    def to_slot(value: Any) -> Any:
        if not isinstance(value, torch.Tensor):
            return value
        value = resolved(value)
        key = key_of(value)
        if key not in indices:
            indices[key] = len(storages)
            storages.append(flat(value.detach()).to(CPU, copy=True))
        return Slot(
            indices[key], tuple(value.size()), tuple(value.stride()), int(value.storage_offset())
        )

    slot_args, slot_kwargs = tree_map(to_slot, args), tree_map(to_slot, dict(kwargs))
    return Call(op_info(op).name, tuple(storages), slot_args, slot_kwargs)


def _describe(tensor: torch.Tensor) -> str:
    text = f"{str(tensor.dtype).removeprefix('torch.')} {tuple(tensor.shape)}"
    if not tensor.is_contiguous():
        text += f", strides {tuple(tensor.stride())}"
    return text + (f", offset {tensor.storage_offset()}" if tensor.storage_offset() else "")


def map_slots(value: Any, change: Any) -> Any:
    """Change each slot in a structure of lists, tuples and dicts."""
    if isinstance(value, Slot):
        return change(value)
    if isinstance(value, (list, tuple)):
        return type(value)(map_slots(item, change) for item in value)
    if isinstance(value, dict):
        return {name: map_slots(item, change) for name, item in value.items()}
    return value

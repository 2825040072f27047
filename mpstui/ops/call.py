"""One call of an op with its inputs, kept on the CPU: to run again, to change, to write down."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch.utils._pytree import tree_map

from .schema import op_info
from .storages import CPU, Copies, Key, flat, key_of, plain


@dataclass(frozen=True)
class Slot:
    """Where a tensor argument lies: a view of one of the call's storages."""

    storage: int
    size: tuple[int, ...]
    stride: tuple[int, ...]
    offset: int


@dataclass(frozen=True)
class Call:
    """An op, its storages as one-dimensional CPU tensors, and arguments that hold slots."""

    op: str
    """``aten.mm.default``."""
    storages: tuple[torch.Tensor, ...]
    args: Any
    kwargs: Any

    @property
    def function(self) -> Any:
        """The op itself.

        Raises:
            AttributeError: When this torch has no such op.
        """
        space, packet, overload = self.op.split(".")
        return getattr(getattr(getattr(torch.ops, space), packet), overload)

    @property
    def slots(self) -> list[Slot]:
        """Every tensor argument, in order."""
        found: list[Slot] = []
        map_slots((self.args, self.kwargs), found.append)
        return found

    def on(
        self, device: torch.device = CPU, dtype: torch.dtype | None = None, dense: bool = False
    ) -> tuple[Any, Any]:
        """Fresh arguments.

        Args:
            device: Where they lie.
            dtype: What floating-point values become; None keeps theirs.
            dense: Whether every tensor is contiguous and has a storage of its own.
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
        """A tensor argument as it lies in the kept storage."""
        return self.storages[slot.storage].as_strided(slot.size, slot.stride, slot.offset)

    def with_storages(self, storages: tuple[torch.Tensor, ...]) -> Call:
        """The same call on other values."""
        return replace(self, storages=storages)

    def described(self) -> tuple[str, ...]:
        """Each tensor in words: ``float32 (128, 20), strides (0, 0)``."""
        return tuple(_words(self.view(slot)) for slot in self.slots)

    def save(self, path: Path) -> None:
        """Write it down for another process of ours."""
        torch.save(self, path)

    @staticmethod
    def load(path: Path) -> Call:
        """Read what :meth:`save` wrote; never a file of anybody else's, for it is a pickle."""
        call = torch.load(path, weights_only=False)
        assert isinstance(call, Call)
        return call


def capture(op: Any, args: Any, kwargs: Any) -> Call:
    """Keep a call before it is run: its storages are copied to the CPU, whole."""
    storages: list[torch.Tensor] = []
    places: dict[Key, int] = {}

    def keep(value: Any) -> Any:
        if not isinstance(value, torch.Tensor):
            return value
        value = plain(value)
        key = key_of(value)
        if key not in places:
            places[key] = len(storages)
            storages.append(flat(value.detach()).to(CPU, copy=True))
        return Slot(
            places[key], tuple(value.size()), tuple(value.stride()), int(value.storage_offset())
        )

    kept_args, kept_kwargs = tree_map(keep, args), tree_map(keep, dict(kwargs))
    return Call(op_info(op).name, tuple(storages), kept_args, kept_kwargs)


def _words(tensor: torch.Tensor) -> str:
    words = f"{str(tensor.dtype).removeprefix('torch.')} {tuple(tensor.shape)}"
    if not tensor.is_contiguous():
        words += f", strides {tuple(tensor.stride())}"
    return words + (f", offset {tensor.storage_offset()}" if tensor.storage_offset() else "")


def map_slots(value: Any, change: Any) -> Any:
    """A structure of lists, tuples and dicts, with each slot changed."""
    if isinstance(value, Slot):
        return change(value)
    if isinstance(value, (list, tuple)):
        return type(value)(map_slots(each, change) for each in value)
    if isinstance(value, dict):
        return {name: map_slots(each, change) for name, each in value.items()}
    return value

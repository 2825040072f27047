"""Detects writes out of bounds: ops that change a tensor other than those that they may write to.

A per-op check does not detect them, because it takes the next op's inputs from the device as they
are. So the guard computes the sum of every known storage (parameters, optimizer state, results of
ops) after each op; a sum that changed although the op may not write to that storage shows the
fault.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from typing_extensions import override

from mpstui.ops.call import Call, capture
from mpstui.ops.references.run import undisturbed
from mpstui.ops.schema import OpInfo, tensors, written
from mpstui.ops.storages import flat

from .base import StepMode
from .shared_random import SharedRandom
from .step import Side


class OutOfBoundsWrite(NamedTuple):
    """An op that wrote out of bounds."""

    number: int
    op: str
    phase: str
    victim: str
    """The changed tensor: ``fc4.weight``, ``the output of op 12, aten.relu.default``."""
    call: Call


class WriteGuard(StepMode):
    """A mode that watches every storage during one step."""

    def __init__(self, side: Side, shared_random: SharedRandom) -> None:
        super().__init__(shared_random)
        self.write: OutOfBoundsWrite | None = None
        self._side = side
        self._watched: dict[int, tuple[torch.Tensor, str]] = {}
        self._sums: dict[int, torch.Tensor] = {}

    @override
    def restart(self, step: int) -> None:
        super().restart(step)
        self.write = None
        self._watched, self._sums = {}, {}
        with undisturbed():
            for name, tensor in self._side.state_tensors().items():
                self._watch(tensor, name)

    def _watch(self, tensor: torch.Tensor, name: str) -> None:
        pointer = tensor.untyped_storage().data_ptr()
        if tensor.layout is torch.strided and pointer and pointer not in self._watched:
            # Referenced, so that no other tensor gets its memory while it is watched.
            self._watched[pointer] = (flat(tensor.detach()), name)
            self._sums[pointer] = _sum(self._watched[pointer][0])

    @override
    def run_op(self, func: Any, info: OpInfo, args: Any, kwargs: dict[str, Any]) -> Any:
        if self.write is not None:
            return super().run_op(func, info, args, kwargs)
        with undisturbed():
            for position, tensor in enumerate(tensors((args, kwargs)), 1):
                self._watch(tensor, f"argument {position} of op {self.index}, {info.name}")
            call = capture(func, args, kwargs)
        out = super().run_op(func, info, args, kwargs)
        with undisturbed():
            writable = {t.untyped_storage().data_ptr() for _, t in written(info, args, kwargs)}
            for pointer in writable & self._watched.keys():
                self._sums[pointer] = _sum(self._watched[pointer][0])
            self._check(info.name, writable, call)
            for tensor in tensors(out):
                self._watch(tensor, f"the output of op {self.index}, {info.name}")
        return out

    def _check(self, op: str, writable: set[int], call: Call) -> None:
        protected = [pointer for pointer in self._watched if pointer not in writable]
        if not protected:
            return
        sums = {pointer: _sum(self._watched[pointer][0]) for pointer in protected}
        changed = torch.stack(
            [(sums[pointer] != self._sums[pointer]).cpu() for pointer in protected]
        )
        if bool(changed.any()):
            victim = protected[int(changed.to(torch.uint8).argmax())]
            name = self._watched[victim][1]
            self.write = OutOfBoundsWrite(self.index, op, self.phase, name, call)


def _sum(storage: torch.Tensor) -> torch.Tensor:
    """Return the exact sum of a storage's bits, which any single change alters."""
    size = storage.numel() * storage.element_size()
    bits = storage.view(
        torch.int32 if size % 4 == 0 and storage.element_size() <= 4 else torch.uint8
    )
    return bits.sum(dtype=torch.int64)

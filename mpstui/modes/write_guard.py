"""Writes out of bounds: an op that changes a tensor which it was not given to write to.

A per-op check does not see them, because the next op's inputs come from the device as they are. So
every storage that is known, parameters, optimizer state and what ops returned, is summed after
each op; one that changed without being an argument to write to names the op at fault.
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
    """An op that wrote where it had no business."""

    number: int
    op: str
    phase: str
    victim: str
    """What it wrote into: ``fc4.weight``, ``the output of op 12, aten.relu.default``."""
    call: Call


class WriteGuard(StepMode):
    """Watches over every storage during one step."""

    def __init__(self, side: Side, draws: SharedRandom) -> None:
        super().__init__(draws)
        self.found: OutOfBoundsWrite | None = None
        self._side = side
        self._watched: dict[int, tuple[torch.Tensor, str]] = {}
        self._sums: dict[int, torch.Tensor] = {}

    @override
    def restart(self, step: int) -> None:
        super().restart(step)
        self.found = None
        self._watched, self._sums = {}, {}
        with undisturbed():
            for name, tensor in self._side.named().items():
                self._watch(tensor, name)

    def _watch(self, tensor: torch.Tensor, name: str) -> None:
        pointer = tensor.untyped_storage().data_ptr()
        if tensor.layout is torch.strided and pointer and pointer not in self._watched:
            # Held, so that no other tensor gets the memory while it is watched.
            self._watched[pointer] = (flat(tensor.detach()), name)
            self._sums[pointer] = _sum(self._watched[pointer][0])

    @override
    def run_op(self, func: Any, info: OpInfo, args: Any, kwargs: dict[str, Any]) -> Any:
        if self.found is not None:
            return super().run_op(func, info, args, kwargs)
        with undisturbed():
            for place, tensor in enumerate(tensors((args, kwargs)), 1):
                self._watch(tensor, f"argument {place} of op {self.index}, {info.name}")
            call = capture(func, args, kwargs)
        out = super().run_op(func, info, args, kwargs)
        with undisturbed():
            mine = {t.untyped_storage().data_ptr() for _, t in written(info, args, kwargs)}
            for pointer in mine & self._watched.keys():
                self._sums[pointer] = _sum(self._watched[pointer][0])
            self._look(info.name, mine, call)
            for tensor in tensors(out):
                self._watch(tensor, f"the output of op {self.index}, {info.name}")
        return out

    def _look(self, op: str, mine: set[int], call: Call) -> None:
        others = [pointer for pointer in self._watched if pointer not in mine]
        if not others:
            return
        now = {pointer: _sum(self._watched[pointer][0]) for pointer in others}
        changed = torch.stack([(now[pointer] != self._sums[pointer]).cpu() for pointer in others])
        if bool(changed.any()):
            victim = others[int(changed.to(torch.uint8).argmax())]
            name = self._watched[victim][1]
            self.found = OutOfBoundsWrite(self.index, op, self.phase, name, call)


def _sum(storage: torch.Tensor) -> torch.Tensor:
    """The bits of a storage, added up: exact, so that any single change shows."""
    size = storage.numel() * storage.element_size()
    bits = storage.view(
        torch.int32 if size % 4 == 0 and storage.element_size() <= 4 else torch.uint8
    )
    return bits.sum(dtype=torch.int64)

"""The op check of a script: which ops it leaves alone, and whose random numbers it keeps."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from typing_extensions import override

from mpstui.modes.journal import Journal
from mpstui.modes.shadow import OpReached, Shadow
from mpstui.modes.shared_random import SharedRandom
from mpstui.ops.schema import OpInfo, tensors

from .origins import ScriptAttribution

MOST_WRONG = 6
"""Wrong ops whose calls are stored."""

CAPTURED = "a CUDA graph captures it, and a check would end the capture"


class ScriptRandom(SharedRandom):
    """Leaves a script's random numbers as they are: there is no second side to share them with."""

    @override
    def share(self, op: Any, info: OpInfo, args: Any, kwargs: Any, out: Any) -> None:
        pass


class ScriptShadow(Shadow):
    """Checks the ops of a script's thread while ``is_active``; others pass through.

    Args:
        journal: Records each op before it runs.
        attribution: Finds the line and the parameters of a wrong op.
        stop_at: The step and the number of an op that ends the process: it is stored and does not
            run, and no other op is checked. None to check.
        reached: Called there; ends the script.
    """

    def __init__(
        self,
        journal: Journal,
        attribution: ScriptAttribution,
        stop_at: tuple[int, int] | None,
        reached: Callable[[], object],
    ) -> None:
        super().__init__(
            ScriptRandom(),
            journal,
            only=None if stop_at is None else frozenset(),
            keep=True,
            attribution=attribution,
            most_wrong=MOST_WRONG,
        )
        self.is_active = False
        self.devices: dict[int, str] = {}
        """The device of each attributed op, by number."""
        self._stop_at = stop_at
        self._reached = reached

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Any = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        """Check an op, or let it pass."""
        if not self.is_active or _is_abstract(args, kwargs):
            return func(*args, **(kwargs or {}))
        if _is_capturing():
            self.unreferenced.setdefault(str(func), CAPTURED)
            return func(*args, **(kwargs or {}))
        if self.phase == "forward" and not torch.is_grad_enabled():
            self.phase = "evaluation"
            try:
                return super().__torch_dispatch__(func, types, args, kwargs)
            finally:
                self.phase = "forward"
        return super().__torch_dispatch__(func, types, args, kwargs)

    @override
    def before_op(self, func: Any, info: OpInfo, args: Any, kwargs: dict[str, Any]) -> None:
        self._stop = self.index if self._stop_at == (self.step, self.index) else None
        try:
            super().before_op(func, info, args, kwargs)
        except OpReached:
            self._reached()

    @override
    def _attribute(self, finding: Any, info: OpInfo, out: Any, args: Any, kwargs: Any) -> None:
        super()._attribute(finding, info, out, args, kwargs)
        if self.index in self.attributed:
            used = tensors((out, args, kwargs))
            off_cpu = [str(t.device) for t in used if t.device.type != "cpu"]
            self.devices[self.index] = off_cpu[0] if off_cpu else "cpu"


def _is_abstract(args: Any, kwargs: Any) -> bool:
    """Return whether a call has no values: fake tensors, and those on ``meta``."""
    used = tensors((args, kwargs))
    device = (kwargs or {}).get("device")
    return any(tensor.is_meta for tensor in used) or str(device) == "meta"


def _is_capturing() -> bool:
    is_open: bool = torch.cuda.is_initialized()  # type: ignore[no-untyped-call]
    return is_open and torch.cuda.is_current_stream_capturing()

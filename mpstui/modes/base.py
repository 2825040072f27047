"""The base class of the dispatch modes: counts ops and provides shared random numbers."""

from __future__ import annotations

from typing import Any

from torch.utils._python_dispatch import TorchDispatchMode

from mpstui.ops.schema import OpInfo, op_info

from .journal import NO_JOURNAL, Journal, JournalEntry
from .shared_random import SharedRandom


class StepMode(TorchDispatchMode):
    """A dispatch mode around a training step, which gives random ops the shared random numbers.

    Args:
        random: The results of random ops.
        journal: Records each op before it runs.
    """

    def __init__(self, random: SharedRandom, journal: Journal | Any = NO_JOURNAL) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.phase = "forward"
        self.step = 0
        self.index = 0
        """The number of the current op, counted from 1 over the step."""
        self._random = random
        self._journal = journal

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)  # type: ignore[no-untyped-call]

    def restart(self, step: int) -> None:
        """Start a pass over a step."""
        self.step, self.index = step, 0
        self._random.restart(step)

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Any = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        """Record an op in the journal, and run it."""
        kwargs = kwargs or {}
        info = op_info(func)
        self.index += 1
        self._journal.begin(JournalEntry(self.step, self.index, self.phase, info.name))
        self.before_op(func, info, args, kwargs)
        try:
            return self.run_op(func, info, args, kwargs)
        finally:
            self._journal.end()

    def before_op(self, func: Any, info: OpInfo, args: Any, kwargs: dict[str, Any]) -> None:
        """Prepare for an op; an error raised here leaves the op unfinished in the journal."""

    def run_op(self, func: Any, info: OpInfo, args: Any, kwargs: dict[str, Any]) -> Any:
        """Run an op and return its result."""
        return self._random.run(func, info, args, kwargs)

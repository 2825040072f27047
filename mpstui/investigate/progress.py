"""What an investigation says on its way, and how long each stage took."""

from __future__ import annotations

import time
from collections.abc import Callable

from mpstui.domain.investigation import ProgressMessage, Stage


class ProgressReporter:
    """Passes on what is being done, stage by stage.

    Args:
        tell: Takes each word.
        clock: Seconds, monotonic.
    """

    def __init__(
        self,
        tell: Callable[[ProgressMessage], None],
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        self._tell = tell
        self._clock = clock
        self._began: dict[Stage, float] = {}
        self.seconds: dict[str, float] = {}
        """Wall time by stage, of those that are over."""

    def say(self, stage: Stage, text: str, fraction: float | None = None) -> None:
        """Something is under way."""
        self._began.setdefault(stage, self._clock())
        self._tell(ProgressMessage(stage=stage, text=text, fraction=fraction))

    def done(self, stage: Stage, text: str) -> None:
        """A stage is over."""
        began = self._began.setdefault(stage, self._clock())
        self.seconds[stage.value] = self._clock() - began
        self._tell(ProgressMessage(stage=stage, text=text, done=True))

"""Reports an investigation's progress, and measures its stages."""

from __future__ import annotations

import time
from collections.abc import Callable

from mpstui.domain.investigation import ProgressMessage, Stage


class ProgressReporter:
    """A reporter of an investigation's stages.

    Args:
        send: Called with each message.
        clock: Returns monotonic seconds.
    """

    def __init__(
        self,
        send: Callable[[ProgressMessage], None],
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        self._send = send
        self._clock = clock
        self._start_times: dict[Stage, float] = {}
        self.seconds: dict[str, float] = {}
        """Wall time of each completed stage."""

    def report(self, stage: Stage, text: str, fraction: float | None = None) -> None:
        """Report the current work."""
        self._start_times.setdefault(stage, self._clock())
        self._send(ProgressMessage(stage=stage, text=text, fraction=fraction))

    def finish(self, stage: Stage, text: str) -> None:
        """Report that a stage is complete."""
        start = self._start_times.setdefault(stage, self._clock())
        self.seconds[stage.value] = self._clock() - start
        self._send(ProgressMessage(stage=stage, text=text, done=True))

    def forward(self, line: str) -> None:
        """Forward a line of a script's own output."""
        self._send(ProgressMessage(stage=Stage.PREPARE, output=line))

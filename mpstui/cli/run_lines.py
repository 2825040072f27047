"""The lines of a run as they come, for commands that print while runs train."""

from __future__ import annotations

import time
from collections.abc import Callable

from mpstui.domain.history import RunState
from mpstui.domain.recorded_log import log_of
from mpstui.runs.view import RunView


class RunLines:
    """Reads a run's log, and says what no event says: its end by a signal, and its silence."""

    def __init__(self, view: RunView, clock: Callable[[], float] = time.time) -> None:
        """Start at the beginning of the log.

        Args:
            view: The run.
            clock: Wall-clock Unix time in seconds.
        """
        self.view = view
        self._log = log_of(view.config)
        self._clock = clock
        self._silence = ""

    def new(self) -> list[str]:
        """Return the new lines; usually none."""
        history = self.view.history
        was_over = history.state.over
        lines = [line for event in self.view.refresh() for line in self._log.lines(event)]
        if history.state in (RunState.CRASHED, RunState.KILLED) and not was_over:
            lines.append(history.message)
        return lines + self._silence_lines()

    def _silence_lines(self) -> list[str]:
        text = self.view.silence(self._clock())
        if text == self._silence:
            return []
        self._silence = text
        if text:
            return [text]
        history = self.view.history
        return [] if history.state.over else [f"word from the worker again (step {history.step:,})"]

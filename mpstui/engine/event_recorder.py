"""Records a run's events: in its log for everybody, and in a history for the worker itself."""

from __future__ import annotations

import threading

from mpstui.domain.events import AnyEvent
from mpstui.domain.history import RunHistory
from mpstui.runs.log import LogReader, LogWriter
from mpstui.runs.rundir import RunDir


class EventRecorder:
    """Writes events to the run's log and applies them to its history; safe for any thread."""

    def __init__(self, run: RunDir, log: LogWriter) -> None:
        self.history = RunHistory()
        self._log = log
        self._lock = threading.Lock()
        # The supervisor's events from before the worker's start, and a resumed run's steps.
        for event in LogReader(run.events).rest():
            self.history.apply(event)

    def record(self, event: AnyEvent) -> None:
        """Apply an event to the history and append it to the log."""
        with self._lock:
            self.history.apply(event)
            self._log.append(event)

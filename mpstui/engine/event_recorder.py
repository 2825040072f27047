"""Records a run's events: in its log for everybody, and in a history for the worker itself."""

from __future__ import annotations

import contextlib
import threading

from mpstui.domain.config import RunConfig, as_started
from mpstui.domain.events import (
    AlarmRaised,
    AnyEvent,
    ProgressStalled,
    RunFailed,
    RunFinished,
    RunStopped,
    SystemSampled,
)
from mpstui.domain.history import RunHistory
from mpstui.domain.summarise import summarise
from mpstui.processes.stdio import print_error
from mpstui.runs.disk_space import Reserve, is_full
from mpstui.runs.log import LogReader, LogWriter
from mpstui.runs.rundir import RunDir

BESIDE_TRAINING = (SystemSampled, ProgressStalled, AlarmRaised)
"""Events that a worker's other threads record while the training does something, or hangs."""


class EventRecorder:
    """Writes events to the run's log and applies them to its history; safe for any thread.

    While it is open, a file in the run's folder reserves the space for the run's last event and
    summary: on a full disk they are what the user needs to see.
    """

    def __init__(self, run: RunDir, log: LogWriter) -> None:
        self.history = RunHistory()
        self.progress = 0
        """The number of events that show progress of the training."""
        self._run, self._log = run, log
        self._lock = threading.Lock()
        self._reserve = Reserve(run.path)
        # The supervisor's events from before the worker's start, and a resumed run's steps.
        for event in LogReader(run.events).rest():
            self.history.apply(event)
        with contextlib.suppress(OSError):  # the first event that needs the space shows it
            self._reserve.take()

    def record(self, event: AnyEvent) -> None:
        """Append an event to the log and apply it to the history.

        Raises:
            OSError: If the log cannot be written. A run's last event is then applied nevertheless
                and written if the reserved space is enough, and nothing is raised.
        """
        with self._lock:
            if isinstance(event, (RunFinished, RunStopped, RunFailed)):
                self._record_end(event)
                return
            self._log.append(event)
            self.history.apply(event)
            if not isinstance(event, BESIDE_TRAINING):
                self.progress += 1

    def _record_end(self, event: AnyEvent) -> None:
        self._reserve.release()
        self.history.apply(event)
        try:
            self._log.append(event)
        except OSError as error:  # the reader sees by the process that the run is over
            print_error(f"mpstui: the run's last event could not be written: {error}: {event}")

    def write_summary(self, config: RunConfig) -> None:
        """Write the run's summary, if that is possible: readers can compute it from the log.

        Args:
            config: The run's configuration; what its start has logged completes it.
        """
        history, run = self.history, self._run
        if history.started is not None:
            config = as_started(config, history.started)
        try:
            run.write_summary(summarise(run.id, config, run.machine(), history))
        except OSError as error:
            print_error(f"mpstui: summary.json could not be written: {error}")

    @property
    def is_detached(self) -> bool:
        """Whether the log was deleted or moved, so that no reader can follow the run."""
        return self._log.is_gone


def describe_full_disk(error: BaseException, path: object) -> str:
    """Return a sentence for an error that says that the disk is full; empty for other errors."""
    if not is_full(error):
        return ""
    named = getattr(error, "filename", None) or path
    return f"no space left on device: {named}"

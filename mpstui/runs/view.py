"""A reader's view of a run: its history so far, and how it ended if its log does not say so."""

from __future__ import annotations

from mpstui.domain.config import as_started
from mpstui.domain.events import AnyEvent, RunStarted
from mpstui.domain.history import RunHistory, RunState
from mpstui.domain.silence import describe_silence, describe_stall
from mpstui.domain.summarise import summarise
from mpstui.domain.summary import RunSummary
from mpstui.processes.command import describe_exit
from mpstui.processes.identity import Presence

from .log import LogReader
from .rundir import Exit, RunDir


class RunView:
    """Follows a run. ``refresh`` reads new events; everything else uses the events read so far."""

    def __init__(self, run: RunDir) -> None:
        """Open a run, without reading its log yet.

        Raises:
            LogError: If the directory has no readable config.
        """
        self.run = run
        self.config = run.config()
        self.machine = run.machine()
        self.history = RunHistory()
        self.host = ""
        """Where its processes are, if this machine cannot see them; else empty."""
        self._reader = LogReader(run.events)

    @property
    def unreadable(self) -> int:
        """Lines of the log that could not be read."""
        return self._reader.unreadable

    def refresh(self) -> list[AnyEvent]:
        """Read and return new events.

        A worker that exited without an end event is recognized by exit.json, or by its process
        and its supervisor's, which are gone.
        """
        if self.history.state.over:
            return self._read()  # an alarm may follow the end
        # Checked before reading, so that everything logged before the exit is read below.
        exit, presence = self.run.exit(), self.run.presence()
        self.host = self.run.place() if presence is Presence.ELSEWHERE else ""
        events = self._read()
        if exit is None and presence is not Presence.ENDED:
            return events
        while not self.history.state.over and (new_events := self._read()):
            events += new_events
        if not self.history.state.over:
            self._end(exit)
        return events

    def silence(self, now: float) -> str:
        """Return since when nothing has come from a run that is not over; else an empty text.

        Args:
            now: Wall-clock Unix time in seconds.
        """
        text = describe_silence(self.history, now)
        return f"{text}; it runs on {self.host}" if text and self.host else text

    def trouble(self, now: float) -> str:
        """Return the run's silence or, if its worker has noticed one, its stall; else nothing.

        Args:
            now: Wall-clock Unix time in seconds.
        """
        return self.silence(now) or describe_stall(self.history)

    def _read(self) -> list[AnyEvent]:
        events = self._reader.read()
        for event in events:
            self.history.apply(event)
            if isinstance(event, RunStarted):
                self.config = as_started(self.config, event)
        return events

    def _end(self, exit: Exit | None) -> None:
        step = self.history.step
        if exit is not None and exit.code == 0 and self.config.info.is_recorded:
            # os._exit, for example: nothing went wrong, and nothing was recorded after it.
            self.history.end(RunState.FINISHED, "ended without Python's clean-up")
            return
        if exit is not None and exit.killed:
            self.history.end(RunState.KILLED, f"killed by request after step {step}")
            return
        description = (
            f"crashed ({describe_exit(exit.code)})" if exit else "exited without a message"
        )
        log_tail = self.run.worker_log_tail()
        self.history.end(RunState.CRASHED, f"{description} at step {step}\n{log_tail}".rstrip())

    def catch_up(self) -> list[AnyEvent]:
        """Read all events logged so far."""
        events = self.refresh()
        while new_events := self.refresh():
            events += new_events
        return events

    def summary(self) -> RunSummary:
        """Return the run's summary: as written at its end, or else computed from the log."""
        written = self.run.summary()
        if written is not None:
            return written
        return summarise(self.run.id, self.config, self.machine, self.history)

"""A run as a reader sees it: its history so far, and how it ended when it did not say so itself."""

from __future__ import annotations

from mpstui.domain.events import AnyEvent
from mpstui.domain.history import RunHistory, RunState
from mpstui.domain.summarise import summarise
from mpstui.domain.summary import RunSummary
from mpstui.processes.command import ending

from .log import LogReader
from .rundir import Exit, RunDir


class RunView:
    """Follows one run. ``refresh`` reads what is new; everything else is what was read."""

    def __init__(self, run: RunDir) -> None:
        """Open a run, without reading its log yet.

        Raises:
            LogError: When the directory holds no readable config.
        """
        self.run = run
        self.config = run.config()
        self.machine = run.machine()
        self.history = RunHistory()
        self._reader = LogReader(run.events)

    @property
    def unreadable(self) -> int:
        """Lines of the log that could not be read."""
        return self._reader.unreadable

    def refresh(self) -> list[AnyEvent]:
        """Read on; returns the new events.

        A worker that vanished without an end event is a fact too, and is told from exit.json, or
        from nobody being there any more.
        """
        if self.history.state.over:
            return self._read()  # an alarm may follow the end
        # Looked up before reading: what was logged before the end is then surely read below.
        exit, gone = self.run.exit(), not self.run.kept()
        events = self._read()
        if exit is None and not gone:
            return events
        while not self.history.state.over and (more := self._read()):
            events += more
        if not self.history.state.over:
            self._end(exit)
        return events

    def _read(self) -> list[AnyEvent]:
        events = self._reader.read()
        for event in events:
            self.history.apply(event)
        return events

    def _end(self, exit: Exit | None) -> None:
        step = self.history.step
        if exit is not None and exit.killed:
            self.history.end(RunState.KILLED, f"killed by request after step {step}")
            return
        how = f"crashed ({ending(exit.code)})" if exit else "vanished without a word"
        words = self.run.last_words()
        self.history.end(RunState.CRASHED, f"{how} at step {step}\n{words}".rstrip())

    def catch_up(self) -> list[AnyEvent]:
        """Read everything there is by now."""
        events = self.refresh()
        while new := self.refresh():
            events += new
        return events

    def summary(self) -> RunSummary:
        """The run's numbers: as written at its end, or else as the log has them."""
        written = self.run.summary()
        if written is not None:
            return written
        return summarise(self.run.id, self.config, self.machine, self.history)

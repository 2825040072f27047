"""The runs on screen, which the app follows and controls together."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence

from mpstui.domain.events import StepsCompleted, SystemSampled
from mpstui.domain.history import RunState
from mpstui.domain.loss_gap import LossGapMonitor
from mpstui.domain.recorded_log import log_of
from mpstui.domain.same_settings import references
from mpstui.domain.series import Series
from mpstui.domain.start_gap import describe_start_gap
from mpstui.domain.summary import RunSummary
from mpstui.runs.control import Request
from mpstui.runs.output import OutputReader
from mpstui.runs.rundir import RunDir
from mpstui.runs.view import RunView

MAX_LINES = 5000
"""Log lines that the screen keeps; the full log is on disk."""


RECENT = 1000
"""The newest events of a long log whose steps become lines; older lines would be dropped."""


def describe_alarm(view: RunView) -> str:
    """Return a run's first alarm as text, after its device."""
    return f"{view.config.label} {view.history.alarms[0].text}"


def _output_of(view: RunView) -> OutputReader | None:
    """Return the output of a script that runs under a supervisor; None for other runs."""
    is_seen = view.config.info.is_recorded and os.path.isfile(view.run.worker_log)
    return OutputReader(view.run.worker_log) if is_seen else None


class LossGap:
    """The gap of a run's losses to its reference's, over steps, as a share of the loss."""

    def __init__(self, position: int, reference: int) -> None:
        self.position = position
        """The run's place among the shown ones."""
        self.reference = reference
        """Its reference's place."""
        self.monitor = LossGapMonitor()
        self.series = Series()

    def add(self, losses: Sequence[float] = (), reference_losses: Sequence[float] = ()) -> None:
        """Add new losses of the run, or of its reference."""
        if blocks := self.monitor.add(losses, reference_losses):
            self.series.append([block.step for block in blocks], [block.gap for block in blocks])


class RunSession:
    """Views of one run or of one comparison's runs."""

    def __init__(self, runs: Sequence[RunDir]) -> None:
        """Open the runs.

        Raises:
            LogError: A run cannot be read.
        """
        self.views = [RunView(run) for run in runs]
        self.lines: list[str] = []
        """The newest lines in the article's format, after the device if there are several."""
        self.lines_written = 0
        """The total number of lines so far."""
        self._outputs = [_output_of(view) for view in self.views]
        self._logs = [
            log_of(view.config, has_output=output is not None or view.config.rank > 0)
            for view, output in zip(self.views, self._outputs, strict=True)
        ]
        self._reported: set[str] = set()
        self._alarmed: set[str] | None = None
        """Runs that had an alarm at the last call; None before the first one."""
        self._references = references([view.config.set_values for view in self.shown_views])
        self.gaps = [
            LossGap(place, reference)
            for place, reference in enumerate(self._references)
            if reference is not None
        ]
        """The gap of each run that has a reference: an earlier run with the same settings."""

    @property
    def is_ranks(self) -> bool:
        """Whether the runs are ranks that train together, not runs that are compared."""
        return self.views[0].config.ranks > 1

    @property
    def shown_views(self) -> list[RunView]:
        """The runs with a panel: all, or rank 0."""
        return self.views[:1] if self.is_ranks else self.views

    @property
    def live(self) -> bool:
        """True while a run is under way."""
        return any(not view.history.state.over for view in self.views)

    @property
    def under_way(self) -> int:
        """The number of runs that are not over."""
        return sum(not view.history.state.over for view in self.views)

    @property
    def paused(self) -> int:
        """The number of runs that have a request to pause."""
        return sum(
            not view.history.state.over and view.run.request() == "pause" for view in self.views
        )

    @property
    def timing(self) -> bool:
        """True while a run may be timed."""
        return any(view.history.state is RunState.TRAINING for view in self.views)

    @property
    def event_count(self) -> int:
        """The number of events processed so far."""
        return sum(view.history.revision for view in self.views)

    @property
    def system(self) -> SystemSampled | None:
        """The newest reading of the machine by any worker."""
        readings = [view.history.system for view in self.views if view.history.system]
        return max(readings, key=lambda reading: reading.at, default=None)

    def new_alarms(self) -> list[RunView]:
        """Return runs with a first alarm since the last call, or since the first one."""
        views = [view for view in self.views if view.history.alarms]
        before, self._alarmed = self._alarmed, {view.run.id for view in views}
        return [view for view in views if before is not None and view.run.id not in before]

    def refresh(self) -> bool:
        """Read new events; return whether anything changed."""
        before = self._revision()
        labels = [self._label(view) for view in self.views]
        width = max(map(len, labels))
        for position, (view, log) in enumerate(zip(self.views, self._logs, strict=True)):
            prefix = f"{labels[position]:<{width}}  " if len(self.views) > 1 else ""
            events = view.refresh()
            old_count = len(events) - RECENT
            for number, event in enumerate(events):
                steps = isinstance(event, StepsCompleted)
                if number >= old_count or not steps:
                    self._write(prefix + line for line in log.lines(event))
                if self.gaps and isinstance(event, StepsCompleted):
                    self._compare(position, event.values().tolist())
            output = self._outputs[position]
            if output is not None:
                own_prefix = "" if self.is_ranks else prefix  # the launcher mixes all ranks' output
                self._write(own_prefix + line for line in output.read())
            state = view.history.state
            if state in (RunState.CRASHED, RunState.KILLED) and view.run.id not in self._reported:
                self._reported.add(view.run.id)  # no event reports it
                self._write(prefix + line for line in view.history.message.splitlines())
        if self._alarmed is None:
            self.new_alarms()
        return before != self._revision()

    def _revision(self) -> tuple[object, ...]:
        revisions = [view.history.revision for view in self.views]
        return (*revisions, self.lines_written, self.unfinished_line)

    def _label(self, view: RunView) -> str:
        return f"rank {view.config.rank}" if self.is_ranks else view.config.label

    def start_gap(self, view: RunView) -> str:
        """Return how a script's run starts otherwise than its reference; empty if it does not."""
        place = self._references[self.shown_views.index(view)]
        first = view if place is None else self.shown_views[place]
        return describe_start_gap(view.history.start, first.history.start)

    @property
    def unfinished_line(self) -> str:
        """The line that a script is still rewriting, a progress bar for example."""
        outputs = [output for output in self._outputs if output is not None]
        return outputs[0].unfinished if len(outputs) == 1 and self.live else ""

    def _compare(self, position: int, losses: list[float]) -> None:
        """Add a run's new losses to its gap, and to those that it is the reference of."""
        for gap in self.gaps:
            if position == gap.reference:
                gap.add(reference_losses=losses)
            elif position == gap.position:
                gap.add(losses)

    def send_request(self, request: Request) -> None:
        """Send a request to every run that is under way."""
        for view in self.views:
            if not view.history.state.over:
                view.run.write_request(request)

    def pause_or_resume(self) -> None:
        """Pause the runs under way; if all of them are paused, resume them."""
        under_way = [view for view in self.views if not view.history.state.over]
        paused = all(view.run.request() == "pause" for view in under_way)
        self.send_request("run" if paused else "pause")

    def summaries(self) -> list[RunSummary]:
        """Return the runs' summaries so far, for the results."""
        return [view.summary() for view in self.views]

    def _write(self, lines: Iterable[str]) -> None:
        new_lines = list(lines)
        self.lines_written += len(new_lines)
        self.lines = (self.lines + new_lines)[-MAX_LINES:]

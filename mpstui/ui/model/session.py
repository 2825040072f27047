"""The runs that are on screen: followed together, asked together."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np

from mpstui.domain.article import ArticleLog
from mpstui.domain.events import StepsCompleted, SystemSampled
from mpstui.domain.history import RunState
from mpstui.domain.loss_gap import LossGapMonitor
from mpstui.domain.series import Series
from mpstui.domain.summary import RunSummary
from mpstui.runs.control import Wish
from mpstui.runs.rundir import RunDir
from mpstui.runs.view import RunView

KEPT_LINES = 5000
"""Lines of the log that are kept for the screen; the whole log is on disk."""


RECENT = 1000
"""Newest events of a long log whose steps are put into lines: older lines would not be kept."""


def alarm_words(view: RunView) -> str:
    """A run's first alarm in words, its device in front."""
    return f"{view.config.device} {view.history.alarms[0].text}"


class RunSession:
    """Views of one run or of one comparison's runs."""

    def __init__(self, runs: Sequence[RunDir]) -> None:
        """Open the runs.

        Raises:
            LogError: When one of them cannot be read.
        """
        self.views = [RunView(run) for run in runs]
        self.lines: list[str] = []
        """The newest lines in the article's format, with the device in front of each if several."""
        self.lines_written = 0
        """How many lines there have been in all."""
        self._logs = [ArticleLog(view.config) for view in self.views]
        self._told: set[str] = set()
        self._alarmed: set[str] | None = None
        """Runs that had an alarm when last asked; None before the first look."""
        self.courses = [LossGapMonitor() for _ in self.views[1:]]
        self.gaps = [Series() for _ in self.views[1:]]
        """How far each further run is from the first, over steps, as a share of the loss."""

    @property
    def live(self) -> bool:
        """Whether a run is still under way."""
        return any(not view.history.state.over for view in self.views)

    @property
    def under_way(self) -> int:
        """How many runs are not over."""
        return sum(not view.history.state.over for view in self.views)

    @property
    def paused(self) -> int:
        """How many of them are asked to wait."""
        return sum(
            not view.history.state.over and view.run.wish() == "pause" for view in self.views
        )

    @property
    def timing(self) -> bool:
        """Whether a run's clock may be on."""
        return any(view.history.state is RunState.TRAINING for view in self.views)

    @property
    def taken(self) -> int:
        """Events that were taken in so far."""
        return sum(view.history.revision for view in self.views)

    @property
    def system(self) -> SystemSampled | None:
        """The newest reading of the machine by any worker."""
        readings = [view.history.system for view in self.views if view.history.system]
        return max(readings, key=lambda reading: reading.at, default=None)

    def new_alarms(self) -> list[RunView]:
        """Runs that got their first alarm since the last call, or since the first look."""
        views = [view for view in self.views if view.history.alarms]
        before, self._alarmed = self._alarmed, {view.run.id for view in views}
        return [view for view in views if before is not None and view.run.id not in before]

    def refresh(self) -> bool:
        """Read on; returns whether anything changed."""
        before = [view.history.revision for view in self.views]
        width = max(len(view.config.device) for view in self.views)
        for place, (view, log) in enumerate(zip(self.views, self._logs, strict=True)):
            prefix = f"{view.config.device:<{width}}  " if len(self.views) > 1 else ""
            events = view.refresh()
            old = len(events) - RECENT
            for number, event in enumerate(events):
                steps = isinstance(event, StepsCompleted)
                if number >= old or not steps:
                    self._write(prefix + line for line in log.lines(event))
                if self.courses and isinstance(event, StepsCompleted):
                    self._compare(place, np.frombuffer(event.losses, "<f4").tolist())
            state = view.history.state
            if state in (RunState.CRASHED, RunState.KILLED) and view.run.id not in self._told:
                self._told.add(view.run.id)  # no event of its own tells it
                self._write(prefix + line for line in view.history.message.splitlines())
        if self._alarmed is None:
            self.new_alarms()
        return before != [view.history.revision for view in self.views]

    def _compare(self, place: int, losses: list[float]) -> None:
        """Take a run's new losses into the gaps; the first run's count for every other."""
        for other, (course, gaps) in enumerate(zip(self.courses, self.gaps, strict=True), 1):
            if place == 0:
                blocks = course.add(reference_losses=losses)
            elif place == other:
                blocks = course.add(losses=losses)
            else:
                continue
            if blocks:
                gaps.append([block.step for block in blocks], [block.gap for block in blocks])

    def ask(self, wish: Wish) -> None:
        """Ask something of every run that is under way."""
        for view in self.views:
            if not view.history.state.over:
                view.run.ask(wish)

    def pause_or_resume(self) -> None:
        """Pause whatever trains; if all that is under way is paused, let it go on."""
        under_way = [view for view in self.views if not view.history.state.over]
        paused = all(view.run.wish() == "pause" for view in under_way)
        self.ask("run" if paused else "pause")

    def summaries(self) -> list[RunSummary]:
        """The runs' rows for the results, as far as they have come."""
        return [view.summary() for view in self.views]

    def _write(self, lines: Iterable[str]) -> None:
        new = list(lines)
        self.lines_written += len(new)
        self.lines = (self.lines + new)[-KEPT_LINES:]

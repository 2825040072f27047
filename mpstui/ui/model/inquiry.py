"""An investigation in the app: its request, its progress so far, and its finding."""

from __future__ import annotations

from collections.abc import Sequence
from enum import Enum
from typing import NamedTuple

from mpstui.domain.investigation import Investigation, ProgressMessage, Stage
from mpstui.domain.workloads import short_name
from mpstui.investigate.request import InvestigationFolder
from mpstui.runs.rundir import RunDir
from mpstui.runs.view import RunView

ABOUT = {
    Stage.PREPARE: "build the run again, on its device and on the CPU",
    Stage.LOCKSTEP: "the same step on both: forward, backward or optimizer?",
    Stage.OPS: "every op of that step again on the CPU, on the same values",
    Stage.REPEAT: "the op alone: again, contiguous, in a fresh process",
    Stage.SHRINK: "the smallest call that still fails, as repro.py",
    Stage.REPORT: "the whole report as Markdown, to read or to post",
}
"""A description of each stage."""

ABOUT_SCRIPT = ABOUT | {
    Stage.PREPARE: "start the script again, as it is",
    Stage.LOCKSTEP: "not for a script: there is no second side of it",
    Stage.OPS: "every op of a few of its steps again on the CPU",
}
"""The same for a script."""


class StageState(Enum):
    """A stage's state; the value is its mark."""

    WAITING = "·"
    UNDER_WAY = "▸"
    DONE = "✓"
    CUT = "✗"
    """The investigation ended in this stage."""
    LEFT_OUT = "–"
    """The investigation ended without this stage."""


class StageLine(NamedTuple):
    """A stage as the screen shows it."""

    stage: Stage
    state: StageState
    text: str = ""
    fraction: float | None = None
    seconds: float | None = None


class Inquiry:
    """One investigation of one run. Only ``take`` and ``end`` change it."""

    def __init__(
        self, run: RunDir, folder: InvestigationFolder, began: float | None = None
    ) -> None:
        """Create an inquiry.

        Args:
            run: The investigated run.
            folder: The folder of request, finding, report and repro.
            began: The start on the app's monotonic clock; None for one loaded from its folder.

        Raises:
            LogError: The folder's request cannot be read.
        """
        request = folder.request()
        self.run = run
        self.folder = folder
        self.began = began
        self.config = request.config if request else run.config()
        self._about = ABOUT_SCRIPT if self.config.info.is_recorded else ABOUT
        self.progress: dict[Stage, ProgressMessage] = {}
        self.finding: Investigation | None = None
        self.stopping = False
        self._current: Stage | None = None
        self._spans: dict[Stage, tuple[float, float | None]] = {}

    @classmethod
    def load_newest(cls, run: RunDir) -> Inquiry | None:
        """Load the newest inquiry with a finding from a run's folder, whichever program made it.

        Raises:
            LogError: Its files cannot be read.
        """
        for path in run.investigations():
            finding = InvestigationFolder(path).finding()
            if finding is not None:
                inquiry = cls(run, InvestigationFolder(path))
                inquiry.finding = finding
                return inquiry
        return None

    @property
    def under_way(self) -> bool:
        """True until the finding is in."""
        return self.finding is None

    @property
    def simulated(self) -> bool:
        """True if the run simulates a fault."""
        return self.config.spec.option("fault") is not None

    @property
    def name(self) -> str:
        """``vae on mps``."""
        return f"{short_name(self.config.workload)} on {self.config.label}"

    def take(self, update: ProgressMessage, clock_seconds: float) -> None:
        """Take a worker's progress. A stage may repeat, since a second worker starts over."""
        if self._current is not update.stage:
            self._close(clock_seconds)
        began, _ = self._spans.get(update.stage, (clock_seconds, None))
        self._current = update.stage
        self._spans[update.stage] = (began, clock_seconds if update.done else None)
        self.progress[update.stage] = update

    def end(self, finding: Investigation, clock_seconds: float) -> None:
        """Take the finding, which is the last update."""
        self.finding = finding
        self._close(clock_seconds)

    def _close(self, clock_seconds: float) -> None:
        if self._current is not None:
            began, end = self._spans[self._current]
            self._spans[self._current] = (began, clock_seconds if end is None else end)

    def lines(self, clock_seconds: float) -> list[StageLine]:
        """Return the six stages; the argument is the app's monotonic clock, in seconds."""
        return [self._line(stage, clock_seconds) for stage in Stage]

    def _line(self, stage: Stage, clock_seconds: float) -> StageLine:
        update, state = self.progress.get(stage), self._state(stage)
        seconds = None
        if self.finding is not None and stage.value in self.finding.seconds:
            seconds = self.finding.seconds[stage.value]
        elif stage in self._spans and state is not StageState.WAITING:
            began, end = self._spans[stage]
            seconds = (clock_seconds if end is None else end) - began
        if state is StageState.LEFT_OUT:
            early = self.finding is not None and self.finding.error
            return StageLine(stage, state, "not reached" if early else "not needed")
        if update is None or state is StageState.WAITING:
            return StageLine(stage, state, self._about[stage], seconds=seconds)
        fraction = update.fraction if state is StageState.UNDER_WAY else None
        return StageLine(stage, state, update.text, fraction, seconds)

    def _state(self, stage: Stage) -> StageState:
        update, order = self.progress.get(stage), list(Stage)
        if self.finding is None:
            if stage is self._current and update is not None and not update.done:
                return StageState.UNDER_WAY
            later = self._current is None or order.index(stage) > order.index(self._current)
            return StageState.WAITING if update is None or later else StageState.DONE
        if update is None:
            return StageState.DONE if stage.value in self.finding.seconds else StageState.LEFT_OUT
        cut = bool(self.finding.error) and stage is self._current and not update.done
        return StageState.CUT if cut else StageState.DONE


def choose(views: Sequence[RunView]) -> RunView | None:
    """Return the run to investigate when the user selected none.

    The first with an alarm; else the last that is not on the plain ``cpu``; else the last.
    """
    for view in views:
        if view.history.alarms:
            return view
    candidates = [view for view in views if not view.config.spec.is_plain_cpu] or list(views)
    return candidates[-1] if candidates else None

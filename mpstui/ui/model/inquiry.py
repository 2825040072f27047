"""An investigation as the app knows it: what is asked, what was told so far, what was found."""

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
    Stage.REPORT: "all of it as Markdown, for a person or an issue",
}
"""What each stage does, in words."""


class StageState(Enum):
    """Where a stage stands; the value is its mark."""

    WAITING = "·"
    UNDER_WAY = "▸"
    DONE = "✓"
    CUT = "✗"
    """The investigation ended in it."""
    LEFT_OUT = "–"
    """The investigation ended without it."""


class StageLine(NamedTuple):
    """A stage, as it is shown."""

    stage: Stage
    state: StageState
    text: str = ""
    fraction: float | None = None
    seconds: float | None = None


class Inquiry:
    """One investigation of one run. ``take`` and ``end`` are the only ways in."""

    def __init__(
        self, run: RunDir, folder: InvestigationFolder, began: float | None = None
    ) -> None:
        """Make one.

        Args:
            run: The run that is looked into.
            folder: Where request, finding, report and repro lie.
            began: When it was begun on the app's monotonic clock; None of one that is read again.

        Raises:
            LogError: When the folder's request cannot be read.
        """
        request = folder.request()
        self.run = run
        self.folder = folder
        self.began = began
        self.config = request.config if request else run.config()
        self.told: dict[Stage, ProgressMessage] = {}
        self.finding: Investigation | None = None
        self.stopping = False
        self._current: Stage | None = None
        self._spans: dict[Stage, tuple[float, float | None]] = {}

    @classmethod
    def kept(cls, run: RunDir) -> Inquiry | None:
        """The newest one that a run's folder holds a finding of, made by whoever.

        Raises:
            LogError: When its files cannot be read.
        """
        for path in sorted((run.path / "investigations").glob("*"), reverse=True):
            finding = InvestigationFolder(path).finding()
            if finding is not None:
                inquiry = cls(run, InvestigationFolder(path))
                inquiry.finding = finding
                return inquiry
        return None

    @property
    def under_way(self) -> bool:
        """Whether it has been begun and not ended."""
        return self.finding is None

    @property
    def simulated(self) -> bool:
        """Whether the fault was asked for."""
        return self.config.spec.option("fault") is not None

    @property
    def name(self) -> str:
        """``vae on mps``."""
        return f"{short_name(self.config.workload)} on {self.config.device}"

    def take(self, told: ProgressMessage, now: float) -> None:
        """Take what its worker says. A stage may be told of again: a second worker begins anew."""
        if self._current is not told.stage:
            self._close(now)
        began, _ = self._spans.get(told.stage, (now, None))
        self._current = told.stage
        self._spans[told.stage] = (began, now if told.done else None)
        self.told[told.stage] = told

    def end(self, finding: Investigation, now: float) -> None:
        """Take the finding: nothing more will come."""
        self.finding = finding
        self._close(now)

    def _close(self, now: float) -> None:
        if self._current is not None:
            began, ended = self._spans[self._current]
            self._spans[self._current] = (began, now if ended is None else ended)

    def lines(self, now: float) -> list[StageLine]:
        """The six stages; ``now`` is on the app's monotonic clock."""
        return [self._line(stage, now) for stage in Stage]

    def _line(self, stage: Stage, now: float) -> StageLine:
        told, state = self.told.get(stage), self._state(stage)
        seconds = None
        if self.finding is not None and stage.value in self.finding.seconds:
            seconds = self.finding.seconds[stage.value]
        elif stage in self._spans and state is not StageState.WAITING:
            began, ended = self._spans[stage]
            seconds = (now if ended is None else ended) - began
        if state is StageState.LEFT_OUT:
            early = self.finding is not None and self.finding.error
            return StageLine(stage, state, "not reached" if early else "not needed")
        if told is None or state is StageState.WAITING:
            return StageLine(stage, state, ABOUT[stage], seconds=seconds)
        fraction = told.fraction if state is StageState.UNDER_WAY else None
        return StageLine(stage, state, told.text, fraction, seconds)

    def _state(self, stage: Stage) -> StageState:
        told, order = self.told.get(stage), list(Stage)
        if self.finding is None:
            if stage is self._current and told is not None and not told.done:
                return StageState.UNDER_WAY
            later = self._current is None or order.index(stage) > order.index(self._current)
            return StageState.WAITING if told is None or later else StageState.DONE
        if told is None:
            return StageState.DONE if stage.value in self.finding.seconds else StageState.LEFT_OUT
        cut = bool(self.finding.error) and stage is self._current and not told.done
        return StageState.CUT if cut else StageState.DONE


def choose(views: Sequence[RunView]) -> RunView | None:
    """The run to look into when nobody points at one.

    The first that went wrong; else the last that is not on the plain ``cpu``; else the last.
    """
    for view in views:
        if view.history.alarms:
            return view
    others = [view for view in views if view.config.device != "cpu"] or list(views)
    return others[-1] if others else None

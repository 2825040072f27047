"""Folds a run's events into the state that screens, CLI lines and reports show."""

from __future__ import annotations

import math
from enum import Enum
from typing import NamedTuple

import numpy as np
from typing_extensions import assert_never

from .alarm import Alarm, alarms_of, fails
from .events import (
    AlarmRaised,
    AnyEvent,
    DivergenceDetected,
    EpochCompleted,
    EvaluationChecked,
    EvaluationCompleted,
    EvaluationTimed,
    MatmulMeasured,
    ParametersHashed,
    PlanChosen,
    PreparationAdvanced,
    ProgressStalled,
    RanksDiffered,
    RunFailed,
    RunFinished,
    RunPaused,
    RunResumed,
    RunStarted,
    RunStopped,
    SampleSaved,
    SeriesRecorded,
    SnapshotSaved,
    StartHashed,
    StepChecked,
    StepProfiled,
    StepsCompleted,
    SystemSampled,
    WarmupFinished,
    WorkCounted,
)
from .growth import MemoryGrowth, MemoryReading, growth_of
from .metrics import EVENT_METRICS, LOSS, METRICS, THROUGHPUT
from .series import Series
from .summary import MedianSpread, measure
from .workloads import EPOCH_SAMPLES, info_of

MAX_WINDOWS = 4096
"""Timed windows kept for the median throughput; even. When full, neighbours are merged."""


MAX_READINGS = 512
"""Memory readings kept; when full, every second one is dropped."""


MAX_SERIES = 200
"""Series of a recorded script that a history keeps; the log has all of them."""


class RunState(str, Enum):
    """The state of a run."""

    STARTING = "starting"
    WARMING_UP = "warming up"
    TRAINING = "training"
    EVALUATING = "evaluating"
    PAUSED = "paused"
    FINISHED = "finished"
    STOPPED = "stopped"
    FAILED = "failed"
    CRASHED = "crashed"
    KILLED = "killed"

    @property
    def over(self) -> bool:
        """Whether the run has ended."""
        return self in (
            RunState.FINISHED,
            RunState.STOPPED,
            RunState.FAILED,
            RunState.CRASHED,
            RunState.KILLED,
        )


class TimedWindow(NamedTuple):
    """A stretch of timed steps."""

    samples: int
    seconds: float


class RunHistory:
    """The state of a run according to its log so far. Only ``apply`` and ``end`` change it."""

    def __init__(self) -> None:
        self.state = RunState.STARTING
        self.message = ""
        """The current preparation, or why the run ended."""
        self.fraction: float | None = None
        """How much of the preparation is done."""
        self.started: RunStarted | None = None
        self.plan: PlanChosen | None = None
        """How its steps are run; None for the plain loop."""
        self.epoch = 0
        self.step = 0
        self.epoch_samples = 0
        self.samples = 0
        self.lr: float | None = None
        self.loss: float | None = None
        """The newest loss, NaN and ±inf included."""
        self.device_bytes: int | None = None
        self.series = {metric.name: Series() for metric in METRICS}
        """Every metric over steps, by name."""
        self.losses = self.series[LOSS.name]
        self.recorded_series: dict[str, Series] = {}
        """A recorded script's other series over steps, by name."""
        self.evaluation_seconds = 0.0
        """Time in evaluations, which the clock excludes."""
        self.data_seconds: float | None = None
        """Time in the timed windows that a recorded script waited for its DataLoader."""
        self.timed_seconds = 0.0
        """Seconds of the timed windows."""
        self.rank_alarm: RanksDiffered | None = None
        """The first difference between the parameters of ranks; in rank 0's history."""
        self.start: StartHashed | None = None
        """Where a recorded script started, to compare it with another run of it."""
        self.elapsed_by_step = Series()
        """Seconds since the first step, so that the x axis can be time."""
        self.epochs: list[EpochCompleted] = []
        self.evaluations: list[EvaluationCompleted] = []
        self.pictures: list[SampleSaved] = []
        self.system: SystemSampled | None = None
        self.stall: ProgressStalled | None = None
        """The stall that the training is in, as far as its worker has noticed."""
        self.diverged: DivergenceDetected | None = None
        self.alarm: AlarmRaised | None = None
        """The first alarm: where this run diverged from the reference run."""
        self.step_check: StepChecked | None = None
        """The newest comparison of a step with the CPU's."""
        self.failed_step: StepChecked | None = None
        """The first step check that shows a difference."""
        self.test_check: EvaluationChecked | None = None
        """The newest comparison of a test with the CPU's."""
        self.failed_test: EvaluationChecked | None = None
        """The first test check that shows a difference."""
        self.memory_growth: MemoryGrowth | None = None
        """Steady memory growth of the worker or, failing that, of its device."""
        self.profile: StepProfiled | None = None
        self.work: WorkCounted | None = None
        self.matmul: MatmulMeasured | None = None
        self.snapshot: SnapshotSaved | None = None
        """The newest snapshot: the step that ``--resume`` continues from, and the cost so far."""
        self.joules = 0.0
        """Energy of the timed windows where it is known; ``joule_samples`` counts their samples."""
        self.joule_samples = 0
        self.first_at: float | None = None
        self.last_at: float | None = None
        self.revision = 0
        """Grows with every event, so that a screen knows whether to redraw."""
        self._warm = False
        self._windows: list[TimedWindow] = []
        self._memory: dict[str, list[MemoryReading]] = {"worker": [], "device": []}
        self._ready_at = 0.0
        self._resumed_at = 0.0
        self._training_seconds = 0.0  # wall time since the first step, without pauses
        self._epoch_start = 0  # the last step of the epoch before
        # Of the run that this one resumes.
        self._earlier_steps = 0
        self._earlier_seconds = 0.0

    def apply(self, event: AnyEvent) -> None:
        """Update the state with one event."""
        self.revision += 1
        self.first_at = event.at if self.first_at is None else self.first_at
        if not self.state.over:  # an alarm may follow the end
            self.last_at = event.at
        if not isinstance(event, (SystemSampled, AlarmRaised)):
            self.stall = event if isinstance(event, ProgressStalled) else None
        self._apply_state(event)
        for metric in EVENT_METRICS:
            value = metric.recorded(event)
            if value is not None and self.step:
                self.series[metric.name].add(self.step, value)

    def _apply_state(self, event: AnyEvent) -> None:
        match event:
            case PreparationAdvanced():
                # A resumed run's log begins with the earlier run's steps; preparation follows them.
                self.state = RunState.STARTING
                self.message, self.fraction = event.stage, event.fraction
            case RunStarted():
                self.started = event
                self.state, self.message, self.fraction = RunState.WARMING_UP, "", None
                self._ready_at = self._resumed_at = event.at
                self._earlier_steps = self.step
            case PlanChosen():
                self.plan, self.message = event, ""
                if self.state is RunState.STARTING:  # what was checked before is not training
                    self._ready_at = self._resumed_at = event.at
                    self.state, self.fraction = RunState.WARMING_UP, None
            case WarmupFinished():
                self.state, self._warm, self.message = RunState.TRAINING, True, ""
            case StepsCompleted():
                self._apply_steps(event)
            case EpochCompleted():
                self.epochs.append(event)
                self.state = RunState.EVALUATING
            case EvaluationCompleted():
                self.evaluations.append(event)
                self.evaluation_seconds += max(event.seconds, 0.0)
                self.state = RunState.TRAINING
            case EvaluationTimed():
                self.evaluation_seconds += max(event.seconds, 0.0)
            case SeriesRecorded():
                self._apply_series(event)
            case StartHashed():
                self.start = event
            case ParametersHashed():
                pass  # rank 0 compares them, and logs the result
            case RanksDiffered():
                self.rank_alarm = self.rank_alarm or event
            case SampleSaved():
                self.pictures.append(event)
            case SystemSampled():
                self.system = event
                self._note_memory(event.process_rss)
            case ProgressStalled():
                pass
            case StepProfiled():
                self.profile = event
            case WorkCounted():
                self.work = event
            case MatmulMeasured():
                self.matmul = event
            case SnapshotSaved():
                self.snapshot = event
            case StepChecked():
                self._apply_check(event)
            case EvaluationChecked():
                self.test_check = event
                self.failed_test = self.failed_test or (event if fails(event) else None)
            case DivergenceDetected():
                self.diverged = event
            case AlarmRaised():
                self.alarm = self.alarm or event
            case RunPaused():
                self._training_seconds += event.at - self._resumed_at
                self.state = RunState.PAUSED
            case RunResumed():
                self._resumed_at = event.at
                self.state = RunState.TRAINING if self._warm else RunState.WARMING_UP
            case RunFinished():
                self.end(RunState.FINISHED, event.note)
            case RunStopped():
                self.end(RunState.STOPPED, event.reason)
            case RunFailed():
                self.end(RunState.FAILED, event.error)
            case _:
                assert_never(event)

    def end(self, state: RunState, message: str) -> None:
        """Set a final state; a reader calls this too when the worker has exited."""
        self.state, self.message = state, message
        self.revision += 1

    def _apply_check(self, event: StepChecked) -> None:
        self.step_check = event
        self.failed_step = self.failed_step or (event if fails(event) else None)
        if self.state is RunState.STARTING:  # the check before the first step is not training
            self._ready_at = self._resumed_at = event.at
            self.state, self.message, self.fraction = RunState.WARMING_UP, "", None

    def _apply_steps(self, event: StepsCompleted) -> None:
        losses = np.asarray(event.values())
        steps = np.arange(event.first_step, event.first_step + len(losses))
        if event.has_loss:
            self.losses.append(steps, losses)
        if self.state is not RunState.WARMING_UP:
            self.state = RunState.TRAINING
        if event.epoch != self.epoch:
            self._epoch_start = event.first_step - 1
        if event.trial:
            self.message = f"autotuning: {event.trial}"
        self.epoch, self.step = event.epoch, int(steps[-1])
        self.samples += event.samples
        self.epoch_samples = event.epoch_samples
        self.lr, self.device_bytes = event.lr, event.device_bytes
        self.loss = float(losses[-1]) if event.has_loss else None
        if self.started is None:
            self._earlier_seconds += event.seconds
        since = event.at - self._ready_at if self.started is not None else 0.0
        self.elapsed_by_step.add(self.step, self._earlier_seconds + since)
        self._note_memory(event.worker_bytes)
        if THROUGHPUT.recorded(event) is not None:
            self._windows.append(TimedWindow(event.samples, event.seconds))
            self.timed_seconds += event.seconds
            if event.data_seconds is not None:
                self.data_seconds = (self.data_seconds or 0.0) + event.data_seconds
            if event.joules is not None:
                self.joules += event.joules
                self.joule_samples += event.samples
            if len(self._windows) >= MAX_WINDOWS:  # an even number, so every window has a pair
                pairs = zip(self._windows[::2], self._windows[1::2], strict=False)
                self._windows = [
                    TimedWindow(left.samples + right.samples, left.seconds + right.seconds)
                    for left, right in pairs
                ]

    def _apply_series(self, event: SeriesRecorded) -> None:
        if event.name not in self.recorded_series and len(self.recorded_series) == MAX_SERIES:
            return
        series = self.recorded_series.setdefault(event.name, Series())
        by_step = dict(zip(event.steps, event.numbers(), strict=True))  # the last of a step counts
        newest = series.last_x()
        later = [step for step in sorted(by_step) if newest is None or step > newest]
        series.append(later, [by_step[step] for step in later])

    def _note_memory(self, worker_bytes: int | None) -> None:
        if not self._warm:
            return
        for where, value in (("worker", worker_bytes), ("device", self.device_bytes)):
            readings = self._memory[where]
            if value is None or (readings and readings[-1].step >= self.step):
                continue
            readings.append(MemoryReading(self.step, value))
            if len(readings) >= MAX_READINGS:
                del readings[1::2]
        self.memory_growth = next(
            filter(None, (growth_of(readings, name) for name, readings in self._memory.items())),
            None,
        )

    def series_of(self, name: str) -> Series:
        """Return a metric's or a recorded series' values; an empty series if there are none.

        A script's own series has priority: its accuracy is not one that mpstui measured.
        """
        return self.recorded_series.get(name) or self.series.get(name) or Series(2)

    @property
    def alarms(self) -> tuple[Alarm, ...]:
        """The run's alarms in the order of their steps."""
        return alarms_of(
            self.diverged.step if self.diverged else None,
            self.alarm.step if self.alarm else None,
            self.alarm.against if self.alarm else "",
            (self.failed_step, self.failed_test),
            self.rank_alarm,
        )

    @property
    def progress(self) -> float:
        """Completed share of the requested steps, 0 to 1; of the epoch's if they are unknown."""
        started = self.started
        if started is None:
            return 0.0
        if started.total_steps:
            return min(self.step / started.total_steps, 1.0)
        if self.state.over:
            return 1.0 if self.state is RunState.FINISHED else 0.0
        return self.epoch_progress or 0.0

    @property
    def epoch_progress(self) -> float | None:
        """Completed share of the current epoch, 0 to 1; None if its length is unknown."""
        if self.started is None or not self.started.steps_per_epoch:
            return None
        steps = self.step - self._epoch_start
        return min(max(steps / self.started.steps_per_epoch, 0.0), 1.0)

    @property
    def elapsed(self) -> float | None:
        """Wall seconds from the start of training to the newest event."""
        if self.started is None or self.last_at is None:
            return None
        return self.elapsed_at(self.last_at)

    def elapsed_at(self, at: float) -> float:
        """Return the wall seconds to a time: from the start of training or, before it, of the run.

        Args:
            at: Unix time in seconds.
        """
        start = self._ready_at if self.started is not None else self.first_at or at
        return max(at - start, 0.0)

    def eta(self, now: float) -> float | None:
        """Estimate the seconds until the end at the pace so far, including other runs' turns.

        Args:
            now: Wall-clock Unix time in seconds.

        Returns:
            None if unknown.
        """
        steps = self.step - self._earlier_steps
        if self.started is None or steps == 0 or self.state.over or not self.started.total_steps:
            return None
        running = 0.0 if self.state is RunState.PAUSED else max(now - self._resumed_at, 0.0)
        remaining_steps = self.started.total_steps - self.step
        return (self._training_seconds + running) / steps * remaining_steps

    def rate_now(self, seconds: float = 3.0) -> float | None:
        """Return samples per second over the last timed windows, about ``seconds`` in total."""
        samples, time = 0, 0.0
        for window in reversed(self._windows):
            samples, time = samples + window.samples, time + window.seconds
            if time >= seconds:
                break
        return samples / time if time else None

    def rate(self) -> MedianSpread | None:
        """Return the median samples per second over all timed windows."""
        return measure([window.samples / window.seconds for window in self._windows])

    def epoch_seconds(self) -> MedianSpread | None:
        """Return the median seconds of an epoch; one that was timed in part is scaled.

        An epoch has 60,000 samples, or those of the user's own data or DataLoader.
        """
        seconds = [
            epoch.timed_seconds * samples / epoch.timed_samples
            for epoch in self.epochs
            if epoch.timed_samples
            for samples in (self._samples_of(epoch),)
        ]
        return measure(seconds)

    def _samples_of(self, epoch: EpochCompleted) -> int:
        if self.started is None:
            return EPOCH_SAMPLES
        is_recorded = info_of(self.started.workload).is_recorded
        return epoch.samples if is_recorded else self.started.epoch_samples or epoch.samples

    @property
    def joules_per_epoch(self) -> float | None:
        """Joules for 60,000 samples, over the timed windows whose energy was measured."""
        if not self.joule_samples:
            return None
        return self.joules * EPOCH_SAMPLES / self.joule_samples

    @property
    def flops_per_second(self) -> float | None:
        """Floating-point operations of products, per second of timed training; None if unknown."""
        rate = self.rate()
        if rate is None or self.work is None or self.work.flops is None:
            return None
        return rate.median * self.work.flops / self.work.samples if self.work.samples else None

    @property
    def evaluation(self) -> EvaluationCompleted | None:
        """The newest evaluation."""
        return self.evaluations[-1] if self.evaluations else None

    @property
    def accuracy(self) -> float | None:
        """Share of correct answers in the newest evaluation, 0 to 1."""
        return None if self.evaluation is None else self.evaluation.accuracy

    @property
    def finite_loss(self) -> float | None:
        """The newest loss if it is finite."""
        return self.loss if self.loss is not None and math.isfinite(self.loss) else None

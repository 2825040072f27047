"""The windows of a recorded script: steps that are read, timed and recorded together.

Losses stay on the device and are read in one transfer per flush, in the thread that trains. The
clock excludes the first steps, evaluations, pauses and the steps that are profiled.
"""

from __future__ import annotations

from collections.abc import Callable

import torch

from mpstui.backends import Backend
from mpstui.domain.config import RunConfig
from mpstui.domain.events import (
    AnyEvent,
    EpochCompleted,
    ParametersHashed,
    StepProfiled,
    StepsCompleted,
    WarmupFinished,
)
from mpstui.engine.meter import PROFILE_AFTER, SETTLE_STEPS, WARMUP_STEPS, consumed
from mpstui.engine.progress import Progress
from mpstui.engine.soundness import DivergenceWatch
from mpstui.telemetry.system import resident_bytes

from .batches import BatchLedger
from .device import is_capturing
from .digest import digest
from .epoch import EpochSums
from .flush import StepBuffer, Window, series_events
from .norms import NormReader
from .optimizers import OptimizerTrack
from .phases import PhaseSampler

FLUSH_SECONDS = 0.5
FLUSH_STEPS = 1000
FLUSH_SHARE = 0.003
"""Largest share of the time that flushes may take; where one takes long, they come less often."""

MAX_FLUSH_SECONDS = 2.0
"""Longest time between two flushes, whatever they cost."""


class StepWindows:
    """Reads the steps that wait, and records them: the base of :class:`StepRecorder`."""

    def __init__(
        self,
        config: RunConfig,
        record: Callable[[AnyEvent], None],
        on_alarm: Callable[[str], None],
        now: Callable[[], float],
        clock: Callable[[], float],
        energy: Callable[[], float | None] | None,
    ) -> None:
        self.step = 0
        """The last completed step of the first optimizer, counted from 1."""
        self.backend: Backend | None = None
        """Of the device that trains; None before the first step."""
        self.step_seconds: float | None = None
        """Seconds per step in the newest window; None before the first one."""
        self._config = config
        self._record_event = record
        self._on_alarm = on_alarm
        self._now, self._clock, self._energy = now, clock, energy
        self._batches = BatchLedger()
        self._buffer = StepBuffer()
        self._divergence, self._progress = DivergenceWatch(), Progress()
        self._phases = PhaseSampler(clock)
        self._norms = NormReader(clock)
        self._epoch = EpochSums()
        self._first: OptimizerTrack | None = None
        self._sums: list[tuple[int, torch.Tensor | None]] = []
        self._is_synchronised = False
        self._explicit = False
        self._may_be_explicit = False
        self._mark = 0.0
        self._flush_after = FLUSH_SECONDS
        self._joules: float | None = None
        self._data_seconds: float | None = None
        self._untimed = WARMUP_STEPS
        self._warm = False
        self._warmup_seconds = 0.0
        self._timed_steps, self._timed_seconds = 0, 0.0

    def _flush_if_due(self) -> None:
        if self._phases.active and self._phases.step_ended():
            self._flush(is_at_step=True, profiled=True)
            self._report_profile()
        elif self._is_due():
            self._flush(is_at_step=True)
            self._profile_if_due()
        self._norms.next_step()

    def _is_due(self) -> bool:
        pending = self._buffer.steps
        if self._sums:  # another rank waits to compare them, and may end soon
            return True
        if self.step == 1:  # so that the run is shown; the next call may be an explicit step
            return self._explicit or not self._may_be_explicit
        if self._untimed:
            return pending >= self._untimed or self._clock() - self._mark >= FLUSH_SECONDS
        return pending >= FLUSH_STEPS or self._clock() - self._mark >= self._flush_after

    def _flush(self, is_at_step: bool = False, profiled: bool = False) -> None:
        """Read the losses since the last flush, and record what they show.

        Args:
            is_at_step: Whether the optimizer has just stepped, so that its gradients are whole.
            profiled: Whether a profile that is over includes these steps, so that they are not
                timed; one under way is known.
        """
        if not self._buffer.steps or self.backend is None:
            return
        if is_capturing():  # a CUDA graph is recorded; nothing may wait for the device
            return
        first = self._first if is_at_step else None
        norm = self._norms.read(first) if first is not None else None
        windows = self._buffer.read()
        end = self._clock()
        seconds, joules = end - self._mark, None
        if self._energy is not None:
            before, self._joules = self._joules, self._energy()
            joules = consumed(before, self._joules)
        profiled |= self._phases.active
        counts = not profiled and self._untimed == 0 and len(windows) == 1
        steps = sum(window.steps for window in windows)
        self.step_seconds = seconds / steps
        for window in windows:
            share = seconds * window.steps / steps
            newest = norm if window is windows[-1] else None
            self._epoch.add(window, share, counts, end)
            self._record_event(self._completed(window, share, counts, newest, joules))
            self._record_series(window.series)
            self._watch_divergence(window)
            self._data_seconds = None if self._data_seconds is None else 0.0
        self._record_digests()
        if counts:
            self._timed_steps += steps
            self._timed_seconds += seconds
        self._warm_up(steps, seconds)
        self._mark = self._clock()
        # Without the wait for the device, which has to finish these steps anyway.
        cost = self._mark - end
        self._flush_after = min(max(FLUSH_SECONDS, cost / FLUSH_SHARE), MAX_FLUSH_SECONDS)

    def _record_series(self, series: dict[str, list[tuple[int, float]]]) -> None:
        for event in series_events(series, self._now()):
            self._record_event(event)

    def _record_digests(self) -> None:
        sums, self._sums = self._sums, []
        for step, parameter_sums in sums:
            if parameter_sums is not None:
                self._record_event(
                    ParametersHashed(
                        at=self._now(),
                        step=step,
                        digest=digest(parameter_sums),
                        synchronised=self._is_synchronised,
                    )
                )

    def _watch_divergence(self, window: Window) -> None:
        if not window.has_loss:
            return
        event = self._divergence.check(
            self._progress, window.first_step, window.losses, self._now()
        )
        if event is not None:
            self._record_event(event)
            self._on_alarm(f"loss {event.value} at step {event.step}")

    def _completed(
        self, window: Window, seconds: float, timed: bool, norm: float | None, joules: float | None
    ) -> StepsCompleted:
        assert self.backend is not None
        return StepsCompleted(
            at=self._now(),
            epoch=self._batches.epoch,
            first_step=window.first_step,
            losses=window.losses.tobytes(),
            has_loss=window.has_loss,
            samples=window.samples,
            epoch_samples=self._epoch.samples,
            seconds=round(seconds, 7),
            timed=timed,
            lr=window.lr,
            device_bytes=self.backend.allocated(),
            grad_norm=norm,
            joules=joules if timed else None,
            worker_bytes=resident_bytes(),
            data_seconds=self._data_seconds,
        )

    def _warm_up(self, steps: int, seconds: float) -> None:
        self._untimed = max(self._untimed - steps, 0)
        if self._warm:
            return
        self._warmup_seconds += seconds
        if self._untimed == 0:
            self._warm = True
            seconds = self._warmup_seconds
            self._record_event(WarmupFinished(at=self._now(), steps=self.step, seconds=seconds))

    def _profile_if_due(self) -> None:
        # Under a closure or with several optimizers the phases repeat; they add up.
        if self._phases.done or self._phases.active or self._timed_steps < PROFILE_AFTER:
            return
        assert self.backend is not None
        self._phases.start(self.backend)

    def _report_profile(self) -> None:
        self._untimed = SETTLE_STEPS
        self._record_event(
            StepProfiled(
                at=self._now(),
                step=self.step,
                steps=len(self._phases.laps),
                seconds=self._phases.medians(),
                unsynchronised=self._timed_seconds / self._timed_steps,
            )
        )

    def _restart_clock(self) -> None:
        self._phases.interrupted()
        self._joules = self._energy() if self._energy else None
        self._data_seconds = None if self._data_seconds is None else 0.0
        self._mark = self._clock()

    def _complete_epoch(self) -> None:
        if not self._epoch.steps:
            return
        fields = self._epoch.take()
        event = EpochCompleted(at=self._now(), epoch=self._batches.epoch, **fields)
        self._record_event(event)

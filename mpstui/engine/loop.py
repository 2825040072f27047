"""The training loop: yields the run's events and doesn't know who reads them.

It is the loop of PyTorch's example scripts with three differences: losses stay on the device and
are read once per flush, a gate is passed before each step, and the clock excludes everything that
is not a training step. Its state can be saved between two steps, and it can resume from there.
"""

from __future__ import annotations

import contextlib
import math
import time
from collections.abc import Callable, Generator, Iterator
from dataclasses import replace

import torch

from mpstui.backends import RngState
from mpstui.domain.events import (
    AnyEvent,
    EpochCompleted,
    PreparationAdvanced,
    RunFinished,
    RunPaused,
    RunResumed,
    RunStopped,
    SnapshotSaved,
    WarmupFinished,
)
from mpstui.runs.user_code import USER_ERRORS

from .checks.schedule import CheckSchedule
from .data.feed import Batch, Feed
from .data.source import FeedForm
from .evaluate import evaluate, save_pictures
from .gate import Gate, StopRequested
from .meter import SETTLE_STEPS, WARMUP_STEPS, Meter
from .profile import Profiler, profile_steps
from .progress import Progress
from .setup import Setup
from .snapshot_budget import Snapshots
from .snapshots import save_model
from .soundness import DivergenceWatch, has_gradients
from .step_events import steps_completed
from .steps import steps_of
from .steps.base import split
from .tuning import Tuning, calls_of_block, train_block
from .work import WorkMeter


class Loop:
    """One run's training. ``events()`` does all the work, lazily."""

    def __init__(
        self,
        setup: Setup,
        gate: Gate,
        now: Callable[[], float] = time.time,
        energy: Callable[[], float | None] | None = None,
        snapshots: Snapshots | None = None,
        resume: Progress | None = None,
        tuner: Tuning | None = None,
        checks: CheckSchedule | None = None,
    ) -> None:
        """Prepare to train.

        Args:
            setup: The run; for a resumed one, with the snapshot's state restored.
            gate: Pauses, stops and turns.
            now: Wall-clock Unix time in seconds.
            energy: Joules since a fixed moment; None where unknown.
            snapshots: Saves the state during training; None for no snapshots.
            resume: Where to resume; None for the beginning.
            tuner: Selects the plan once the device is free; None for the plain loop.
            checks: Compares steps and evaluations with the CPU's; None for no checks.
        """
        self._setup = setup
        self._config = setup.config
        self._gate = gate
        self._now = now
        self._meter = Meter(setup.backend, setup.workload.per_sample, energy=energy)
        self._profiler = Profiler()
        self._snapshots = snapshots
        self._tuner = tuner or Tuning()
        self._checks = checks
        self._evaluation_checked = False
        self._batch: Batch | None = None  # the newest, for the step check
        self._steps = steps_of(setup)
        self._progress = replace(resume) if resume else Progress()
        self._resuming = resume is not None  # until its first epoch begins
        self._first_step = self._flushed_steps = self._progress.step
        self._warm = False
        self._warmup_seconds = 0.0
        self._divergence = DivergenceWatch()
        self._sound = True  # losses and gradients of the newest flush were finite
        self._step_seconds: float | None = None  # in the newest timed flush
        self._rng_state: RngState | None = None  # from before the current evaluation
        self._work = WorkMeter(setup.config, setup.backend, now)

    @property
    def step(self) -> int:
        """The last completed step, counted from 1 over the whole run."""
        return self._progress.step

    def events(self) -> Iterator[AnyEvent]:
        """Train, and yield each event as soon as it happens."""
        yield self._setup.started(self._now())
        self._gate.ready()
        try:
            yield from self._hold()
            self._put_under((yield from self._tuner.start(self._setup)))
            self._meter.start(WARMUP_STEPS)
            while self._resuming or self.step < self._config.total_steps:
                yield from self._run_epoch()
            save_model(self._setup)
            yield RunFinished(at=self._now(), step=self.step)
        except StopRequested:
            yield from self._flush()
            yield from self._snapshot(stopping=True)
            save_model(self._setup)
            yield RunStopped(at=self._now(), step=self.step, reason=self._gate.stop_reason)
        except USER_ERRORS:
            # The log needs the steps before the error, above all a divergence that caused it.
            with contextlib.suppress(RuntimeError):  # a lost device can't be read
                yield from self._flush()
            raise

    def _run_epoch(self) -> Iterator[AnyEvent]:
        setup, progress = self._setup, self._progress
        if not self._resuming:
            progress.next_epoch()
        self._resuming = False
        self._epoch_began = time.perf_counter() - progress.wall_seconds
        yield from self._snapshot()
        setup.model.train()
        yield from self._train_batches()
        mean = progress.loss_sum / progress.samples
        yield EpochCompleted(
            at=self._now(),
            epoch=progress.epoch,
            mean_loss=mean if math.isfinite(mean) else None,
            samples=progress.samples,
            timed_samples=progress.timed_samples,
            timed_seconds=progress.timed_seconds,
            wall_seconds=time.perf_counter() - self._epoch_began,
        )
        yield from self._hold()
        yield from self._check_step()
        has_test = self._config.tests_after(progress.epoch)
        if has_test:
            yield from self._evaluate()
        self._setup.schedulers.after_epoch(progress.test_loss, has_test)
        self._meter.start(0 if self._warm else WARMUP_STEPS)

    def _train_batches(self) -> Iterator[AnyEvent]:
        """Train on the rest of the epoch."""
        is_at_end = self._steps_left_in_epoch == 0  # the run stopped before its evaluation
        while not is_at_end:
            is_at_end = yield from self._train_on(*self._open_feed())
        yield from self._profiler.watch(self._flush())  # epochs may be shorter than a window
        yield from self._measure_matmul()

    def _open_feed(self) -> tuple[Feed, FeedForm]:
        """Open the feed of the rest of the epoch; while plans are compared, of single batches."""
        done = self.step - (self._progress.epoch - 1) * self._config.steps_per_epoch
        form = self._feed_form()
        left = self._steps_left_in_epoch
        return self._setup.batches(self._progress.epoch, done, left, form.joined), form

    def _feed_form(self) -> FeedForm:
        joined = 1 if self._tuner.is_racing else self._steps.batches
        return FeedForm(self._setup.pipeline, joined)

    def _train_on(self, batches: Feed, form: FeedForm) -> Generator[AnyEvent, None, bool]:
        """Train on a feed; return whether it ended, not that another form of feed is needed."""
        size = self._config.batch_size
        for batch in batches:
            yield from self._hold()
            if self._checks is not None:
                is_first, self._batch = self._batch is None, batch
                if self._steps.batches > 1:
                    self._batch = split(batch, size)[0]
                if is_first:
                    yield from self._check_first_step()
            self._count_steps(self._work.take(self._steps, batch), batch.samples)
            if self._meter.due:
                yield from self._profiler.watch(self._flush())
                yield from self._snapshot()
                yield from self._tune(batches)
                if self._feed_form() != form:
                    return self._steps_left_in_epoch == 0
                yield from self._profile(batches)
                yield from self._measure_matmul()
        return True

    def _put_under(self, setup: Setup) -> None:
        """Go on under another plan."""
        if setup is not self._setup:
            self._setup, self._steps = setup, steps_of(setup)

    def _tune(self, batches: Feed) -> Iterator[AnyEvent]:
        """Train on the next batches under plans in turn, outside the clock, until one is chosen."""
        tuner = self._tuner
        if not tuner.is_racing or self._new_steps < WARMUP_STEPS:
            return
        tuner.race(self.step)
        while (block := tuner.block) is not None and self._is_free():
            self._put_under(tuner.setup())
            seconds = self._train_block(batches, block.steps)
            yield from self._flush(trial=block.label if block.is_trial else "")
            if seconds is None:
                choice = tuner.failed(self.step)
            else:
                self._step_seconds = seconds
                choice = tuner.timed(seconds, self.step)
            if choice is not None:
                yield choice
            if seconds is None:
                break
            yield from self._snapshot()
        self._put_under(tuner.setup())
        self._meter.start(SETTLE_STEPS)
        yield from self._end_warm_up()

    def _train_block(self, batches: Feed, steps: int) -> float | None:
        """Return the seconds of a step; None if the epoch ends first, or the run must wait."""
        setup, stepper = self._setup, self._steps
        calls = calls_of_block(stepper, steps, self._config.steps_per_epoch)
        self._meter.start((stepper.settling + calls) * stepper.batches)
        return train_block(setup, stepper, batches, calls, self._count_steps, self._is_free)

    def _measure_matmul(self) -> Iterator[AnyEvent]:
        """Once a run, measure a matrix product on the device, outside the clock."""
        if not self._profiler.is_steady or not self._is_free():
            return
        measured = self._work.measure_matmul()
        if measured is not None:
            yield measured
            self._meter.start(SETTLE_STEPS)

    def _evaluate(self) -> Iterator[AnyEvent]:
        self._rng_state = self._setup.backend.rng_state()
        tuner = self._tuner
        chunks = tuner.test_chunks()
        batch = yield from evaluate(self._setup, self._progress, self._now, self._hold, chunks)
        if (choice := tuner.choose_chunk(self.step)) is not None:
            self._put_under(tuner.setup())
            yield choice
        if batch is not None:
            yield from self._check_evaluation(batch)
        yield from save_pictures(self._setup, self._progress, self._now)
        self._rng_state = None

    def _check_first_step(self) -> Iterator[AnyEvent]:
        """Check before the run's first step, outside the clock."""
        began = time.perf_counter()
        yield PreparationAdvanced(at=self._now(), stage="checking a step against the cpu")
        yield from self._check_step()
        self._meter.exclude_elapsed(joules=True)
        self._epoch_began += time.perf_counter() - began

    def _check_step(self) -> Iterator[AnyEvent]:
        if self._checks is not None and self._batch is not None:
            yield self._checks.step(self._setup, self._batch, self.step, self._now())

    def _check_evaluation(self, batch: Batch) -> Iterator[AnyEvent]:
        """Check the run's first evaluation and its last."""
        is_last = self.step >= self._config.total_steps
        if self._checks is not None and (is_last or not self._evaluation_checked):
            self._evaluation_checked = True
            progress = self._progress
            yield self._checks.test(self._setup, batch, progress.step, progress.epoch, self._now())

    @property
    def _steps_left_in_epoch(self) -> int:
        end = self._progress.epoch * self._config.steps_per_epoch
        return min(self._config.total_steps, end) - self.step

    def _snapshot(self, stopping: bool = False) -> Iterator[AnyEvent]:
        """Save the state if it is sound and within budget; a snapshot at a stop has no budget."""
        snapshots = self._snapshots
        # While resuming, nothing has changed since the snapshot that already exists.
        if snapshots is None or not self._sound or self.step == 0 or self._resuming:
            return
        if not stopping:
            if self._step_seconds is None:
                return
            seconds_left = (self._config.total_steps - self.step) * self._step_seconds
            if not snapshots.due(self._setup, seconds_left):
                return
        rng_state = self._rng_state or self._setup.backend.rng_state()
        self._progress.wall_seconds = time.perf_counter() - self._epoch_began
        record = snapshots.save(self._setup, self._progress, rng_state)
        if record is not None:
            yield SnapshotSaved(at=self._now(), **record._asdict())
        self._meter.exclude_elapsed(joules=True)

    def _profile(self, batches: Feed) -> Iterator[AnyEvent]:
        """Once a run, train on the next few batches synchronised, outside the clock."""
        steps_left = self._steps_left_in_epoch - batches.ahead
        steps = self._profiler.steps_due(steps_left, self._config.steps_per_epoch)
        # A CUDA graph has no phases, and running its ops one by one would not be its steps.
        if not steps or not self._is_free() or self._setup.plan.graph_steps:
            return
        if self._setup.whole_step is not None:  # its phases are the user's
            return
        self._meter.start(steps)
        laps = profile_steps(self._setup, batches, steps, self._count_steps, self._is_free)
        yield from self._flush()
        self._meter.start(SETTLE_STEPS)
        event = self._profiler.add(self._now(), self.step, laps, len(laps) == steps)
        if event is not None:
            yield event

    def _count_steps(self, objectives: torch.Tensor, samples: int) -> None:
        self._progress.step += len(objectives)
        sizes = [samples]
        if len(objectives) > 1:
            size = self._config.batch_size
            sizes = [min(size, samples - at) for at in range(0, samples, size)]
        self._meter.add(objectives, sizes)

    def _is_free(self) -> bool:
        return not self._gate.shut and not self._gate.stop_reason

    def _hold(self) -> Iterator[AnyEvent]:
        """Pass the gate: immediately if it is open, else when it opens.

        Raises:
            StopRequested: When the run must stop.
        """
        gate = self._gate
        if not gate.shut:
            if gate.stop_reason:
                raise StopRequested
            return
        yield from self._flush()
        self._setup.backend.synchronize()
        while gate.shut:
            if gate.paused:
                gate.pausing()
                yield RunPaused(at=self._now(), step=self.step)
                gate.wait_while_paused()
                gate.resumed()
                yield RunResumed(at=self._now(), step=self.step)
            else:
                gate.hand_back()
                gate.wait_for_turn()
        if gate.stop_reason:
            raise StopRequested
        self._meter.start(SETTLE_STEPS if self._warm else WARMUP_STEPS)

    def _flush(self, trial: str = "") -> Iterator[AnyEvent]:
        """Read the losses of the steps since the last flush, and yield what they show.

        Args:
            trial: The change of plan that they tried.
        """
        steps = self._meter.flush()
        if steps is None:
            return
        first = self._flushed_steps + 1
        self._flushed_steps += len(steps.losses)
        self._progress.add(steps)
        if steps.timed:
            self._step_seconds = steps.seconds / len(steps.losses)
            self._tuner.watch(self._step_seconds)
        if self._snapshots is not None:
            self._snapshots.trained(steps.seconds)
        completed = steps_completed(self._setup, self._progress, steps, first, self._now(), trial)
        yield completed
        yield from self._setup.series.flush(first, self._now())
        yield from self._work.counted()
        self._meter.exclude_elapsed()
        if not self._warm:
            self._warmup_seconds += steps.seconds
        yield from self._end_warm_up()
        divergence = self._divergence.check(self._progress, first, steps.losses, self._now())
        if divergence is not None:
            yield divergence
        # A gradient that is not finite has spoilt the weights before any loss shows it.
        is_finite = completed.grad_norm is not None or not has_gradients(self._setup.model)
        self._sound = not self._divergence.diverged and is_finite

    @property
    def _new_steps(self) -> int:
        """The steps of this process in the log."""
        return self._flushed_steps - self._first_step

    def _end_warm_up(self) -> Iterator[AnyEvent]:
        """Yield that warm-up is over once it is; comparing plans is part of it."""
        if self._warm or self._tuner.is_racing or self._new_steps < WARMUP_STEPS:
            return
        self._warm = True
        yield WarmupFinished(at=self._now(), steps=self._new_steps, seconds=self._warmup_seconds)

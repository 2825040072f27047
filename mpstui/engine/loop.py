"""The training loop: yields the run's events and knows nothing of who reads them.

It is PyTorch's example scripts' loop, with three differences: losses stay on the device and are
read once per flush, a gate is passed before each step, and the clock leaves out what is no
training step. Between two steps its state may be saved, and it can go on from such a state.
"""

from __future__ import annotations

import contextlib
import math
import time
from collections.abc import Callable, Generator, Iterator

import numpy as np
import numpy.typing as npt
import torch

from mpstui.domain.events import (
    AnyEvent,
    DivergenceDetected,
    EpochCompleted,
    EvaluationCompleted,
    PreparationAdvanced,
    RunFinished,
    RunPaused,
    RunResumed,
    RunStarted,
    RunStopped,
    SampleSaved,
    SnapshotSaved,
    StepsCompleted,
    WarmupFinished,
)
from mpstui.telemetry.system import resident_bytes

from .checks.schedule import CheckSchedule
from .data.feed import Batch, Feed, there
from .data.order import orders
from .gate import Gate
from .meter import SETTLE_STEPS, WARMUP_STEPS, Meter
from .pictures import save_grid
from .profile import Profiler, profile_steps
from .setup import Setup
from .snapshot_budget import Snapshots
from .snapshots import Draws, LoopPosition, read_rng_state
from .steps import steps_of

Choose = Callable[[Setup, Callable[[], bool]], Generator[AnyEvent, None, Setup]]
"""Tells what it does, returns the run under the plan that it found; its second argument says
whether it may go on."""


class StopRequested(Exception):
    """The gate's wish to stop, on its way out of the loop."""


class Loop:
    """One run's training. ``events()`` does all the work, lazily."""

    def __init__(
        self,
        setup: Setup,
        gate: Gate,
        now: Callable[[], float] = time.time,
        energy: Callable[[], float | None] | None = None,
        snapshots: Snapshots | None = None,
        resume: LoopPosition | None = None,
        choose: Choose | None = None,
        checks: CheckSchedule | None = None,
    ) -> None:
        """Get ready to train.

        Args:
            setup: The run; where it is resumed, with the snapshot's state in it.
            gate: What may hold it.
            now: Wall-clock Unix time in seconds.
            energy: Joules since some moment that stays the same; None where unknown.
            snapshots: Where its state is saved meanwhile; None for nowhere.
            resume: Where to go on; None for the beginning.
            choose: Settles the plan that it trains under, when the device is its own; None for the
                plain loop.
            checks: Compares its steps and tests with the CPU's, beside the run; None for none.
        """
        self._setup = setup
        self._config = setup.config
        self._gate = gate
        self._now = now
        self._meter = Meter(setup.backend, setup.workload.per_sample, energy=energy)
        self._profiler = Profiler()
        self._snapshots = snapshots
        self._resume = resume
        self._choose = choose
        self._checks = checks
        self._tested = False
        self._batch: Batch | None = None  # the newest, where it is going to be checked
        self._steps = steps_of(setup)
        skip = resume.epoch - 1 if resume else 0
        self._orders = orders(setup.config.seed, setup.pipeline.train_samples, skip)
        self._warm = False
        self._warmup_seconds = 0.0
        self._diverged = False
        self._sound = True  # losses and gradients of the newest flush were finite
        self._pace: float | None = None  # seconds of a step, in the newest timed window
        self._draws: Draws | None = None  # as they were before an evaluation that is under way
        self._last_finite = resume.last_finite if resume else None
        self._first = self.step = resume.step if resume else 0
        self._epoch = skip
        self._flushed = self.step  # steps already read, of this run
        self._samples = 0  # read, of this epoch
        self._timed_samples = 0
        self._timed_seconds = 0.0
        self._loss_sum = 0.0

    def events(self) -> Iterator[AnyEvent]:
        """Train; each event is yielded as soon as it is a fact."""
        yield self._started()
        self._gate.ready()
        try:
            yield from self._hold()
            if self._choose is not None:
                self._setup = yield from self._choose(self._setup, self._unasked)
                self._steps = steps_of(self._setup)
            self._meter.open(WARMUP_STEPS)
            while self._resume or self.step < self._config.total_steps:
                yield from self._run_epoch()
            self._save_model()
            yield RunFinished(at=self._now(), step=self.step)
        except StopRequested:
            yield from self._flush()
            yield from self._snapshot(stopping=True)
            self._save_model()
            yield RunStopped(at=self._now(), step=self.step, reason=self._gate.stopping)
        except Exception:
            # The steps before the error are facts too, a divergence that led to it above all.
            with contextlib.suppress(RuntimeError):  # a device that is lost tells nothing more
                yield from self._flush()
            raise

    def _run_epoch(self) -> Iterator[AnyEvent]:
        setup = self._setup
        self._begin_epoch()
        yield from self._snapshot()
        setup.model.train()
        size = self._config.batch_size
        left = next(self._orders)[self._steps_of_epoch * size :][: self._left_of_epoch * size]
        batches = Feed(iter(()), there)
        if len(left):  # else it was stopped between its last step and its evaluation
            batches = setup.pipeline.training(left, size * self._steps.batches)
        for images, labels in batches:
            yield from self._hold()
            if self._checks is not None:
                first, self._batch = self._batch is None, (images[:size], labels[:size])
                if first:
                    yield from self._check_first_step()
            self._take_steps(self._steps.take(images, labels), len(images))
            if self._meter.due:
                yield from self._profiler.watch(self._flush())
                yield from self._snapshot()
                yield from self._profile(batches)
        yield from self._flush()
        mean = self._loss_sum / self._samples
        yield EpochCompleted(
            at=self._now(),
            epoch=self._epoch,
            mean_loss=mean if math.isfinite(mean) else None,
            samples=self._samples,
            timed_samples=self._timed_samples,
            timed_seconds=self._timed_seconds,
            wall_seconds=time.perf_counter() - self._began,
        )
        yield from self._hold()
        yield from self._check_step()
        yield from self._evaluate()
        setup.scheduler.step()
        self._meter.open(0 if self._warm else WARMUP_STEPS)

    def _check_first_step(self) -> Iterator[AnyEvent]:
        """Before the run's first step, which is no step of the epoch yet."""
        began = time.perf_counter()
        yield PreparationAdvanced(at=self._now(), stage="checking a step against the cpu")
        yield from self._check_step()
        self._meter.forgive(joules=True)
        self._began += time.perf_counter() - began

    def _check_step(self) -> Iterator[AnyEvent]:
        if self._checks is not None and self._batch is not None:
            yield self._checks.step(self._setup, *self._batch, self.step, self._now())

    def _check_test(self, batch: Batch) -> Iterator[AnyEvent]:
        """At the run's first test and at its last."""
        if self._checks is not None and (not self._tested or self.step >= self._config.total_steps):
            self._tested = True
            yield self._checks.test(self._setup, *batch, self.step, self._epoch, self._now())

    def _begin_epoch(self) -> None:
        """The next epoch, or the one that a snapshot stands in."""
        self._epoch += 1
        before, self._resume = self._resume, None
        self._samples = before.samples if before else 0
        self._timed_samples = before.timed_samples if before else 0
        self._timed_seconds = before.timed_seconds if before else 0.0
        self._loss_sum = before.loss_sum if before else 0.0
        self._began = time.perf_counter() - (before.wall_seconds if before else 0.0)

    @property
    def _steps_of_epoch(self) -> int:
        return self.step - (self._epoch - 1) * self._config.steps_per_epoch

    @property
    def _left_of_epoch(self) -> int:
        end = min(self._config.total_steps, self._epoch * self._config.steps_per_epoch)
        return end - self.step

    def _snapshot(self, stopping: bool = False) -> Iterator[AnyEvent]:
        """Save the state, if it is sound and the budget allows it; a stop is not asked to wait."""
        keep = self._snapshots
        if keep is None or not self._sound or self.step == 0 or self._resume:
            return  # in the last case nothing was done since the snapshot that is there already
        if not stopping:
            if self._pace is None:  # nothing was timed yet
                return
            left = (self._config.total_steps - self.step) * self._pace
            if not keep.due(self._setup, left):
                return
        draws = self._draws or read_rng_state(self._setup.backend.device)
        saved = keep.save(self._setup, self._progress(), draws)
        if saved is not None:
            yield SnapshotSaved(at=self._now(), **saved._asdict())
        self._meter.forgive(joules=True)

    def _progress(self) -> LoopPosition:
        return LoopPosition(
            step=self.step,
            epoch=self._epoch,
            samples=self._samples,
            timed_samples=self._timed_samples,
            timed_seconds=self._timed_seconds,
            wall_seconds=time.perf_counter() - self._began,
            loss_sum=self._loss_sum,
            last_finite=self._last_finite,
        )

    def _profile(self, batches: Feed) -> Iterator[AnyEvent]:
        """Once a run: train on the next few batches synchronised, outside the clock."""
        left = self._left_of_epoch - batches.ahead
        wanted = self._profiler.wanted(left, self._config.steps_per_epoch)
        # A graph has no phases to be told apart, and its steps op by op are not its steps.
        if not wanted or not self._free() or self._setup.plan.graph_steps:
            return
        self._meter.open(wanted)
        found = profile_steps(self._setup, batches, wanted, self._take_steps, self._free)
        yield from self._flush()
        self._meter.open(SETTLE_STEPS)
        told = self._profiler.take(self._now(), self.step, found, len(found) == wanted)
        if told is not None:
            yield told

    def _take_steps(self, objectives: torch.Tensor, samples: int) -> None:
        self.step += len(objectives)
        size = self._config.batch_size
        self._meter.add(objectives, [min(size, samples - at) for at in range(0, samples, size)])

    def _unasked(self) -> bool:
        """Whether no person wants it to pause or stop. A turn may end: the keeper waits."""
        return not self._gate.paused and not self._gate.stopping

    def _free(self) -> bool:
        return not self._gate.shut and not self._gate.stopping

    def _evaluate(self) -> Iterator[AnyEvent]:
        setup = self._setup
        setup.model.eval()
        self._draws = read_rng_state(setup.backend.device)
        began = time.perf_counter()
        total, correct, samples = torch.zeros((), device=setup.backend.device), None, 0
        batch: Batch | None = None  # the first
        for images, labels in setup.pipeline.test(
            setup.plan.eval_chunk or self._config.test_batch_size
        ):
            yield from self._hold()
            batch = batch or (images, labels)
            with setup.fault:
                score = setup.score(images, labels)
            total = total + score.loss_sum.float()
            if score.correct is not None:
                correct = score.correct if correct is None else correct + score.correct
            samples += len(images)
            if self._config.dry_run:
                break
        loss = total.item() / samples
        yield EvaluationCompleted(
            at=self._now(),
            epoch=self._epoch,
            step=self.step,
            loss=loss if math.isfinite(loss) else None,
            samples=samples,
            correct=None if correct is None else int(correct.item()),
            seconds=time.perf_counter() - began,
        )
        if batch is not None:
            # About as much work as a training step, and enough answers to be counted.
            size = min(self._config.test_batch_size, max(self._config.batch_size, 64))
            yield from self._check_test((batch[0][:size], batch[1][:size]))
        with torch.no_grad():
            drawn = list(setup.workload.pictures(setup.model, setup.pipeline.shown()))
        for kind, picture in drawn:
            path = setup.run_dir / "samples" / f"epoch-{self._epoch:03}-{kind}.png"
            save_grid(picture, path)
            relative = f"{path.parent.name}/{path.name}"
            yield SampleSaved(at=self._now(), epoch=self._epoch, kind=kind, path=relative)
        self._draws = None

    def _hold(self) -> Iterator[AnyEvent]:
        """Pass the gate: at once if it is open, else when it opens.

        Raises:
            Stopped: When the run shall stop.
        """
        gate = self._gate
        if not gate.shut:
            if gate.stopping:
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
        if gate.stopping:
            raise StopRequested
        self._meter.open(SETTLE_STEPS if self._warm else WARMUP_STEPS)

    def _flush(self) -> Iterator[AnyEvent]:
        window = self._meter.flush()
        if window is None:
            return
        first = self._flushed + 1
        self._flushed += len(window.losses)
        self._samples += window.samples
        if window.timed:
            self._timed_samples += window.samples
            self._timed_seconds += window.seconds
            self._pace = window.seconds / len(window.losses)
        if self._snapshots is not None:
            self._snapshots.trained(window.seconds)
        self._loss_sum += window.loss_sum
        norm = self._gradient_norm()
        yield StepsCompleted(
            at=self._now(),
            epoch=self._epoch,
            first_step=first,
            losses=window.losses.astype("<f4").tobytes(),
            samples=window.samples,
            epoch_samples=self._samples,
            seconds=round(window.seconds, 7),
            timed=window.timed,
            lr=self._setup.optimizer.param_groups[0]["lr"],
            device_bytes=self._setup.backend.allocated(),
            joules=window.joules,
            grad_norm=norm,
            worker_bytes=resident_bytes(),
        )
        self._meter.forgive()
        if not self._warm:
            self._warmup_seconds += window.seconds
            steps = self._flushed - self._first
            if steps >= WARMUP_STEPS:
                self._warm = True
                seconds = self._warmup_seconds
                yield WarmupFinished(at=self._now(), steps=steps, seconds=seconds)
        yield from self._watch(first, window.losses)
        # A gradient that is not finite has spoilt the weights, though no loss has shown it yet.
        self._sound = not self._diverged and norm is not None

    def _gradient_norm(self) -> float | None:
        """Of the last step: its gradients stand until the next one begins."""
        parameters = self._setup.model.parameters()
        gradients = [each.grad for each in parameters if each.grad is not None]
        if not gradients:
            return None
        norm = float(torch.nn.utils.get_total_norm(gradients))
        return float(f"{norm:.6g}") if math.isfinite(norm) else None  # more would be log, not news

    def _watch(self, first: int, losses: npt.NDArray[np.float32]) -> Iterator[AnyEvent]:
        if self._diverged:
            return
        bad = np.flatnonzero(~np.isfinite(losses))
        before = losses[: bad[0]] if len(bad) else losses
        if len(before):
            self._last_finite = float(before[-1])
        if len(bad):
            self._diverged = True
            yield DivergenceDetected(
                at=self._now(),
                step=first + int(bad[0]),
                value=str(float(losses[bad[0]])),
                last_finite=self._last_finite,
            )

    def _save_model(self) -> None:
        if self._config.save_model:
            path = self._setup.run_dir / "checkpoints" / "model.pt"
            path.parent.mkdir(exist_ok=True)
            torch.save(self._setup.model.state_dict(), path)

    def _started(self) -> RunStarted:
        setup, config = self._setup, self._config
        return RunStarted(
            at=self._now(),
            workload=config.workload,
            device=config.device,
            device_name=setup.backend.name(),
            torch=str(torch.__version__),
            dataset=setup.data.description,
            train_samples=setup.pipeline.train_samples,
            test_samples=setup.pipeline.test_samples,
            parameters=sum(parameter.numel() for parameter in setup.model.parameters()),
            steps_per_epoch=config.steps_per_epoch,
            total_steps=config.total_steps,
            threads=torch.get_num_threads(),
            notes=setup.notes,
        )

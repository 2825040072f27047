"""The training loop: yields the run's events and knows nothing of who reads them.

It is PyTorch's example scripts' loop, with three differences: losses stay on the device and are
read once per flush, a gate is passed before each step, and the clock leaves out what is no
training step.
"""

from __future__ import annotations

import contextlib
import math
import time
from collections.abc import Callable, Iterator

import numpy as np
import numpy.typing as npt
import torch

from mpstui.domain.events import (
    AnyEvent,
    DivergenceDetected,
    EpochCompleted,
    EvaluationCompleted,
    RunFinished,
    RunPaused,
    RunResumed,
    RunStarted,
    RunStopped,
    SampleSaved,
    StepsCompleted,
    WarmupFinished,
)

from .data.order import epoch_order
from .data.pipelines import Batch
from .gate import Gate
from .meter import SETTLE_STEPS, WARMUP_STEPS, Meter
from .pictures import save_grid
from .profile import Profiler, profile_steps
from .setup import Setup


class Stopped(Exception):
    """The gate's wish to stop, on its way out of the loop."""


class Loop:
    """One run's training. ``events()`` does all the work, lazily."""

    def __init__(
        self,
        setup: Setup,
        gate: Gate,
        now: Callable[[], float] = time.time,
        energy: Callable[[], float | None] | None = None,
    ) -> None:
        self._setup = setup
        self._config = setup.config
        self._gate = gate
        self._now = now
        self._meter = Meter(setup.backend, setup.workload.per_sample, energy=energy)
        self._profiler = Profiler()
        self._order = torch.Generator().manual_seed(setup.config.seed)
        self._warm = False
        self._warmup_seconds = 0.0
        self._diverged = False
        self._last_finite: float | None = None
        self.step = 0
        self._epoch = 0
        self._flushed = 0  # steps already read, of this run
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
            self._meter.open(WARMUP_STEPS)
            while self.step < self._config.total_steps:
                yield from self._run_epoch()
            self._save_model()
            yield RunFinished(at=self._now(), step=self.step)
        except Stopped:
            yield from self._flush()
            self._save_model()
            yield RunStopped(at=self._now(), step=self.step, reason=self._gate.stopping)
        except Exception:
            # The steps before the error are facts too, a divergence that led to it above all.
            with contextlib.suppress(RuntimeError):  # a device that is lost tells nothing more
                yield from self._flush()
            raise

    def _run_epoch(self) -> Iterator[AnyEvent]:
        setup = self._setup
        self._epoch += 1
        self._samples = self._timed_samples = 0
        self._timed_seconds = self._loss_sum = 0.0
        began = time.perf_counter()
        setup.model.train()
        order = epoch_order(self._order, setup.pipeline.train_samples)
        batches = setup.pipeline.training(order, self._config.batch_size)
        for images, labels in batches:
            yield from self._hold()
            with setup.fault:
                setup.optimizer.zero_grad()
                with setup.autocast():
                    objective = setup.workload.objective(setup.model, images, labels)
                torch.autograd.backward(objective)
                setup.optimizer.step()
            self._take_step(objective, len(images))
            if self._meter.due:
                yield from self._profiler.watch(self._flush())
                yield from self._profile(batches)
            if self.step >= self._config.total_steps:
                break
        yield from self._flush()
        mean = self._loss_sum / self._samples
        yield EpochCompleted(
            at=self._now(),
            epoch=self._epoch,
            mean_loss=mean if math.isfinite(mean) else None,
            samples=self._samples,
            timed_samples=self._timed_samples,
            timed_seconds=self._timed_seconds,
            wall_seconds=time.perf_counter() - began,
        )
        yield from self._evaluate()
        setup.scheduler.step()
        self._meter.open(0 if self._warm else WARMUP_STEPS)

    def _profile(self, batches: Iterator[Batch]) -> Iterator[AnyEvent]:
        """Once a run: train on the next few batches synchronised, outside the clock."""
        epoch = self._config.steps_per_epoch
        left = min(self._config.total_steps, self._epoch * epoch) - self.step
        wanted = self._profiler.wanted(left, epoch)
        if not wanted or not self._free():
            return
        self._meter.open(wanted)
        found = profile_steps(self._setup, batches, wanted, self._take_step, self._free)
        yield from self._flush()
        self._meter.open(SETTLE_STEPS)
        told = self._profiler.take(self._now(), self.step, found, len(found) == wanted)
        if told is not None:
            yield told

    def _take_step(self, objective: torch.Tensor, samples: int) -> None:
        self.step += 1
        self._meter.add(objective, samples)

    def _free(self) -> bool:
        return not self._gate.shut and not self._gate.stopping

    def _evaluate(self) -> Iterator[AnyEvent]:
        setup = self._setup
        setup.model.eval()
        began = time.perf_counter()
        total, correct, samples = torch.zeros((), device=setup.backend.device), None, 0
        for images, labels in setup.pipeline.test(self._config.test_batch_size):
            yield from self._hold()
            # Not around a yield: whoever takes the event would go on without gradients.
            with torch.no_grad(), setup.autocast():
                score = setup.workload.score(setup.model, images, labels)
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
        with torch.no_grad():
            drawn = list(setup.workload.pictures(setup.model, setup.pipeline.shown()))
        for kind, picture in drawn:
            path = setup.run_dir / "samples" / f"epoch-{self._epoch:03}-{kind}.png"
            save_grid(picture, path)
            relative = f"{path.parent.name}/{path.name}"
            yield SampleSaved(at=self._now(), epoch=self._epoch, kind=kind, path=relative)

    def _hold(self) -> Iterator[AnyEvent]:
        """Pass the gate: at once if it is open, else when it opens.

        Raises:
            Stopped: When the run shall stop.
        """
        gate = self._gate
        if not gate.shut:
            if gate.stopping:
                raise Stopped
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
            raise Stopped
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
        self._loss_sum += window.loss_sum
        yield StepsCompleted(
            at=self._now(),
            epoch=self._epoch,
            first_step=first,
            losses=window.losses.astype("<f4").tobytes(),
            samples=window.samples,
            epoch_samples=self._samples,
            seconds=window.seconds,
            timed=window.timed,
            lr=self._setup.optimizer.param_groups[0]["lr"],
            device_bytes=self._setup.backend.allocated(),
            joules=window.joules,
            grad_norm=self._gradient_norm(),
        )
        self._meter.forgive()
        if not self._warm:
            self._warmup_seconds += window.seconds
            if self._flushed >= WARMUP_STEPS:
                self._warm = True
                seconds = self._warmup_seconds
                yield WarmupFinished(at=self._now(), steps=self._flushed, seconds=seconds)
        yield from self._watch(first, window.losses)

    def _gradient_norm(self) -> float | None:
        """Of the last step: its gradients stand until the next one begins."""
        parameters = self._setup.model.parameters()
        gradients = [each.grad for each in parameters if each.grad is not None]
        if not gradients:
            return None
        norm = float(torch.nn.utils.get_total_norm(gradients))
        return norm if math.isfinite(norm) else None

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
            test_samples=len(setup.data.test_labels),
            parameters=sum(parameter.numel() for parameter in setup.model.parameters()),
            steps_per_epoch=config.steps_per_epoch,
            total_steps=config.total_steps,
            threads=torch.get_num_threads(),
            notes=setup.notes,
        )

"""Turns what the hooks see into a run's events, in the thread that trains.

Losses stay on the device and are read in one transfer per flush. A flush is due after a quarter of
a second, and comes at the end of an epoch, before an evaluation and before a pause.
"""

from __future__ import annotations

import functools
import sys
import time
from collections.abc import Callable, Mapping
from typing import Any

import torch
from msgspec.structs import replace
from torch.optim.optimizer import Optimizer

from mpstui.backends import BACKENDS, Backend
from mpstui.domain.config import RunConfig
from mpstui.domain.devices import DEVICE_TYPES, parse_device
from mpstui.domain.events import (
    AnyEvent,
    EpochCompleted,
    EvaluationTimed,
    ParametersHashed,
    RunPaused,
    RunResumed,
    StepProfiled,
    StepsCompleted,
    WarmupFinished,
)
from mpstui.engine.gate import Gate
from mpstui.engine.meter import SETTLE_STEPS, WARMUP_STEPS
from mpstui.engine.progress import Progress
from mpstui.engine.soundness import DivergenceWatch
from mpstui.telemetry.system import resident_bytes

from .batches import BatchLedger
from .conditions import SimulatedFault
from .digest import bit_sums, digest, is_due
from .epoch import EpochSums
from .flush import StepBuffer, Window, as_scalar, series_events
from .loaders import samples_of
from .losses import LossLedger
from .norms import NormReader
from .optimizers import OptimizerTrack
from .phases import PROFILE_AFTER, PhaseSampler
from .start import describe_start, hash_start, name_tracks

FLUSH_SECONDS = 0.5
FLUSH_STEPS = 1000
FLUSH_SHARE = 0.003
"""Largest share of the time that flushes may take; where one takes long, they come less often."""

MAX_FLUSH_SECONDS = 2.0
"""Longest time between two flushes, whatever they cost."""

MAX_LOGGED = 10_000
"""Values of the script's that wait for a flush."""

MAX_OTHERS = 2000
"""Steps of other optimizers that wait for the first one's next."""

STALLED = 50
"""Steps of a new optimizer after which it takes over from one that steps no more."""

FREQUENT = 5
"""Steps between two evaluations below which they are taken for a part of the training step."""


class StepRecorder:
    """The observer of a script's training, which records its steps."""

    def __init__(
        self,
        config: RunConfig,
        record: Callable[[AnyEvent], None],
        gate: Gate,
        on_alarm: Callable[[str], None] = lambda reason: None,
        now: Callable[[], float] = time.time,
        clock: Callable[[], float] = time.perf_counter,
        energy: Callable[[], float | None] | None = None,
        may_be_explicit: bool = False,
        fault: SimulatedFault | None = None,
        hold_after: Callable[[], int] = lambda: 0,
    ) -> None:
        """Create a recorder.

        Args:
            config: The run's configuration.
            record: Receives the events.
            gate: Pauses, stops and turns.
            on_alarm: Called with the reason when a loss is not finite.
            now: Wall-clock Unix time in seconds.
            clock: Seconds, monotonic.
            energy: Joules since a fixed moment; None where unknown.
            may_be_explicit: Whether the user's code may call :meth:`explicit_step`.
            fault: Active from the first optimizer's creation on.
            hold_after: Returns the step from which on the gate counts.
        """
        self.step = 0
        """The last completed step of the first optimizer, counted from 1."""
        self.watches_step_begins = True  # until the first one
        self.watches_fetch_begins = True
        self.stopped = False
        """Whether KeyboardInterrupt was raised because the user asked to stop."""
        self.failure = ""
        """Why recording ended before the script did; empty if it did not."""
        self.backend: Backend | None = None
        self._config = config
        self._record_event = record
        self._gate = gate
        self._now, self._clock, self._energy = now, clock, energy
        self._losses = LossLedger()
        self._batches = BatchLedger()
        self._buffer = StepBuffer()
        self._divergence, self._progress = DivergenceWatch(), Progress()
        self._on_alarm = on_alarm
        self._phases = PhaseSampler(clock)
        self._norms = NormReader(clock)
        self._epoch = EpochSums()
        self._first: OptimizerTrack | None = None
        self._sums: list[tuple[int, torch.Tensor | None]] = []
        self._is_synchronised = False
        self._explicit = False
        self._may_be_explicit = may_be_explicit
        self._fault = fault
        self._hold_after = hold_after
        self.step_seconds: float | None = None
        """Seconds per step in the newest window; None before the first one."""
        self._mark = 0.0
        self._flush_after = FLUSH_SECONDS
        self._joules: float | None = None
        self._data_seconds: float | None = None
        self._untimed = WARMUP_STEPS
        self._warm = False
        self._warmup_seconds = 0.0
        self._timed_steps, self._timed_seconds = 0, 0.0
        self._others_steps = 0
        """Steps of optimizers that were created after the first one's last step."""
        self._candidate: OptimizerTrack | None = None
        """Which of them stepped first: it takes over if the first one steps no more."""
        self._uncount: Callable[[], None] = lambda: None
        self._evaluation_began: float | None = None
        self._evaluation_step = -1
        self._frequent_evaluations = 0

    # --- what the hooks report ---

    def optimizer_created(self, optimizer: Optimizer) -> None:
        """Watch an optimizer from its creation on."""
        if self._fault is not None and not self._losses.tracks:
            self._fault.enter()  # the model exists: every device starts from the same weights
        self._losses.track(optimizer).created_after = self.step

    def optimizer_restored(self, optimizer: Optimizer) -> None:
        """Watch a copied or unpickled optimizer, which was not created in the usual way."""
        if not self._losses.has(optimizer):
            self.optimizer_created(optimizer)

    def gradients_cleared(self, optimizer: Optimizer) -> None:
        """Forget losses that no step has used."""
        self._losses.cleared(optimizer)

    def backward_begins(self, tensors: Any, gradients: Any, inputs: Any = None) -> None:
        """Keep the losses of a backward pass on their device."""
        if self._evaluation_began is not None:
            self._end_evaluation()
        self._batches.evaluating = False  # some scripts train in evaluation mode
        if self._first is None and not self._mark:
            self._mark = self._clock()
        if self._phases.active:
            self._phases.lap("forward")
        if self._batches.trained_on() and self.step:
            self._end_epoch()
        self._losses.backward_begins(tensors, gradients)

    def backward_ended(self, succeeded: bool) -> None:
        """Assign the losses to the optimizers that they reached."""
        if self._phases.active:
            self._phases.lap("backward")
        self._losses.backward_ended(succeeded)

    def step_begins(self, optimizer: Optimizer, closure: Any) -> Any:
        """Return the closure to call instead, if there is one."""
        track = self._losses.track(optimizer)
        self.watches_step_begins = False
        if self.step == 0 and self._first is None and self._config.comparison:
            self._record_event(hash_start(track, self._batches.first_batch, self._now()))
        return self._losses.closure_of(track, closure) if callable(closure) else None

    def step_ended(self, optimizer: Optimizer) -> None:
        """Add a step, and do what is due between two steps."""
        # A fused optimizer decides on the device whether it skips the step.
        infinite = getattr(optimizer, "found_inf", None)
        skipped = infinite.detach().clone() if isinstance(infinite, torch.Tensor) else False
        self._add_step(self._losses.track(optimizer), skipped)

    def step_skipped(self, optimizer: Optimizer) -> None:
        """Add a step that a gradient scaler skipped because a gradient was not finite."""
        self._add_step(self._losses.track(optimizer), True)

    def scaled(self, scaler: Any, outputs: Any, result: Any) -> None:
        """Note a loss before its scaling."""
        self._losses.scaled(scaler, outputs, result)

    def norm_computed(self, norm: Any, parameters: Any) -> None:
        """Note the norm of parameters' gradients before clipping; None if it is not Euclidean."""
        self._norms.clipped(norm, parameters)

    def loader_started(self, loader: Any, iterator: Any) -> None:
        """Note a new pass over a DataLoader: an epoch or an evaluation begins."""
        if self._batches.is_training() and not self._batches.is_within_epoch:
            self._flush(timed=not self._phases.active)  # so that no window spans two epochs
        self._batches.started(loader, iterator)

    def fetch_begins(self, iterator: Any) -> None:
        """Begin an evaluation if this batch is not one to train on."""
        if not self._batches.is_training(iterator):
            self._begin_evaluation()
        elif self._phases.active:
            self._phases.lap("other")

    def fetch_ended(self, iterator: Any, batch: Any, seconds: float) -> None:
        """Count a training batch and the time that the script waited for it."""
        if not self._batches.is_training(iterator):
            return
        if self._evaluation_began is not None:
            self._end_evaluation()
        else:
            self._data_seconds = (self._data_seconds or 0.0) + seconds
            if self._phases.active:
                self._phases.lap("data")
        self._batches.fetched(iterator, batch)

    def mode_changed(self, module: Any, training: bool) -> None:
        """Begin or end an evaluation if the module is one that is trained."""
        if not self.step or not self._holds_trained(module):
            return
        self._batches.evaluating = not training
        if training:
            self._end_evaluation()
        else:
            self._begin_evaluation()

    def scalar_logged(self, name: str, value: Any) -> None:
        """Add a value of the user's."""
        self._buffer.log(name, self.step, value)
        if self._buffer.logged >= MAX_LOGGED:
            self._record_series(self._buffer.take_logged())

    def failed(self, error: Exception) -> None:
        """End the recording; the script goes on."""
        message = " ".join(str(error).split())[:200]
        self.failure = f"recording ended: {type(error).__name__}: {message}"

    def explicit_step(self, loss: Any, samples: int | None, metrics: Mapping[str, Any]) -> bool:
        """Add a step of the user's own; from the first one on, the hooks' steps don't count.

        Args:
            loss: A number or a tensor of one element; None if unknown.
            samples: In the step; None to count the DataLoader's.
            metrics: Other values, by name.

        Returns:
            False if the user asked to stop; blocks during a pause.
        """
        if not self._explicit:
            self._explicit = True
            self.step -= self._buffer.drop_steps()  # the hooks' row of this step
        counted = self._batches.take()
        if self.backend is None:
            self._describe(None, _device_of(loss))
        self.step += 1
        losses = [] if loss is None else [as_scalar(loss)]
        samples = counted if samples is None else samples
        self._buffer.add(self._first, self.step, losses, samples, skipped=False)
        for name, value in metrics.items():
            self.scalar_logged(name, value)
        self._flush_if_due()
        self._pass_gate(raises=False)
        return not self._gate.stop_reason

    # --- steps ---

    def _add_step(self, track: OptimizerTrack, skipped: Any) -> None:
        losses = self._losses.take(track)
        if self._phases.active:
            self._phases.lap("optimizer")
        if self._first is None:
            self._first = track
        elif track is not self._first and self._is_successor(track):
            self._promote(track)
        if self.backend is None:
            self._describe(track, next(iter(track.parameters()), torch.empty(0)).device)
        if self._explicit:
            return
        if track is not self._first:
            if not track.name:
                others = (other for other in self._losses.tracks.values() if other != self._first)
                name_tracks([self._first, *others], _user_frame())
            self._buffer.add_other(track, self.step, losses, skipped)
            if self._buffer.others >= MAX_OTHERS:
                self._record_series(self._buffer.take_others())
            return
        self.step += 1
        self._others_steps, self._candidate = 0, None
        if self._fault is not None:
            self._fault.enter()
        self._buffer.add(track, self.step, losses, self._batches.take(), skipped)
        if self._config.ranks > 1 and is_due(self.step):
            self._sums.append((self.step, bit_sums(track.parameters())))
        self._flush_if_due()
        self._pass_gate()

    def _flush_if_due(self) -> None:
        if self._phases.active and self._phases.step_ended():
            self._flush(timed=False, is_at_step=True)
            self._report_profile()
        elif self._is_due():
            self._flush(is_at_step=True)
            self._profile_if_due()
        self._norms.next_step()

    def _is_successor(self, track: OptimizerTrack) -> bool:
        """Return whether an optimizer takes over from the first one, as in a second training."""
        assert self._first is not None
        if self._first.optimizer() is None:
            return True
        if not 0 < track.created_after == self.step:  # the first one has stepped since
            return False
        if self._others_steps == 0:
            self._candidate = track
        self._others_steps += 1
        trained = {id(probe) for probe in self._first.probes}
        if any(id(probe) in trained for probe in track.probes):
            return True
        return self._others_steps > STALLED and track is self._candidate

    def _promote(self, track: OptimizerTrack) -> None:
        """Make an optimizer the first one; its steps since the old one's last are the run's."""
        self._first, self._candidate, self._others_steps = track, None, 0
        self.step = self._buffer.promote(track, self.step)

    def _describe(self, track: OptimizerTrack | None, device: torch.device) -> None:
        """Describe the run at its first step."""
        self.backend = _backend(device)
        started = describe_start(
            self._config,
            self._losses,
            track,
            self._batches,
            self.backend,
            _user_frame(),
            self._now(),
        )
        notes = (self._fault.note,) if self._fault is not None else ()
        self._record_event(replace(started.event, notes=notes))
        self._is_synchronised = type(started.model).__name__ == "DistributedDataParallel"
        self._batches.first_batch = None
        if started.counts_inputs:
            self._uncount = _count_inputs(started.model, self._batches)
        self._joules = self._energy() if self._energy else None
        self._gate.ready()

    def _holds_trained(self, module: Any) -> bool:
        """Return whether a module holds all that an optimizer trains: a part may be frozen."""
        held = {id(parameter) for parameter in module.parameters()}
        return any(
            track.probes and all(id(probe) in held for probe in track.probes)
            for track in self._losses.tracks.values()
        )

    def _is_due(self) -> bool:
        pending = self._buffer.steps
        if self.step == 1:  # so that the run is shown; the next call may be an explicit step
            return self._explicit or not self._may_be_explicit
        if self._untimed:
            return pending >= self._untimed or self._clock() - self._mark >= FLUSH_SECONDS
        return pending >= FLUSH_STEPS or self._clock() - self._mark >= self._flush_after

    def _flush(self, timed: bool = True, is_at_step: bool = False) -> None:
        """Read the losses since the last flush, and record what they show.

        Args:
            timed: Whether the steps count for the speed.
            is_at_step: Whether the optimizer has just stepped, so that its gradients are whole.
        """
        if not self._buffer.steps or self.backend is None:
            return
        if _is_capturing():  # a CUDA graph is recorded; nothing may wait for the device
            return
        first = self._first if is_at_step else None
        norm = self._norms.read(first) if first is not None else None
        windows = self._buffer.read()
        end = self._clock()
        seconds, joules = end - self._mark, None
        if self._energy is not None:
            before, self._joules = self._joules, self._energy()
            if before is not None and self._joules is not None and self._joules > before:
                joules = self._joules - before
        counts = timed and self._untimed == 0 and len(windows) == 1
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

    # --- profile ---

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

    # --- epochs and evaluations ---

    def _end_epoch(self) -> None:
        self._flush(timed=not self._phases.active)
        self._complete_epoch()
        self._batches.epoch += 1

    def _begin_evaluation(self) -> None:
        if self._evaluation_began is not None or not self.step:
            return
        self._frequent_evaluations += self.step - self._evaluation_step < FREQUENT
        self._evaluation_step = self.step
        if self._frequent_evaluations > 3:  # a part of each step: waiting for it would slow it
            return
        self._flush(timed=not self._phases.active)
        self._phases.interrupted()
        self._evaluation_began = self._clock()

    def _end_evaluation(self) -> None:
        if self._evaluation_began is None:
            return
        assert self.backend is not None
        self.backend.synchronize()
        seconds = self._clock() - self._evaluation_began
        self._evaluation_began = None
        self._batches.evaluating = False
        self._record_event(
            EvaluationTimed(
                at=self._now(), epoch=self._batches.epoch, step=self.step, seconds=seconds
            )
        )
        self._restart_clock()

    def _restart_clock(self) -> None:
        self._phases.interrupted()
        self._joules = self._energy() if self._energy else None
        self._data_seconds = None if self._data_seconds is None else 0.0
        self._mark = self._clock()

    # --- requests ---

    def _pass_gate(self, raises: bool = True) -> None:
        """Wait while the gate is shut.

        Args:
            raises: Whether to raise on a stop.

        Raises:
            KeyboardInterrupt: Once, if the user asks to stop: the script's own clean-up runs.
        """
        gate = self._gate
        if (gate.shut or gate.stop_reason) and self.step < self._hold_after():
            return
        if gate.shut:
            assert self.backend is not None
            self._flush(timed=not self._phases.active)
            self.backend.synchronize()
            while gate.shut:
                if gate.paused:
                    gate.pausing()
                    self._record_event(RunPaused(at=self._now(), step=self.step))
                    gate.wait_while_paused()
                    gate.resumed()
                    self._record_event(RunResumed(at=self._now(), step=self.step))
                else:
                    gate.hand_back()
                    gate.wait_for_turn()
            self._untimed = SETTLE_STEPS if self._warm else WARMUP_STEPS
            self._restart_clock()
        if gate.stop_reason and not self.stopped:
            self.stopped = True
            self._flush(timed=not self._phases.active)
            if raises:
                raise KeyboardInterrupt

    def finish(self) -> None:
        """Record what is left at the script's end."""
        if self._fault is not None:
            self._fault.leave()
        self._end_evaluation()
        if self._candidate is not None and self._others_steps > FREQUENT and not self._explicit:
            self._promote(self._candidate)
        self._flush(timed=not self._phases.active)
        self._phases.stop()
        self._record_series(self._buffer.take_others())
        self._record_series(self._buffer.take_logged())
        self._uncount()
        current = self._batches.training_pass
        if current is not None and current.exhausted:
            self._complete_epoch()

    def _complete_epoch(self) -> None:
        if not self._epoch.steps:
            return
        fields = self._epoch.take()
        event = EpochCompleted(at=self._now(), epoch=self._batches.epoch, **fields)
        self._record_event(event)


def _backend(device: torch.device) -> Backend:
    """Return the backend of a tensor's device; the CPU's for a type that mpstui does not know."""
    spec = parse_device(str(device) if device.type in DEVICE_TYPES else "cpu")
    return BACKENDS[spec.type](spec)


def _device_of(loss: Any) -> torch.device:
    return loss.device if isinstance(loss, torch.Tensor) else torch.device("cpu")


def _is_capturing() -> bool:
    is_initialized: bool = torch.cuda.is_initialized()  # type: ignore[no-untyped-call]
    return is_initialized and torch.cuda.is_current_stream_capturing()


def _user_frame() -> Any:
    """Return the innermost frame outside of torch and mpstui; None if there is none."""
    frame = sys._getframe(1)
    while frame is not None and _is_internal(frame.f_globals.get("__name__", "")):
        frame = frame.f_back  # type: ignore[assignment]
    return frame


def _is_internal(module: str) -> bool:
    return module.partition(".")[0] in ("torch", "mpstui")


def _count_inputs(model: Any, batches: BatchLedger) -> Callable[[], None]:
    """Count the samples of the model's input, in a script without a DataLoader.

    A hook would be saved with the model, so the call of its class is replaced.

    Returns:
        A function that ends this.
    """
    kind, model_id = type(model), id(model)
    own = vars(kind).get("__call__")
    call = kind.__call__

    @functools.wraps(call)
    def counted(module: Any, *args: Any, **kwargs: Any) -> Any:
        if id(module) == model_id:
            batches.model_called(samples_of([*args, *kwargs.values()]))
        return call(module, *args, **kwargs)

    kind.__call__ = counted

    def restore() -> None:
        if own is None:
            del kind.__call__
        else:
            kind.__call__ = own

    return restore

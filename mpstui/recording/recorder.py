"""Turns what the hooks see into steps, epochs and evaluations, in the thread that trains.

A flush also comes at the end of an epoch, before an evaluation and before a pause.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any

import torch
from msgspec.structs import replace
from torch.optim.optimizer import Optimizer

from mpstui.domain.config import RunConfig
from mpstui.domain.events import (
    AnyEvent,
    EvaluationTimed,
    RunPaused,
    RunResumed,
)
from mpstui.engine.gate import Gate
from mpstui.engine.meter import SETTLE_STEPS, WARMUP_STEPS

from .conditions import SimulatedFault
from .device import backend_of, device_of
from .digest import bit_sums, is_due
from .flush import as_scalar
from .losses import LossLedger
from .optimizers import OptimizerTrack
from .start import describe_start, hash_start, name_tracks
from .user_code import count_inputs, user_frame
from .windows import StepWindows

MAX_LOGGED = 10_000
"""Values of the script's that wait for a flush."""

MAX_OTHERS = 2000
"""Steps of other optimizers that wait for the first one's next."""

STALLED = 50
"""Steps of a new optimizer after which it takes over from one that steps no more."""

FREQUENT = 5
"""Steps between two evaluations below which they are taken for a part of the training step."""


class StepRecorder(StepWindows):
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
        super().__init__(config, record, on_alarm, now, clock, energy)
        self.watches_step_begins = True  # until the first one
        self.watches_fetch_begins = True
        self.stopped = False
        """Whether KeyboardInterrupt was raised because the user asked to stop."""
        self.failure = ""
        """Why recording ended before the script did; empty if it did not."""
        self._gate = gate
        self._losses = LossLedger()
        self._may_be_explicit = may_be_explicit
        self._fault = fault
        self._hold_after = hold_after
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
            self._flush()  # so that no window spans two epochs
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
            self._describe(None, device_of(loss))
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
                name_tracks([self._first, *others], user_frame())
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
        self.backend = backend_of(device)
        started = describe_start(
            self._config,
            self._losses,
            track,
            self._batches,
            self.backend,
            user_frame(),
            self._now(),
        )
        notes = (self._fault.note,) if self._fault is not None else ()
        self._record_event(replace(started.event, notes=notes))
        self._is_synchronised = type(started.model).__name__ == "DistributedDataParallel"
        self._batches.first_batch = None
        if started.counts_inputs:
            self._uncount = count_inputs(started.model, self._batches)
        self._joules = self._energy() if self._energy else None
        self._gate.ready()

    def _holds_trained(self, module: Any) -> bool:
        """Return whether a module holds all that an optimizer trains: a part may be frozen."""
        held = {id(parameter) for parameter in module.parameters()}
        return any(
            track.probes and all(id(probe) in held for probe in track.probes)
            for track in self._losses.tracks.values()
        )

    # --- epochs and evaluations ---

    def _end_epoch(self) -> None:
        self._flush()
        self._complete_epoch()
        self._batches.epoch += 1

    def _begin_evaluation(self) -> None:
        if self._evaluation_began is not None or not self.step:
            return
        self._frequent_evaluations += self.step - self._evaluation_step < FREQUENT
        self._evaluation_step = self.step
        if self._frequent_evaluations > 3:  # a part of each step: waiting for it would slow it
            return
        self._flush()
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
            self._flush()
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
            self._flush()
            if raises:
                raise KeyboardInterrupt

    def finish(self) -> None:
        """Record what is left at the script's end."""
        if self._fault is not None:
            self._fault.leave()
        self._end_evaluation()
        if self._candidate is not None and self._others_steps > FREQUENT and not self._explicit:
            self._promote(self._candidate)
        self._flush()
        self._phases.stop()
        self._record_series(self._buffer.take_others())
        self._record_series(self._buffer.take_logged())
        self._uncount()
        current = self._batches.training_pass
        if current is not None and current.exhausted:
            self._complete_epoch()

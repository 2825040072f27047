"""A short path for the usual training step, because caches are cold after a step's arithmetic.

One optimizer without closure, scaler or fault, each backward from one scalar that reaches the same
parameter as the passes before: then a hook runs a few lines instead of a few dozen functions. In
every other case, and whenever one of these conditions ends, :class:`StepRecorder` does the work.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable
from typing import Any

import torch
from torch.optim.optimizer import Optimizer
from typing_extensions import override

from .flush import StepRow
from .loaders import samples_of
from .optimizers import OptimizerTrack
from .reach import reaches
from .recorder import StepRecorder
from .windows import FLUSH_STEPS

USUAL_PASSES = 3
"""Passes in a row that reach the same parameter before the short path begins."""

_new_tuple = tuple.__new__


def _no_optimizer() -> None:
    return None


class PlainPathRecorder(StepRecorder):
    """A recorder that takes the short path where it can."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._plain: OptimizerTrack | None = None
        """The only optimizer, while the short path is taken."""
        self._optimizer: Callable[[], Optimizer | None] = _no_optimizer
        """A weak reference: the script may delete its optimizer, and a model that fills a GPU."""
        self._probe: Any = None
        self._root: torch.Tensor | None = None
        """What a plain pass started from."""
        self._loss: Any = None
        self._gradient: torch.Tensor | None = None
        self._version = 0

    def _leave_plain_path(self) -> None:
        self._plain = self._probe = self._gradient = None
        self._optimizer = _no_optimizer
        self.watches_fetch_begins = True

    def _enter_plain_path(self, optimizer: Optimizer) -> None:
        """Take the short path from the next step on, if its conditions hold."""
        losses = self._losses
        track = self._first
        is_usual = (
            track is not None
            and track.optimizer() is optimizer
            and len(losses.tracks) == 1
            and track.usual_probe is not None
            and track.usual_passes >= USUAL_PASSES
            and not (self._explicit or self._phases.active or losses.is_scaled)
            and self._evaluation_began is None
            and self._fault is None
            and self._config.ranks == 1
            and all("lr" in group for group in optimizer.param_groups)
        )
        if is_usual and track is not None:
            self._plain = track
            self._optimizer = weakref.ref(optimizer, lambda ref: self._leave_plain_path())
            self._probe = track.usual_probe
            self.watches_fetch_begins = False

    @override
    def optimizer_created(self, optimizer: Optimizer) -> None:
        self._leave_plain_path()
        super().optimizer_created(optimizer)

    @override
    def scaled(self, scaler: Any, outputs: Any, result: Any) -> None:
        self._leave_plain_path()
        super().scaled(scaler, outputs, result)

    @override
    def _begin_evaluation(self) -> None:
        self._leave_plain_path()
        super()._begin_evaluation()

    @override
    def backward_begins(self, tensors: Any, gradients: Any, inputs: Any = None) -> None:
        track, batches = self._plain, self._batches
        loader_pass = batches.newest
        if (
            track is None
            or gradients is not None
            or inputs is not None
            or type(tensors) is not torch.Tensor
            or tensors.numel() != 1
            or loader_pass is not batches.training_pass
        ):
            super().backward_begins(tensors, gradients, inputs)
            return
        gradient = self._probe.grad
        version = -1 if gradient is None else gradient._version
        if track.pending and version != track.version:  # cleared or clipped between two passes
            super().backward_begins(tensors, gradients, inputs)
            return
        self._root = tensors
        self._gradient, self._version = gradient, version
        if loader_pass is not None and loader_pass.waiting:
            samples = loader_pass.waiting.popleft()
            if samples is not None:
                batches.samples = samples + (batches.samples or 0)
            batches.micro_batches += 1
            loader_pass.used += 1
        # On the CPU reading a value waits for nothing, and costs less than a copy.
        self._loss = tensors.item() if tensors.is_cpu else tensors.detach().clone()

    @override
    def backward_ended(self, succeeded: bool) -> None:
        track, root = self._plain, self._root
        self._root = None  # it would keep the graph
        if root is None or track is None:
            super().backward_ended(succeeded)
            return
        gradient = self._probe.grad
        if succeeded and gradient is not None:
            version = gradient._version
            if gradient is not self._gradient or version != self._version:
                self._gradient = None
                track.pending.append(self._loss)
                track.version = version
                return
        self._leave_plain_path()
        self._assign_by_graph(track, root, succeeded)

    def _assign_by_graph(self, track: OptimizerTrack, root: torch.Tensor, succeeded: bool) -> None:
        """Assign the loss of a pass that did not reach the usual parameter.

        The other gradients were not looked at before it, so the graph has to tell.
        """
        ids = {id(parameter) for parameter in track.parameters()}
        was_reached = reaches(root, ids) if succeeded else None
        track.usual_passes = 0
        if was_reached:
            track.pending.append(self._loss)
        elif was_reached is None:
            track.is_unknown = True

    @override
    def step_ended(self, optimizer: Optimizer) -> None:
        track = self._plain
        if (
            track is None
            or self._optimizer() is not optimizer
            or not track.pending
            or track.is_unknown
            or track.first_call is not None
            or self._probe.grad is None
            or getattr(optimizer, "found_inf", None) is not None
        ):
            super().step_ended(optimizer)
            if self._plain is None:
                self._enter_plain_path(optimizer)
            return
        losses, track.pending = track.pending, []
        rates = tuple([group["lr"] for group in optimizer.param_groups])
        if type(rates[0]) is not float:
            rates = track.rates()
        batches, buffer, gate = self._batches, self._buffer, self._gate
        self.step = buffer.last_step = self.step + 1
        buffer.losses += losses
        buffer.rows.append(_new_tuple(StepRow, (len(losses), rates, batches.samples, False)))
        batches.samples, batches.micro_batches = None, 0
        track.steps += 1
        if (
            self._untimed
            or len(buffer.rows) >= FLUSH_STEPS
            or self._clock() - self._mark >= self._flush_after
        ):
            self._flush_if_due()
            if self._phases.active:
                self._leave_plain_path()
        self._norms.clips.clear()
        if not gate.is_open:
            self._pass_gate()

    @override
    def fetch_ended(self, iterator: Any, batch: Any, seconds: float) -> None:
        batches = self._batches
        if self._plain is None or batch is None or not torch.is_grad_enabled():
            super().fetch_ended(iterator, batch, seconds)
            return
        self._data_seconds = seconds + (self._data_seconds or 0.0)
        ref, loader_pass = batches.cached
        if loader_pass is None or ref() is not iterator:
            batches.fetched(iterator, batch)
            return
        batches.newest = loader_pass
        first = batch[0] if type(batch) in (list, tuple) and batch else None
        if type(first) is torch.Tensor and first.dim():
            loader_pass.waiting.append(first.shape[0])
        else:
            loader_pass.waiting.append(samples_of(batch))
        loader_pass.count += 1
        if loader_pass.count == loader_pass.batches:
            batches.end(loader_pass)

"""The gradient norm at a flush, before clipping where the script clips."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any

import torch

from mpstui.engine.soundness import rounded

from .optimizers import OptimizerTrack

MAX_CLIPS = 8
"""Clippings between two steps that are noted; a script without an optimizer may only clip."""

SHARE = 0.001
"""Largest share of the time that computing norms may take."""


class NormReader:
    """Reads the norm of all gradients, less often where that takes long."""

    def __init__(self, clock: Callable[[], float] = time.perf_counter) -> None:
        self._clock = clock
        self.clips: list[tuple[Any, Sequence[Any]]] = []
        """Norms since the step before, with the parameters that were clipped."""
        self._due = 0.0

    def clipped(self, norm: Any, parameters: Sequence[Any]) -> None:
        """Note what ``clip_grad_norm_`` returned; it stays on its device.

        Args:
            norm: Before clipping; None if it is not the Euclidean one.
            parameters: Whose gradients were clipped.
        """
        if len(self.clips) < MAX_CLIPS:
            self.clips.append((norm if type(norm) is torch.Tensor else None, parameters))

    def next_step(self) -> None:
        """Forget what was clipped for the step that is over."""
        self.clips.clear()

    def read(self, track: OptimizerTrack) -> float | None:
        """Return the norm of the newest step's gradients, 6 significant digits; None if unknown.

        To be called right after the optimizer's step, before a script clears the gradients.
        """
        probes = {id(probe) for probe in track.probes}
        clips = [(norm, set(map(id, parameters))) for norm, parameters in self.clips]
        clips = [(norm, ids) for norm, ids in clips if not probes.isdisjoint(ids)]
        if clips:
            norm, ids = clips[0]
            is_whole = len(clips) == 1 and norm is not None and probes <= ids
            return rounded(float(norm)) if is_whole else None
        start = self._clock()
        if start < self._due:
            return None
        optimizer = track.optimizer()
        if optimizer is None or getattr(optimizer, "grad_scale", None) is not None:
            return None  # a fused optimizer leaves the gradients scaled
        gradients = [p.grad for p in track.parameters() if p.grad is not None]
        # A sharded tensor's norm would have to be computed by all processes together.
        if not gradients or any(type(gradient) is not torch.Tensor for gradient in gradients):
            return None
        if any(gradient.is_sparse for gradient in gradients):
            return None
        with torch.no_grad():
            total = float(torch.nn.utils.get_total_norm(gradients))
        end = self._clock()
        self._due = end + (end - start) / SHARE
        return rounded(total)

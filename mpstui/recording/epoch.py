"""Sums over the epoch under way of a recorded script."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from .flush import Window


class EpochSums:
    """Counts an epoch's steps, samples and times."""

    def __init__(self) -> None:
        self._began: float | None = None
        self._ended = 0.0
        self._clear()

    def _clear(self) -> None:
        self.steps = self.samples = self._timed_samples = 0
        self._timed_seconds = self._loss_sum = 0.0

    def add(self, window: Window, seconds: float, timed: bool, now: float) -> None:
        """Add a window of steps.

        Args:
            window: The steps.
            seconds: Their time.
            timed: Whether it counts.
            now: Its end on the monotonic clock, in seconds.
        """
        if self._began is None:
            self._began = now - seconds
        self._ended = now
        self.steps += window.steps
        self.samples += window.samples
        self._loss_sum += float(np.sum(window.losses, dtype=np.float64))
        if timed:
            self._timed_samples += window.samples
            self._timed_seconds += seconds

    def take(self) -> dict[str, Any]:
        """Return the fields of the epoch's event, and start the next epoch."""
        assert self._began is not None
        mean = self._loss_sum / self.steps
        fields = {
            "mean_loss": mean if math.isfinite(mean) else None,
            "samples": self.samples,
            "timed_samples": self._timed_samples,
            "timed_seconds": self._timed_seconds,
            "wall_seconds": self._ended - self._began,
        }
        self._began = None
        self._clear()
        return fields

"""How far a run has trained: the counters that a loop keeps and a snapshot saves."""

from __future__ import annotations

from dataclasses import dataclass

from .meter import StepBatch


@dataclass
class Progress:
    """The position of a training loop, and its sums over the current epoch."""

    step: int = 0
    """The last completed step, counted from 1 over the whole run."""
    epoch: int = 0
    """The epoch of the next batch, or of an evaluation that is still due; counted from 1."""
    samples: int = 0
    """Samples of this epoch whose losses were read; 0 before its first batch."""
    timed_samples: int = 0
    timed_seconds: float = 0.0
    wall_seconds: float = 0.0
    """Since the epoch's first step, including pauses and other runs' turns; as of the last save."""
    loss_sum: float = 0.0
    """Over ``samples``."""
    last_finite: float | None = None
    """The newest finite loss."""
    test_loss: float | None = None
    """The newest test's loss; None if it is not finite."""

    def next_epoch(self) -> None:
        """Move to the next epoch; its sums are empty."""
        self.epoch += 1
        self.samples = self.timed_samples = 0
        self.timed_seconds = self.wall_seconds = self.loss_sum = 0.0

    def add(self, batch: StepBatch) -> None:
        """Add steps whose losses were read."""
        self.samples += batch.samples
        self.loss_sum += batch.loss_sum
        if batch.timed:
            self.timed_samples += batch.samples
            self.timed_seconds += batch.seconds

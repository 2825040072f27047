"""When a run's state is saved, and which of its snapshots are kept.

Snapshots may take 1 % of a run's training time, and a limited part of the disk. The first is saved
soon after warm-up, on credit, if the run is expected to last long enough to pay for it. Each later
one waits until the cost of all snapshots, its own included, is within their share of the training
time. The snapshot of a safe stop does not wait.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from mpstui.backends import RngState
from mpstui.runs.files import replace
from mpstui.runs.rundir import RunDir

from .progress import Progress
from .setup import Setup
from .snapshots import pack, snapshots_of, tensor_bytes

SHARE = 0.01
"""Of the training time."""

MIN_TRAINING_SECONDS = 2.0
"""Of training between two snapshots, even if they cost less."""

MOST_FILES = 4
MOST_BYTES = 512 << 20
"""Limits on disk. The newest snapshot is kept whatever its size."""

BYTES_PER_SECOND = 200e6
"""The assumed write speed of the first snapshot: a slow disk."""


class SnapshotRecord(NamedTuple):
    """A saved snapshot; the fields of ``SnapshotSaved``."""

    step: int
    epoch: int
    path: str
    bytes: int
    seconds: float
    share: float


def _never() -> bool:
    return False


class Snapshots:
    """A run's snapshots. Seconds are training time unless stated otherwise."""

    def __init__(
        self,
        run_dir: Path,
        frozen: Callable[[], bool] = _never,
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        """Start without snapshots.

        Args:
            run_dir: The run's folder.
            frozen: Whether the run has an alarm. From then on its snapshots are evidence: none is
                removed, and none is added.
            clock: Seconds, monotonic; it measures a snapshot's cost.
        """
        self._run_dir = run_dir
        self._frozen = frozen
        self._clock = clock
        self._broken = False
        self._trained = 0.0
        self._spent = 0.0  # by all snapshots, off the clock
        self._cost = 0.0  # of the last one
        self._last: float | None = None  # training time when it was saved

    def trained(self, seconds: float) -> None:
        """Add to the run's training time."""
        self._trained += seconds

    def due(self, setup: Setup, seconds_left: float) -> bool:
        """Return whether the budget allows a snapshot now.

        Args:
            setup: The run.
            seconds_left: Expected training time of the rest of the run.
        """
        if self._broken or self._frozen():
            return False
        if self._last is None:
            cost = tensor_bytes(setup) / BYTES_PER_SECOND
            return self._trained + seconds_left >= cost / SHARE
        waited = self._trained - self._last
        return (
            waited >= max(MIN_TRAINING_SECONDS, self._cost / SHARE)
            and self._trained >= (self._spent + self._cost) / SHARE
        )

    def save(self, setup: Setup, progress: Progress, rng: RngState) -> SnapshotRecord | None:
        """Write a snapshot atomically, and remove the oldest ones beyond the limits.

        Returns:
            The saved snapshot; None when the run's snapshots are frozen, or saving failed. A full
            disk must not end a run that trains well: it is reported once, in worker.log.
        """
        if self._broken or self._frozen():
            return None
        began = self._clock()
        path = RunDir(self._run_dir).snapshot(progress.step)
        try:
            setup.backend.synchronize()
            content = pack(setup, progress, rng)
            path.parent.mkdir(exist_ok=True)  # fails if the run was deleted
            replace(path, content)
            self._remove_oldest()
        except OSError as error:
            self._broken = True
            sys.stderr.write(f"no more snapshots: {path}: {error.strerror}\n")
            return None
        self._cost = self._clock() - began
        self._spent += self._cost
        self._last = self._trained
        total = self._trained + self._spent
        share = self._spent / total if total else 0.0
        relative = f"{path.parent.name}/{path.name}"
        return SnapshotRecord(
            progress.step, progress.epoch, relative, len(content), self._cost, share
        )

    def _remove_oldest(self) -> None:
        paths = [path for _, path in snapshots_of(self._run_dir)]
        sizes = [path.stat().st_size for path in paths]
        while len(paths) > 1 and (len(paths) > MOST_FILES or sum(sizes) > MOST_BYTES):
            if self._frozen():  # an alarm may come at any moment, from another thread
                return
            paths.pop(0).unlink()
            sizes.pop(0)

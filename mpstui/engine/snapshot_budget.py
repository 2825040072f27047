"""When a run's state is saved, and which of its snapshots are kept.

Snapshots may take 1 % of the time that a run trains, and so much of the disk. The first comes soon
after warm-up, on credit: where the run is expected to last long enough to pay for it. Each later
one waits until all of them, itself included, are within their share of what has been trained. The
one of a safe stop is not asked to wait.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from mpstui.runs.files import replace
from mpstui.runs.rundir import RunDir

from .progress import Progress
from .setup import Setup
from .snapshots import RngState, pack, snapshots_of, tensor_bytes

SHARE = 0.01
"""Of the training time."""

LEAST_SECONDS = 2.0
"""Of training between two snapshots, however little they cost."""

MOST_FILES = 4
MOST_BYTES = 512 << 20
"""Both on disk. The newest is kept whatever its size."""

BYTES_PER_SECOND = 200e6
"""What the first one is expected to be written with, before any was measured: a slow disk."""


class SnapshotRecord(NamedTuple):
    """What a snapshot was; the fields of ``SnapshotSaved``."""

    step: int
    epoch: int
    path: str
    bytes: int
    seconds: float
    share: float


def _never() -> bool:
    return False


class Snapshots:
    """A run's snapshots. Seconds are those of training unless they say otherwise."""

    def __init__(
        self,
        run_dir: Path,
        frozen: Callable[[], bool] = _never,
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        """Nothing is done yet.

        Args:
            run_dir: The run's folder.
            frozen: Whether something went wrong with the run. From then on its snapshots are
                evidence: none is removed, and no more are taken.
            clock: Seconds, monotonic; it measures what a snapshot costs.
        """
        self._run_dir = run_dir
        self._frozen = frozen
        self._clock = clock
        self._broken = False
        self._trained = 0.0
        self._spent = 0.0  # by all snapshots, off the clock
        self._cost = 0.0  # of the last one
        self._last: float | None = None  # how much had been trained when it was taken

    def trained(self, seconds: float) -> None:
        """Add to the time that the run has trained."""
        self._trained += seconds

    def due(self, setup: Setup, left: float) -> bool:
        """Whether the budget allows one now.

        Args:
            setup: The run.
            left: Seconds that the rest of the run is expected to train.
        """
        if self._broken or self._frozen():
            return False
        if self._last is None:
            cost = tensor_bytes(setup) / BYTES_PER_SECOND
            return self._trained + left >= cost / SHARE
        waited = self._trained - self._last
        return (
            waited >= max(LEAST_SECONDS, self._cost / SHARE)
            and self._trained >= (self._spent + self._cost) / SHARE
        )

    def save(self, setup: Setup, progress: Progress, draws: RngState) -> SnapshotRecord | None:
        """Write a snapshot, whole or not at all, and remove the oldest beyond the limits.

        Returns:
            What was saved; None when the run's snapshots are evidence by now, or it failed. A disk
            that is full must not end a run that trains well: it is said once, in worker.log.
        """
        if self._broken or self._frozen():
            return None
        began = self._clock()
        path = RunDir(self._run_dir).snapshot(progress.step)
        try:
            setup.backend.synchronize()
            content = pack(setup, progress, draws)
            replace(path, content)
            self._remove_oldest()
        except OSError as error:
            self._broken = True
            sys.stderr.write(f"no more snapshots: {path}: {error.strerror}\n")
            return None
        self._cost = self._clock() - began
        self._spent += self._cost
        self._last = self._trained
        whole = self._trained + self._spent
        share = self._spent / whole if whole else 0.0
        relative = f"{path.parent.name}/{path.name}"
        return SnapshotRecord(
            progress.step, progress.epoch, relative, len(content), self._cost, share
        )

    def _remove_oldest(self) -> None:
        kept = [path for _, path in snapshots_of(self._run_dir)]
        sizes = [path.stat().st_size for path in kept]
        while len(kept) > 1 and (len(kept) > MOST_FILES or sum(sizes) > MOST_BYTES):
            if self._frozen():  # an alarm may come at any moment, from another thread
                return
            kept.pop(0).unlink()
            sizes.pop(0)

"""Compares the parameters of ranks that train together: rank 0 reads the other ranks' logs."""

from __future__ import annotations

import time
from collections.abc import Sequence

from mpstui.domain.events import ParametersHashed, RanksDiffered
from mpstui.runs.log import LogReader
from mpstui.runs.rundir import RunDir

CHECK_SECONDS = 1.0


class RankWatch:
    """Finds the first step after which a rank has other parameters than rank 0.

    Ranks are compared only if they should agree: because DistributedDataParallel holds the model,
    or because they agreed before. Other ways of training together share no parameters.
    """

    def __init__(self, runs: Sequence[RunDir]) -> None:
        """Watch runs; the first is rank 0."""
        self._readers = [LogReader(run.events) for run in runs]
        self._digests: list[dict[int, ParametersHashed]] = [{} for _ in runs]
        self._agreed_at: dict[int, int] = {}
        self._is_over = False
        self._next_check = 0.0

    def check(self, now: float) -> RanksDiffered | None:
        """Read new events; return the first difference, once. ``now`` is monotonic, in seconds."""
        if self._is_over or now < self._next_check:
            return None
        self._next_check = now + CHECK_SECONDS
        for reader, digests in zip(self._readers, self._digests, strict=True):
            for event in reader.rest():
                if isinstance(event, ParametersHashed):
                    digests[event.step] = event
        for step in sorted(self._digests[0]):
            for rank in range(1, len(self._digests)):
                difference = self._compare(step, rank)
                if difference is not None:
                    self._is_over = True
                    return difference
        return None

    def _compare(self, step: int, rank: int) -> RanksDiffered | None:
        own, other = self._digests[0][step], self._digests[rank].get(step)
        if other is None:
            return None
        if own.digest == other.digest:
            self._agreed_at[rank] = max(step, self._agreed_at.get(rank, 0))
            return None
        agreed_at = self._agreed_at.get(rank)
        if agreed_at is None and not (own.synchronised and other.synchronised):
            return None
        return RanksDiffered(at=time.time(), step=step, rank=rank, agreed_at=agreed_at)

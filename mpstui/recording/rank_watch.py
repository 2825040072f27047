"""Compares the parameters of ranks on a host: the first one reads the other ranks' logs."""

from __future__ import annotations

import time
from collections.abc import Mapping

from mpstui.domain.events import ParametersHashed, RanksDiffered
from mpstui.runs.log import LogReader
from mpstui.runs.rundir import RunDir

CHECK_SECONDS = 1.0


class RankWatch:
    """Finds the first step after which a rank has other parameters than the first one.

    Ranks are compared only if they should agree: because DistributedDataParallel holds the model,
    or because they agreed before. Other ways of training together share no parameters.
    """

    def __init__(self, runs: Mapping[int, RunDir]) -> None:
        """Watch runs by their rank; the first is the one to compare with."""
        self._readers = {rank: LogReader(run.events) for rank, run in runs.items()}
        self._digests: dict[int, dict[int, ParametersHashed]] = {rank: {} for rank in runs}
        self._first, *self._further = runs
        self._agreed_at: dict[int, int] = {}
        self._is_over = False
        self._next_check = 0.0

    def check(self, now: float) -> RanksDiffered | None:
        """Read new events; return the first difference, once. ``now`` is monotonic, in seconds."""
        if self._is_over or now < self._next_check:
            return None
        self._next_check = now + CHECK_SECONDS
        for rank, reader in self._readers.items():
            for event in reader.rest():
                if isinstance(event, ParametersHashed):
                    self._digests[rank][event.step] = event
        for step in sorted(self._digests[self._first]):
            for rank in self._further:
                difference = self._compare(step, rank)
                if difference is not None:
                    self._is_over = True
                    return difference
        return None

    def _compare(self, step: int, rank: int) -> RanksDiffered | None:
        own, other = self._digests[self._first][step], self._digests[rank].get(step)
        if other is None:
            return None
        if own.digest == other.digest:
            self._agreed_at[rank] = max(step, self._agreed_at.get(rank, 0))
            return None
        agreed_at = self._agreed_at.get(rank)
        if agreed_at is None and not (own.synchronised and other.synchronised):
            return None
        return RanksDiffered(
            at=time.time(), step=step, rank=rank, reference=self._first, agreed_at=agreed_at
        )

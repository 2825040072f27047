"""Turns: one run of a comparison trains at a time, so that no run's clock counts another's work."""

from __future__ import annotations

from collections.abc import Sequence

from mpstui.processes.patience import SAMPLING_SHARE, Patience
from mpstui.processes.stdio import print_error

from .workers import RunWorker

TURN_SECONDS = 2.0
"""Long enough that few steps are excluded at a turn's start, short enough to look responsive."""

HANG_SECONDS = 120.0
"""How long workers wait for one that does not work; see ``Patience``."""


class Turns:
    """Decides which workers may train.

    No worker starts before all are ready, so that no run is timed while another one imports torch.
    The others do not wait forever, however, for one that hangs in its set-up or in its turn.
    """

    def __init__(
        self, workers: Sequence[RunWorker], exclusive: bool, hang_seconds: float = HANG_SECONDS
    ) -> None:
        self._ring = list(workers)
        self._exclusive = exclusive
        self._deadline = 0.0
        self._watches = [HangWatch(worker, hang_seconds) for worker in workers]

    def grant(self, now: float) -> None:
        """Grant and end turns depending on the states. ``now`` is monotonic, in seconds."""
        ready = [worker for worker in self._ring if worker.state == "ready"]
        hung = [watch.worker for watch in self._watches if watch.is_hung(now, bool(ready))]
        if any(worker.state == "starting" and worker not in hung for worker in self._ring):
            return
        if not self._exclusive:
            for worker in ready:
                worker.send("go")
            return
        active = [
            worker
            for worker in self._ring
            if worker.state in ("running", "yielding") and worker not in hung
        ]
        if not active and ready:
            worker = ready[0]
            self._ring.remove(worker)
            self._ring.append(worker)  # last in the queue for the next turn
            worker.send("go")
            self._deadline = now + TURN_SECONDS
        elif ready and active[0].state == "running" and now >= self._deadline:
            active[0].send("wait")


class HangWatch:
    """Tells whether a worker keeps others waiting, and for how long it may."""

    def __init__(self, worker: RunWorker, limit: float) -> None:
        self.worker = worker
        self._limit = limit
        self._start_waiting("")

    def _start_waiting(self, state: str) -> None:
        self._state = state
        self._patience = Patience(self.worker.cpu_seconds, self._limit, SAMPLING_SHARE)
        self._next_check = 0.0
        self._is_hung = False

    def is_hung(self, now: float, is_awaited: bool) -> bool:
        """Return whether the others go on without the worker, until it changes its state.

        Args:
            now: Monotonic, in seconds.
            is_awaited: Whether another worker is ready to train.
        """
        state = self.worker.state
        if state != self._state:
            self._start_waiting(state)
        if self._is_hung or not is_awaited or state not in ("starting", "yielding"):
            return self._is_hung
        if now >= self._next_check:
            self._next_check = now + self._patience.interval
            self._is_hung = self._patience.is_over()
            if self._is_hung:
                id = self.worker.run.id
                print_error(f"{id}: {state} for too long; the others go on without it")
        return self._is_hung

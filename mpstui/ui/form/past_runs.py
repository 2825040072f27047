"""The stored runs that estimates can use, each read once."""

from __future__ import annotations

from contextlib import suppress

from mpstui.domain.errors import MpstuiError
from mpstui.runs.rundir import RunDir
from mpstui.runs.store import RunStore

from .estimate import PastRun, past_run

MOST = 200
"""How many of the newest runs are read; older ones say little about the current pace."""


class PastRuns:
    """A reader of new runs in a store; a run that is over does not change."""

    def __init__(self, store: RunStore) -> None:
        self._store = store
        self._by_id: dict[str, PastRun | None] = {}

    def read(self) -> tuple[PastRun, ...]:
        """Return the runs with timings, newest first; damaged ones are skipped."""
        runs = []
        with suppress(OSError):
            runs = self._store.all()[:MOST]
        for run in runs:
            if run.id not in self._by_id:
                self._take(run)
        self._by_id = {run.id: self._by_id[run.id] for run in runs if run.id in self._by_id}
        return tuple(past for past in self._by_id.values() if past is not None)

    def _take(self, run: RunDir) -> None:
        try:
            summary = run.summary()
            if summary is not None:  # else it is under way, and read again next time
                self._by_id[run.id] = past_run(run.config(), summary)
        except (MpstuiError, OSError):
            self._by_id[run.id] = None

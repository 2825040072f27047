"""The runs of this machine's store that an estimate can go by, read once."""

from __future__ import annotations

from contextlib import suppress

from mpstui.domain.errors import MpstuiError
from mpstui.runs.rundir import RunDir
from mpstui.runs.store import RunStore

from .estimate import PastRun, past_run

MOST = 200
"""The newest runs, of which the rest is not read: one that is older says little of today."""


class PastRuns:
    """Reads what is new in a store; a run that is over does not change."""

    def __init__(self, store: RunStore) -> None:
        self._store = store
        self._read: dict[str, PastRun | None] = {}

    def read(self) -> tuple[PastRun, ...]:
        """Runs that were timed, the newest first. Damaged ones are passed over."""
        runs = []
        with suppress(OSError):
            runs = self._store.all()[:MOST]
        for run in runs:
            if run.id not in self._read:
                self._take(run)
        return tuple(past for run in runs if (past := self._read.get(run.id)) is not None)

    def _take(self, run: RunDir) -> None:
        try:
            summary = run.summary()
            if summary is not None:  # else it is under way, and looked at again next time
                self._read[run.id] = past_run(run.config(), summary)
        except (MpstuiError, OSError):
            self._read[run.id] = None

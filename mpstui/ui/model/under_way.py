"""The runs that are under way, also those of other apps and older ones."""

from __future__ import annotations

from contextlib import suppress

from mpstui.runs.rundir import RunDir
from mpstui.runs.store import RunStore


def runs_under_way(store: RunStore) -> list[RunDir]:
    """Return the runs under way, newest first. Of a run that is over, only its end is looked for.

    Raises:
        OSError: The folder of runs cannot be read.
    """
    from mpstui.runs.trash import is_running

    under_way = []
    for run in store.all():
        with suppress(OSError):  # one folder without permission must not hide the others
            if not (run.path / "exit.json").exists() and is_running(run):
                under_way.append(run)
    return under_way

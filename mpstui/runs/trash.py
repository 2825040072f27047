"""The trash: deleted runs are moved there, so that deleting can be undone until it is emptied.

A deleted run's folder moves, under the same name, to ``.trash`` in the folder of all runs. That is
the same file system, so moving is a single rename regardless of size.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from mpstui.domain.errors import LogError, RunNotFound, UsageError
from mpstui.processes.identity import Presence

from .files import persist
from .rundir import RunDir
from .store import TRASH, RunStore

_IN_USE = (5, 32)
"""Windows' ERROR_ACCESS_DENIED and ERROR_SHARING_VIOLATION, raised when moving a folder in which a
file is open."""


def delete(store: RunStore, ids: Sequence[str], force: bool = False) -> list[str]:
    """Move runs to the trash: all of them or, if one cannot be moved, none.

    Args:
        store: The store with the runs.
        ids: Complete ids.
        force: Move runs too whose processes are on another machine or container, from where no end
            of theirs is seen. A run that trains there ends when its folder is gone.

    Returns:
        The ids of the moved runs, in this order, without duplicates.

    Raises:
        RunNotFound: If there is no run with such an id.
        UsageError: If a run is still running, its name is already in the trash, or the file system
            refuses.
    """
    runs = _find_runs(store, ids)
    for run in runs:
        if not is_running(run):
            continue
        if run.presence() is not Presence.ELSEWHERE:
            problem = "still running; allowed: runs that have ended; first"
            raise UsageError(f"{run.id}: {problem} mpstui runs stop {run.id}")
        if not force:
            problem = f"not known to have ended, since it is on {run.place()}; allowed: runs that"
            raise UsageError(f"{run.id}: {problem} have ended; mpstui runs delete --force {run.id}")
    return _move(runs, store.root / TRASH, "already in the trash; restore or remove that first")


def restore(store: RunStore, ids: Sequence[str]) -> list[str]:
    """Move runs back from the trash: all of them or, if one cannot be moved, none.

    Args:
        store: The store that the runs were deleted from.
        ids: Complete ids.

    Returns:
        The ids of the moved runs, in this order, without duplicates.

    Raises:
        RunNotFound: If the trash has no run with such an id; the message lists its runs.
        UsageError: If a folder of that name exists again; the message names it.
    """
    runs = _find_runs(RunStore(store.root / TRASH), ids)
    return _move(runs, store.root, "already exists; move or rename it first")


def deleted(store: RunStore) -> list[RunDir]:
    """Return the runs in the trash, newest first."""
    return RunStore(store.root / TRASH).all()


def empty(store: RunStore) -> int:
    """Permanently remove all runs in the trash.

    Returns:
        The number of removed runs.

    Raises:
        UsageError: If the file system refuses; the message names the folder.
    """
    runs = deleted(store)
    for run in runs:
        try:
            # If a run's folder is a link to another disk, only the link was moved here.
            run.path.unlink() if run.path.is_symlink() else shutil.rmtree(run.path)
        except OSError as error:
            problem = f"{run.path}: cannot be removed: {error.strerror}{_explain_open_file(error)}"
            raise UsageError(problem) from error
    return len(runs)


def is_running(run: RunDir) -> bool:
    """Return whether a run is still running. Runs with damaged files count as ended."""
    try:
        return run.is_under_way()
    except LogError:
        return False


def _find_runs(store: RunStore, ids: Sequence[str]) -> list[RunDir]:
    runs = {run.id: run for run in store.all()}
    for id in ids:
        if id not in runs:
            existing = ", ".join(list(runs)[:5]) or "none"
            raise RunNotFound(f"no run in {store.root} is called {id!r}; existing: {existing}")
    return [runs[id] for id in dict.fromkeys(ids)]


def _move(runs: Sequence[RunDir], to: Path, clash: str) -> list[str]:
    for run in runs:  # a rename would silently replace an empty folder
        target = to / run.id
        if os.path.lexists(target):
            raise UsageError(f"{target}: {clash}")
    moved: list[RunDir] = []
    if not runs:
        return []
    try:
        to.mkdir(exist_ok=True)
        for run in runs:
            persist(partial(run.path.rename, to / run.id))
            moved.append(run)
    except OSError as error:
        stranded = _move_back(moved, to)
        failed_path = runs[len(moved)].path
        problem = (
            f"{failed_path}: cannot be moved to {to}: {error.strerror}{_explain_open_file(error)}"
        )
        if stranded:
            problem += f"; moved and not moved back: {', '.join(stranded)}, in {to}"
        raise UsageError(problem) from error
    return [run.id for run in runs]


def _move_back(moved: Sequence[RunDir], to: Path) -> list[str]:
    """Undo moves; return the ids of runs that could not be moved back."""
    stranded = []
    for run in moved:
        try:
            persist(partial((to / run.id).rename, run.path))
        except OSError:
            stranded.append(run.id)
    return stranded


def _explain_open_file(error: OSError) -> str:
    """Return advice if Windows refuses to move a folder because a file in it is open."""
    if getattr(error, "winerror", None) not in _IN_USE:
        return ""
    return (
        ". A program has one of its files open: close it, or end the comparison that the run "
        "belongs to, then try again"
    )

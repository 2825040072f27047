"""Deleted runs: moved aside, so that deleting can be undone, until somebody empties the trash.

A deleted run keeps its folder's name, below ``.trash`` in the folder of all runs: the same file
system, so that moving it is one rename, however large it is.
"""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from mpstui.domain.errors import LogError, RunNotFound, UsageError

from .files import persist
from .rundir import RunDir
from .store import TRASH, RunStore

_IN_USE = (5, 32)
"""Windows' ERROR_ACCESS_DENIED and ERROR_SHARING_VIOLATION: what moving a folder meets when a file
in it is open."""


def delete(store: RunStore, ids: Sequence[str]) -> list[str]:
    """Move runs to the trash: all of them or, when one cannot be moved, none.

    Args:
        store: Where the runs are.
        ids: Whole ids.

    Returns:
        The ids moved, each once, in the order given.

    Raises:
        RunNotFound: When there is no run of such an id.
        UsageError: When a run is under way, or the trash or the file system stands in the way.
    """
    chosen = _chosen(store, ids)
    for run in chosen:
        if under_way(run):
            raise UsageError(
                f"{run.id}: under way; allowed: runs that are over. Stop it first, in the app "
                "with s, or with Ctrl-C where it was started"
            )
    return _move(chosen, store.root / TRASH, "in the trash already; restore or remove that first")


def restore(store: RunStore, ids: Sequence[str]) -> list[str]:
    """Move runs back from the trash: all of them or, when one cannot be moved, none.

    Args:
        store: Where the runs were.
        ids: Whole ids.

    Returns:
        The ids moved, each once, in the order given.

    Raises:
        RunNotFound: When the trash holds no run of such an id; the message says what it holds.
        UsageError: When a folder of that name is there again; the message names it.
    """
    chosen = _chosen(RunStore(store.root / TRASH), ids)
    return _move(chosen, store.root, "in the way; move or rename it first")


def deleted(store: RunStore) -> list[RunDir]:
    """What the trash holds, the newest run first."""
    return RunStore(store.root / TRASH).all()


def empty(store: RunStore) -> int:
    """Remove for good what the trash holds.

    Returns:
        How many runs there were.

    Raises:
        UsageError: When the file system refuses; the message names the folder.
    """
    runs = deleted(store)
    for run in runs:
        try:
            # A run's folder may be a link to another disk: then only the link was moved here.
            run.path.unlink() if run.path.is_symlink() else shutil.rmtree(run.path)
        except OSError as error:
            problem = f"{run.path}: cannot be removed: {error.strerror}{_held_open(error)}"
            raise UsageError(problem) from error
    return len(runs)


def under_way(run: RunDir) -> bool:
    """Whether somebody still writes into a run's folder. One with damaged files can be deleted."""
    try:
        return run.kept() and run.exit() is None
    except LogError:
        return False


def _chosen(store: RunStore, ids: Sequence[str]) -> list[RunDir]:
    runs = {run.id: run for run in store.all()}
    for id in ids:
        if id not in runs:
            there = ", ".join(list(runs)[:5]) or "none"
            raise RunNotFound(f"no run in {store.root} is called {id!r}; there: {there}")
    return [runs[id] for id in dict.fromkeys(ids)]


def _move(runs: Sequence[RunDir], to: Path, clash: str) -> list[str]:
    for run in runs:  # a rename would silently replace an empty folder
        target = to / run.id
        if target.exists() or target.is_symlink():
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
        left = runs[len(moved)].path
        problem = f"{left}: cannot be moved to {to}: {error.strerror}{_held_open(error)}"
        if stranded:
            problem += f"; moved and not brought back: {', '.join(stranded)}, in {to}"
        raise UsageError(problem) from error
    return [run.id for run in runs]


def _move_back(moved: Sequence[RunDir], to: Path) -> list[str]:
    """Undo moves; the ids of runs that stay where they were moved, whole."""
    stranded = []
    for run in moved:
        try:
            persist(partial((to / run.id).rename, run.path))
        except OSError:
            stranded.append(run.id)
    return stranded


def _held_open(error: OSError) -> str:
    """What to do where Windows keeps a folder in its place because a file in it is open."""
    if getattr(error, "winerror", None) not in _IN_USE:
        return ""
    return (
        ". A program has one of its files open: close it, or end the comparison that the run "
        "belongs to, then try again"
    )

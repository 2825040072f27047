"""``mpstui watch``: prints the lines of any run, as ``mpstui train`` does.

Watching only reads files, so it does not affect the run or its supervisor.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable
from pathlib import Path

from mpstui.domain.article import ArticleLog
from mpstui.domain.errors import RunNotFound, UsageError
from mpstui.domain.recorded_log import log_of
from mpstui.runs.paths import runs_dir as default_runs_dir
from mpstui.runs.rundir import RunDir
from mpstui.runs.store import RunStore
from mpstui.runs.view import RunView

POLL_SECONDS = 0.1


def watch(
    text: str | None,
    only: bool,
    runs_dir: Path | None,
    wait: Callable[[float], None] = time.sleep,
) -> int:
    """Print a run's log, and new lines as they are added, until the run is over.

    All runs of a comparison are followed, with each line's device in front. Ctrl-C only stops the
    watching.

    Args:
        text: A run's folder, its id or a unique part of it, or a comparison's id; None for the
            newest run or comparison.
        only: Follow only that run of its comparison.
        runs_dir: The folder of runs; None for the default.
        wait: Called with the seconds between two polls.

    Returns:
        0 if all runs finished or were stopped; 1 if one failed, crashed or was killed, or if the
        user stopped watching before the end.

    Raises:
        RunNotFound: When ``text`` matches no run, or more than one.
        UsageError: When ``only`` comes with a comparison's id.
        LogError: When a run's files can't be read.
    """
    views = [RunView(run) for run in _select(text, only, RunStore(runs_dir or default_runs_dir()))]
    logs = [log_of(view.config) for view in views]
    width = max(len(view.config.label) for view in views)
    try:
        while True:
            for view, log in zip(views, logs, strict=True):
                prefix = f"{view.config.label:<{width}}  " if len(views) > 1 else ""
                for line in _new_lines(view, log):
                    _print(f"{prefix}{line}")
            if all(view.history.state.over for view in views):
                break
            wait(POLL_SECONDS)
    except KeyboardInterrupt:
        ids = " ".join(view.run.id for view in views if not view.history.state.over)
        sys.stderr.write(f"no longer watching; still running: {ids}\n")
        return 1
    successes = ("finished", "stopped")
    return 0 if all(view.history.state.value in successes for view in views) else 1


def _select(text: str | None, only: bool, store: RunStore) -> list[RunDir]:
    if text is None:
        newest = store.newest_group()
        if not newest:
            raise RunNotFound(f"no run in {store.root}; `mpstui train` starts one")
        return newest[:1] if only else newest
    folder = Path(text)
    if os.path.isfile(folder / "config.toml"):
        folder = folder.resolve()
        runs, store = [RunDir(folder)], RunStore(folder.parent)
    else:
        runs = store.select([text])
    if only:
        if len(runs) > 1:
            ids = ", ".join(run.id for run in runs)
            raise UsageError(f"{text} is a comparison; allowed with --only: one of {ids}")
        return runs
    return store.group(runs[0])


def _new_lines(view: RunView, log: ArticleLog) -> list[str]:
    was_over = view.history.state.over
    lines = [line for event in view.refresh() for line in log.lines(event)]
    state = view.history.state
    if state.over and not was_over and state.value in ("crashed", "killed"):
        lines.append(view.history.message)  # these states have no event
    return lines


def _print(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()

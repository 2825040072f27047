"""``mpstui watch``: the lines of a run that was started anywhere, as ``mpstui train`` prints them.

Watching only reads. Whoever started the run, and its supervisor, do not notice.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from pathlib import Path

from mpstui.domain.article import ArticleLog
from mpstui.domain.errors import RunNotFound, UsageError
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
    """Print a run's whole log and what is added to it, until it is over.

    Of a comparison all runs are followed, each line after its device. Ctrl-C stops the watching
    and nothing else.

    Args:
        text: A run's folder, its id or a part that only it has, or a comparison's id; None for the
            newest run or comparison.
        only: Follow that one run, not the others of its comparison.
        runs_dir: Where runs are kept; None for the usual place.
        wait: Called with seconds between two looks.

    Returns:
        0 when all were finished or stopped; 1 when one failed, crashed or was killed, or when the
        watching was stopped before the end is known.

    Raises:
        RunNotFound: When no run, or more than one, is meant.
        UsageError: When ``only`` comes with a comparison's id.
        LogError: When a run's files cannot be read.
    """
    views = [RunView(run) for run in _chosen(text, only, RunStore(runs_dir or default_runs_dir()))]
    logs = [ArticleLog(view.config) for view in views]
    width = max(len(view.config.device) for view in views)
    try:
        while True:
            for view, log in zip(views, logs, strict=True):
                before = f"{view.config.device:<{width}}  " if len(views) > 1 else ""
                for line in _new(view, log):
                    _say(f"{before}{line}")
            if all(view.history.state.over for view in views):
                break
            wait(POLL_SECONDS)
    except KeyboardInterrupt:
        ids = " ".join(view.run.id for view in views if not view.history.state.over)
        sys.stderr.write(f"no longer watching; still under way: {ids}\n")
        return 1
    fine = ("finished", "stopped")
    return 0 if all(view.history.state.value in fine for view in views) else 1


def _chosen(text: str | None, only: bool, store: RunStore) -> list[RunDir]:
    if text is None:
        newest = store.newest_group()
        if not newest:
            raise RunNotFound(f"no run in {store.root}; `mpstui train` starts one")
        return newest[:1] if only else newest
    folder = Path(text)
    if (folder / "config.toml").is_file():
        folder = folder.resolve()
        chosen, store = [RunDir(folder)], RunStore(folder.parent)
    else:
        chosen = store.select([text])
    if only:
        if len(chosen) > 1:
            several = ", ".join(run.id for run in chosen)
            raise UsageError(f"{text} is a comparison; allowed with --only: one of {several}")
        return chosen
    return store.group(chosen[0])


def _new(view: RunView, log: ArticleLog) -> list[str]:
    was_over = view.history.state.over
    lines = [line for event in view.refresh() for line in log.lines(event)]
    state = view.history.state
    if state.over and not was_over and state.value in ("crashed", "killed"):
        lines.append(view.history.message)  # no event of its own tells it
    return lines


def _say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()

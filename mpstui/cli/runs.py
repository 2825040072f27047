"""``mpstui runs`` and ``mpstui runs show``."""

from __future__ import annotations

import sys
from pathlib import Path

from mpstui.domain.errors import LogError
from mpstui.domain.summary import RunSummary
from mpstui.domain.tables import as_json, comparison_table, runs_table
from mpstui.domain.units import date
from mpstui.runs.paths import runs_dir as default_runs_dir
from mpstui.runs.rundir import config_toml
from mpstui.runs.store import RunStore
from mpstui.runs.view import RunView


def list_runs(json: bool, runs_dir: Path | None) -> int:
    """Print every run, the newest first."""
    store = RunStore(runs_dir or default_runs_dir())
    found: list[RunSummary] = []
    for run in store.all():
        try:
            view = RunView(run)
            if run.summary() is None:
                view.catch_up()
            found.append(view.summary())
        except LogError as error:  # one broken folder must not hide the others
            sys.stderr.write(f"mpstui: {error.title}: {error}\n")
    if not found and not json:
        sys.stdout.write(f"no runs in {store.root}; `mpstui train` starts one\n")
        return 0
    sys.stdout.write((as_json({"runs": found}) if json else runs_table(found)) + "\n")
    return 0


def show_run(text: str, json: bool, runs_dir: Path | None) -> int:
    """Print one run: its settings, its numbers, and how it ended."""
    run = RunStore(runs_dir or default_runs_dir()).find(text)
    view = RunView(run)
    view.catch_up()
    summary = view.summary()
    if json:
        sys.stdout.write(as_json(summary) + "\n")
        return 0
    sys.stdout.write(
        f"{run.id}\n{run.path}\nstarted {date(summary.started_at)}, "
        f"{summary.status} after {summary.steps:,} steps"
        f"\n\n{config_toml(view.config).decode()}\n{comparison_table([summary], 'table')}\n"
    )
    return 0

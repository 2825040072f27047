"""``mpstui runs`` and its actions: list, show, compare, export, note, delete, restore."""

from __future__ import annotations

import csv
import io
import os
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import msgspec

from mpstui.domain.class_path import class_path
from mpstui.domain.comparison import HEADINGS, article_rows, baselines, notes, rows
from mpstui.domain.config import BY_NAME
from mpstui.domain.error_text import REPORTED
from mpstui.domain.errors import FieldError, UsageError
from mpstui.domain.history import RunState
from mpstui.domain.shell import local_shell
from mpstui.domain.summary import RunSummary, speed_up
from mpstui.domain.tables import UnreadableRun, as_json, comparison_table, runs_table
from mpstui.domain.units import date
from mpstui.domain.workloads import short_name
from mpstui.runs import trash
from mpstui.runs.export import TEXTS, describe_mismatches, export, export_text
from mpstui.runs.notes import read_note, write_note
from mpstui.runs.paths import runs_dir as default_runs_dir
from mpstui.runs.rundir import RunDir
from mpstui.runs.settings import settings_text
from mpstui.runs.store import TRASH, RunStore
from mpstui.runs.view import RunView
from mpstui.runs.workload_path import absolute_workload

from .output import print_document, print_line

OVER = tuple(state.value for state in RunState if state.over)
UNREADABLE = "unreadable"
RUN_STATES = (*(state.value for state in RunState), "running", UNREADABLE)
"""Values of ``--state``: a state, ``running`` for all that are not over, or ``unreadable``."""


def list_runs(
    json: bool,
    runs_dir: Path | None,
    *,
    workload: str | None = None,
    state: str | None = None,
    alarm: bool = False,
    device: str | None = None,
    sort: str = "started",
) -> int:
    """Print runs, one a line.

    Args:
        json: Print one JSON document instead.
        runs_dir: The folder of runs; None for the default.
        workload: Only runs of this workload; a custom one may be written without folders.
        state: Only runs in this state, one of ``RUN_STATES``.
        alarm: Only runs with an alarm.
        device: Only runs whose device spec or device name contains this, in any case.
        sort: ``started``: the newest first. ``epoch``, ``loss``, ``accuracy``: the best first,
            those without the number last. ``device``: by device spec. Ties: the newest first.

    Raises:
        FieldError: When there is no such state, or ``workload`` is not a valid name.
    """
    if state is not None and state not in RUN_STATES:
        hint = "; --alarm lists the runs that diverged" if state == "diverged" else ""
        raise FieldError("state", f"{state!r} is none", ", ".join(RUN_STATES) + hint)
    store = _store(runs_dir)
    troubles: dict[str, str] = {}
    summaries, unreadable = _summaries(store.all(), troubles)
    if workload not in (None, *(short_name(run.workload) for run in summaries)):
        workload = BY_NAME["workload"].check(workload)
    path = absolute_workload(workload) if workload and class_path(workload) else workload
    matches = [
        run
        for run in summaries
        if {None, run.workload, short_name(run.workload)} & {workload, path}
        and (state is None or state in (run.state, None if run.state in OVER else "running"))
        and (run.alarm or not alarm)
        and (device or "").lower() in f"{run.device}\n{run.device_name}".lower()
    ]
    is_filtered = alarm or workload is not None or device is not None
    if is_filtered or state not in (None, UNREADABLE):
        unreadable = []
    if sort != "started":
        matches.sort(key=lambda run: _key(run, sort))
    if json:
        damaged = [run._asdict() for run in unreadable]
        listed = {"runs": matches, "unreadable": damaged, "troubles": troubles}
        print_document(as_json(listed), json)
    elif matches or unreadable:
        print_line(runs_table(matches, unreadable))
        for run in matches:
            if run.run_id in troubles:
                print_line(f"{run.run_id}: {troubles[run.run_id]}")
    elif summaries:
        print_line(f"none of the {len(summaries)} runs in {store.root} matches")
    else:
        print_line(f"no runs in {store.root}; `mpstui train` starts one")
    return 0


def show_run(text: str, json: bool, runs_dir: Path | None) -> int:
    """Print one run: its settings, numbers, note and end state."""
    run = _store(runs_dir).find(text)
    view = RunView(run)
    view.catch_up()
    summary, note = view.summary(), read_note(run)
    if json:
        print_document(as_json({**msgspec.structs.asdict(summary), "note": note}), json)
        return 0
    print_line(
        f"{run.id}\n{run.path}\nstarted {date(summary.started_at)}, "
        f"{summary.state} after {summary.steps:,} steps"
        + (f"\nalarm: {summary.alarm}" if summary.alarm else "")
        + f"\n\n{settings_text(view)}\n\n{comparison_table([summary], 'table')}"
        + (f"\n\n{note.rstrip()}" if note else "")
    )
    return 0


def compare_runs(
    texts: Sequence[str], baseline: str | None, format: str, runs_dir: Path | None
) -> int:
    """Print the results of several runs side by side.

    Args:
        texts: Runs or comparisons, as ``RunStore.select`` takes them.
        baseline: The reference of speed-ups, moved or added to the top; None for the first run.
        format: One of ``mpstui.domain.tables.TABLE_FORMATS``.
        runs_dir: The folder of runs; None for the default.

    Raises:
        RunNotFound: When one of them does not exist.
        UsageError: When there are fewer than two.
    """
    store = _store(runs_dir)
    first = [] if baseline is None else [store.find(baseline).id]
    selection = store.select([*first, *texts])
    if len(selection) < 2:
        ids = ", ".join(run.id for run in selection)
        raise UsageError(f"runs compare: {ids} is one run; allowed: two or more")
    runs = [_summary(run) for run in selection]
    mismatches = describe_mismatches(runs)
    # Ids distinguish two runs on one device; the table has no room for them.
    mismatches += [f"row {number}: {run.run_id}" for number, run in enumerate(runs, 1)]
    if format == "json":
        print_document(_document(runs, mismatches), format == "json")
    elif format == "csv":
        print_line(_csv(runs))
        for note in describe_mismatches(runs):
            print_line(note, sys.stderr)
    else:
        mark = "- " if format == "markdown" else ""
        print_line(
            "\n".join([comparison_table(runs, format), *(f"{mark}{note}" for note in mismatches)])
        )
    return 0


def export_runs(
    texts: Sequence[str], format: str, out: Path | None, force: bool, runs_dir: Path | None
) -> int:
    """Write runs as files and print the files' paths; see :func:`mpstui.runs.export.export`.

    Args:
        texts: Runs or comparisons, as ``RunStore.select`` takes them.
        format: One of ``mpstui.runs.export.EXPORT_FORMATS``.
        out: The file or folder; None prints a single-file text format to stdout.
        force: Replace existing files.
        runs_dir: The folder of runs; None for the default.

    Raises:
        FieldError: When a format of several files has no folder.
        UsageError: When a file can't be written.
    """
    views = [RunView(run) for run in _store(runs_dir).select(texts)]
    if out is None:
        if format not in TEXTS:
            raise FieldError("out", f"{format} needs a folder", "--out DIR")
        print_document(export_text(views, format).rstrip("\n"), format == "json")
        return 0
    for path in export(views, format, out, force):
        print_line(str(path))
    return 0


def note_run(text: str, note: str | None, runs_dir: Path | None) -> int:
    """Print a run's note, or replace it with a new one; an empty one removes it."""
    run = _store(runs_dir).find(text)
    if note is not None:
        write_note(run, note)
    elif current := read_note(run):
        print_line(current.rstrip("\n"))
    else:
        print_line(f"{run.id} has no note; `mpstui runs note {run.id} TEXT` writes one", sys.stderr)
    return 0


def delete_runs(texts: Sequence[str], runs_dir: Path | None, force: bool) -> int:
    """Move runs to the trash, and print the command that undoes it."""
    store = _store(runs_dir)
    ids = trash.delete(store, [run.id for run in store.select(texts)], force)
    flag = "" if runs_dir is None else f" --runs-dir {local_shell().quote(str(runs_dir))}"
    for id in ids:
        print_line(f"deleted {id}")
    print_line(f"to undo: mpstui runs restore{flag} {' '.join(ids)}")
    return 0


def restore_runs(texts: Sequence[str], runs_dir: Path | None) -> int:
    """Move runs back from the trash; without ids, list the trash."""
    store = _store(runs_dir)
    trash_store = RunStore(store.root / TRASH)
    if not texts:
        for run in trash_store.all():
            print_line(run.id)
        return 0
    for id in trash.restore(store, [run.id for run in trash_store.select(texts)]):
        print_line(f"restored {id}")
    return 0


def _store(runs_dir: Path | None) -> RunStore:
    return RunStore(runs_dir or default_runs_dir())


def _summary(run: RunDir) -> RunSummary:
    return _view(run).summary()


def _view(run: RunDir) -> RunView:
    view = RunView(run)
    if run.summary() is None:
        view.catch_up()
    return view


def _summaries(
    runs: Sequence[RunDir], troubles: dict[str, str]
) -> tuple[list[RunSummary], list[UnreadableRun]]:
    """Return the runs' summaries and the damaged runs.

    Args:
        runs: In this order.
        troubles: Receives, by id, since when a run has been silent or has stalled.
    """
    summaries, unreadable = [], []
    for run in runs:
        try:
            view = _view(run)
            summaries.append(view.summary())
            if trouble := view.trouble(time.time()):
                troubles[run.id] = trouble
        except REPORTED as error:  # one broken folder must not hide the others
            reason = str(error).replace(f"{run.path}{os.sep}", "")  # its id is in the row
            unreadable.append(UnreadableRun(run.id, reason))
    return summaries, unreadable


def _key(run: RunSummary, sort: str) -> tuple[bool, float, str]:
    if sort == "device":
        return False, 0.0, run.device
    value = {
        "epoch": run.epoch_seconds and run.epoch_seconds.median,
        "loss": run.test_loss,
        "accuracy": None if run.accuracy is None else -run.accuracy,
    }[sort]
    return value is None, value or 0.0, ""


def _document(runs: Sequence[RunSummary], mismatches: Sequence[str]) -> str:
    return as_json(
        {
            "baseline": runs[0].run_id,
            "runs": runs,
            "speed_up": {
                run.run_id: None if base is None else speed_up(run, base)
                for run, base in zip(runs, baselines(runs), strict=True)
            },
            "article": [row._asdict() for row in article_rows()] if _mnist(runs) else [],
            "notes": [*mismatches, *notes(runs)],
        }
    )


def _csv(runs: Sequence[RunSummary]) -> str:
    out = io.StringIO()
    table = csv.writer(out, lineterminator="\n")
    table.writerow(["run", *HEADINGS])
    table.writerows([run.run_id, *row] for run, row in zip(runs, rows(runs), strict=True))
    if _mnist(runs):
        table.writerows(["", *row] for row in article_rows())
    return out.getvalue().rstrip()


def _mnist(runs: Sequence[RunSummary]) -> bool:
    return runs[0].workload == "mnist"

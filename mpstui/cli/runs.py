"""``mpstui runs`` and its actions: list, show, compare, export, note, delete, restore."""

from __future__ import annotations

import csv
import io
import sys
from collections.abc import Sequence
from pathlib import Path

import msgspec

from mpstui.domain.comparison import HEADINGS, article_rows, notes, rows
from mpstui.domain.config import BY_NAME
from mpstui.domain.errors import FieldError, LogError, UsageError
from mpstui.domain.history import RunState
from mpstui.domain.shell import local_shell
from mpstui.domain.summary import RunSummary, speed_up
from mpstui.domain.tables import as_json, comparison_table, runs_table
from mpstui.domain.units import date
from mpstui.domain.workloads import short_name
from mpstui.runs import trash
from mpstui.runs.export import TEXTS, describe_mismatches, export, export_text
from mpstui.runs.notes import read_note, write_note
from mpstui.runs.paths import runs_dir as default_runs_dir
from mpstui.runs.rundir import RunDir, config_toml
from mpstui.runs.store import TRASH, RunStore
from mpstui.runs.view import RunView

OVER = tuple(state.value for state in RunState if state.over)
STATES = (*(state.value for state in RunState), "running")
"""What can be asked for: a state, or ``running`` for all that are not over."""


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
        runs_dir: Where runs are kept; None for the usual place.
        workload: Only runs of this workload; of an own one, its file's folders may be left out.
        state: Only runs in this state, one of ``STATES``.
        alarm: Only runs with an alarm.
        device: Only runs whose device spec or device name holds this, in any case.
        sort: ``started``: the newest first. ``epoch``, ``loss``, ``accuracy``: the best first and
            last those without the number; equals, and ``device``, the newest first.

    Raises:
        FieldError: When there is no such state, or no workload could be called so.
    """
    if workload is not None:
        workload = BY_NAME["workload"].check(workload)
    if state is not None and state not in STATES:
        also = "; --alarm lists the runs that diverged" if state == "diverged" else ""
        raise FieldError("state", f"{state!r} is none", ", ".join(STATES) + also)
    store = _store(runs_dir)
    kept = _summaries(store.all())
    found = [
        run
        for run in kept
        if workload in (None, run.workload, short_name(run.workload))
        and (state is None or state in (run.state, None if run.state in OVER else "running"))
        and (run.alarm or not alarm)
        and (device or "").lower() in f"{run.device}\n{run.device_name}".lower()
    ]
    if sort != "started":
        found.sort(key=lambda run: _key(run, sort))
    if json:
        _say(as_json({"runs": found}))
    elif found:
        _say(runs_table(found))
    elif kept:
        _say(f"none of the {len(kept)} runs in {store.root} is so")
    else:
        _say(f"no runs in {store.root}; `mpstui train` starts one")
    return 0


def show_run(text: str, json: bool, runs_dir: Path | None) -> int:
    """Print one run: its settings, its numbers, its note, and how it ended."""
    run = _store(runs_dir).find(text)
    view = RunView(run)
    view.catch_up()
    summary, note = view.summary(), read_note(run)
    if json:
        _say(as_json({**msgspec.structs.asdict(summary), "note": note}))
        return 0
    _say(
        f"{run.id}\n{run.path}\nstarted {date(summary.started_at)}, "
        f"{summary.state} after {summary.steps:,} steps"
        + (f"\nalarm: {summary.alarm}" if summary.alarm else "")
        + f"\n\n{config_toml(view.config).decode()}\n{comparison_table([summary], 'table')}"
        + (f"\n\n{note.rstrip()}" if note else "")
    )
    return 0


def compare_runs(
    texts: Sequence[str], baseline: str | None, format: str, runs_dir: Path | None
) -> int:
    """Print the results of some runs side by side, whenever and wherever they ran.

    Args:
        texts: Runs or comparisons, as :meth:`RunStore.select` takes them.
        baseline: The run that speed-ups are against, moved or added to the top; else the first.
        format: One of ``mpstui.domain.tables.FORMATS``.
        runs_dir: Where runs are kept; None for the usual place.

    Raises:
        RunNotFound: When one of them is none.
        UsageError: When they are fewer than two.
    """
    store = _store(runs_dir)
    first = [] if baseline is None else [store.find(baseline).id]
    chosen = store.select([*first, *texts])
    if len(chosen) < 2:
        named = ", ".join(run.id for run in chosen)
        raise UsageError(f"runs compare: {named} is one run; allowed: two or more")
    runs = [_summary(run) for run in chosen]
    told = describe_mismatches(runs)
    # Two runs on one device can only be told apart by their ids, which the table has no room for.
    told += [f"row {place}: {run.run_id}" for place, run in enumerate(runs, 1)]
    if format == "json":
        _say(_document(runs, told))
    elif format == "csv":
        _say(_csv(runs))
        sys.stderr.writelines(f"{note}\n" for note in describe_mismatches(runs))
    else:
        mark = "- " if format == "markdown" else ""
        _say("\n".join([comparison_table(runs, format), *(f"{mark}{note}" for note in told)]))
    return 0


def export_runs(
    texts: Sequence[str], format: str, out: Path | None, force: bool, runs_dir: Path | None
) -> int:
    """Write runs as files and print the files' paths; see :func:`mpstui.runs.export.export`.

    Args:
        texts: Runs or comparisons, as :meth:`RunStore.select` takes them.
        format: One of ``mpstui.runs.export.FORMATS``.
        out: The file or folder; None prints a format that is one text to stdout.
        force: Replace files that are there.
        runs_dir: Where runs are kept; None for the usual place.

    Raises:
        FieldError: When a format of several files has no folder to go to.
        UsageError: When a file cannot be written.
    """
    views = [RunView(run) for run in _store(runs_dir).select(texts)]
    if out is None:
        if format not in TEXTS:
            raise FieldError("out", f"{format} needs a folder", "--out DIR")
        sys.stdout.write(export_text(views, format))
        return 0
    for path in export(views, format, out, force):
        _say(str(path))
    return 0


def note_run(text: str, note: str | None, runs_dir: Path | None) -> int:
    """Print a run's note or, given one, write it; an empty one is removed."""
    run = _store(runs_dir).find(text)
    if note is not None:
        write_note(run, note)
    elif held := read_note(run):
        _say(held.rstrip("\n"))
    else:
        sys.stderr.write(f"{run.id} has no note; `mpstui runs note {run.id} TEXT` writes one\n")
    return 0


def delete_runs(texts: Sequence[str], runs_dir: Path | None) -> int:
    """Move runs to the trash, and say how to undo it."""
    store = _store(runs_dir)
    moved = trash.delete(store, [run.id for run in store.select(texts)])
    where = "" if runs_dir is None else f" --runs-dir {local_shell().quote(str(runs_dir))}"
    for id in moved:
        _say(f"deleted {id}")
    _say(f"to undo: mpstui runs restore{where} {' '.join(moved)}")
    return 0


def restore_runs(texts: Sequence[str], runs_dir: Path | None) -> int:
    """Move runs back from the trash; without any named, list what it holds."""
    store = _store(runs_dir)
    held = RunStore(store.root / TRASH)
    if not texts:
        for run in held.all():
            _say(run.id)
        return 0
    for id in trash.restore(store, [run.id for run in held.select(texts)]):
        _say(f"restored {id}")
    return 0


def _store(runs_dir: Path | None) -> RunStore:
    return RunStore(runs_dir or default_runs_dir())


def _say(text: str) -> None:
    sys.stdout.write(f"{text}\n")


def _summary(run: RunDir) -> RunSummary:
    view = RunView(run)
    if run.summary() is None:
        view.catch_up()
    return view.summary()


def _summaries(runs: Sequence[RunDir]) -> list[RunSummary]:
    found = []
    for run in runs:
        try:
            found.append(_summary(run))
        except LogError as error:  # one broken folder must not hide the others
            sys.stderr.write(f"mpstui: {error.title}: {error}\n")
    return found


def _key(run: RunSummary, sort: str) -> tuple[bool, float, str]:
    if sort == "device":
        return False, 0.0, run.device
    value = {
        "epoch": run.epoch_seconds and run.epoch_seconds.median,
        "loss": run.test_loss,
        "accuracy": None if run.accuracy is None else -run.accuracy,
    }[sort]
    return value is None, value or 0.0, ""


def _document(runs: Sequence[RunSummary], told: Sequence[str]) -> str:
    return as_json(
        {
            "baseline": runs[0].run_id,
            "runs": runs,
            "speed_up": {run.run_id: speed_up(run, runs[0]) for run in runs},
            "article": [row._asdict() for row in article_rows()] if _mnist(runs) else [],
            "notes": [*told, *notes(runs)],
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

"""Runs as files: Markdown, CSV, JSON, a web page, TensorBoard's event files.

What is exported is read from the logs, so that every step's loss is in it, not the bounded series
that charts are drawn from.
"""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import msgspec
import numpy as np

from mpstui.domain.errors import FieldError, UsageError
from mpstui.domain.events import AnyEvent, EvaluationCompleted, StepsCompleted
from mpstui.domain.summary import RunSummary
from mpstui.domain.tables import as_json, comparison_table
from mpstui.domain.units import DASH, number

from . import tensorboard
from .files import replace
from .notes import read_note
from .rundir import config_toml
from .view import RunView

FORMATS = ("markdown", "csv", "json", "html", "tensorboard")

COLUMNS = (
    "run_id",
    "device",
    "step",
    "epoch",
    "loss",
    "samples_per_second",
    "lr",
    "test_loss",
    "accuracy",
)


class ExportedRun(NamedTuple):
    """A run and its whole log."""

    view: RunView
    events: list[AnyEvent]


def export(views: Sequence[RunView], format: str, out: Path, force: bool = False) -> list[Path]:
    """Write some runs, as far as their logs go by now.

    Args:
        views: The runs; the first is the one that speed-ups are against. How far they have read
            does not matter, and they do not read on.
        format: One of ``FORMATS``.
        out: The file; in an existing folder, one named after the runs is made. For TensorBoard
            the folder, in which each run has one of its own.
        force: Replace files that are there.

    Returns:
        The files written.

    Raises:
        UsageError: When a file is there already, cannot be written, or the ``tensorboard`` package
            is missing; nothing was written in the first and the last case.
        LogError: When a run's files cannot be read.
    """
    if format not in FORMATS:
        raise FieldError("format", f"{format!r} is none", ", ".join(FORMATS))
    if not views:
        raise UsageError("export: no run is named; allowed: one or more")
    ids = [view.run.id for view in views]
    if format == "tensorboard":
        tensorboard.require()
    records = [_read(view) for view in views]
    try:
        if format == "tensorboard":
            starts = [record.events[0].at if record.events else 0.0 for record in records]
            paths = [tensorboard.path(out, id, at) for id, at in zip(ids, starts, strict=True)]
            _refuse(paths, force)
            for path, record in zip(paths, records, strict=True):
                tensorboard.write(path, record.events)
            return paths
        suffix, write = TEXTS[format]
        path = out / f"{_name(records)}{suffix}" if out.is_dir() else out
        _refuse([path], force)
        replace(path, write(records).encode())
        return [path]
    except OSError as error:
        why = error.strerror or error
        raise UsageError(
            f"{out}: cannot be written: {why}; allowed: a place that can be"
        ) from error


def export_text(views: Sequence[RunView], format: str) -> str:
    """Some runs as one text, as :func:`export` writes it into a file.

    Raises:
        FieldError: When the format is not one of ``TEXTS``: it is several files, or none.
        LogError: When a run's files cannot be read.
    """
    if format not in TEXTS:
        raise FieldError("format", f"{format!r} is no single text", ", ".join(TEXTS))
    _, write = TEXTS[format]
    return write([_read(view) for view in views])


def unlike(runs: Sequence[RunSummary]) -> list[str]:
    """Notes on what keeps runs from being compared like for like; none when nothing does.

    Args:
        runs: Any number. One that never got to know its data differs in none.
    """
    found = []
    for name, value in (
        ("workload", lambda run: run.workload),
        ("batch size", lambda run: str(run.batch_size)),
        ("dataset", lambda run: run.dataset),
    ):
        values = dict.fromkeys(filter(None, map(value, runs)))
        if len(values) > 1:
            found.append(f"not like for like: {name} {' / '.join(values)}")
    return found


def _read(view: RunView) -> ExportedRun:
    fresh = RunView(view.run)  # the view that was given may have read half of the log
    return ExportedRun(fresh, fresh.catch_up())


def _refuse(paths: Sequence[Path], force: bool) -> None:
    for path in paths:
        if path.exists() and not force:
            raise UsageError(f"{path}: there already; allowed: another --out, or --force")


def _name(records: Sequence[ExportedRun]) -> str:
    first = records[0].view
    if len(records) == 1:
        return first.run.id
    groups = {record.view.config.comparison for record in records}
    common = groups.pop() if len(groups) == 1 else ""
    return common or f"{first.run.id}-and-{len(records) - 1}-more"


def _markdown(records: Sequence[ExportedRun]) -> str:
    runs = [record.view.summary() for record in records]
    parts = [comparison_table(runs, "markdown")]
    parts += [f"- {note}" for note in unlike(runs)]
    for view, _ in records:
        parts += ["", f"## {view.run.id}", ""]
        if note := read_note(view.run).strip():  # quoted, so that its headings stay its own
            parts += [*(f"> {line}".rstrip() for line in note.splitlines()), ""]
        if view.unreadable:
            parts += [f"{view.unreadable:,} lines of the log could not be read.", ""]
        parts += ["```toml", config_toml(view.config).decode().rstrip(), "```"]
        if view.history.evaluations:
            parts += ["", "| epoch | step | test loss | accuracy |", "| --- | --- | --- | --- |"]
            parts += [_evaluation(event) for event in view.history.evaluations]
    return "\n".join(parts) + "\n"


def _evaluation(event: EvaluationCompleted) -> str:
    right = DASH if event.correct is None else f"{event.correct / event.samples:.2%}"
    loss = "not finite" if event.loss is None else number(event.loss)
    return f"| {event.epoch} | {event.step:,} | {loss} | {right} |"


def _csv(records: Sequence[ExportedRun]) -> str:
    out = io.StringIO()
    table = csv.writer(out, lineterminator="\n")
    table.writerow(COLUMNS)
    for view, events in records:
        head = [view.run.id, view.config.device]
        table.writerows(head + row for event in events for row in _rows(event))
    return out.getvalue()


def _rows(event: AnyEvent) -> Iterator[list[object]]:
    """CSV rows: one a step, one an evaluation.

    A window's throughput stands with its last step, so that each value is there once; that of a
    window outside the clock is left empty. A test loss that the log calls not finite is ``nan``.
    """
    if isinstance(event, StepsCompleted):
        losses = _losses(event)
        rate = event.samples / event.seconds if event.timed and event.seconds > 0 else ""
        for step, loss in enumerate(losses, event.first_step):
            last = step == event.first_step + len(losses) - 1
            yield [step, event.epoch, loss, rate if last else "", event.lr, "", ""]
    elif isinstance(event, EvaluationCompleted):
        test_loss = "nan" if event.loss is None else event.loss
        right = "" if event.correct is None else event.correct / event.samples
        yield [event.step, event.epoch, "", "", "", test_loss, right]


def _losses(event: StepsCompleted) -> list[str]:
    """Each the shortest number that is the same float32, or ``nan``, ``inf``, ``-inf``."""
    return [str(loss) for loss in np.frombuffer(event.losses, "<f4")]


def _json(records: Sequence[ExportedRun]) -> str:
    return as_json({"runs": [_document(record) for record in records]}) + "\n"


def _document(record: ExportedRun) -> dict[str, object]:
    view, events = record
    steps = [event for event in events if isinstance(event, StepsCompleted)]
    losses = [loss for event in steps for loss in _losses(event)]
    return {
        "run_id": view.run.id,
        "config": msgspec.structs.asdict(view.config),
        "machine": view.machine,
        "note": read_note(view.run),
        "summary": view.summary(),
        "unreadable_lines": view.unreadable,
        "epochs": view.history.epochs,
        "evaluations": view.history.evaluations,
        "losses": {
            "step": [
                step
                for event in steps
                for step in range(event.first_step, event.first_step + len(event.losses) // 4)
            ],
            # JSON has no NaN: what is not finite is a string.
            "loss": [loss if not math.isfinite(float(loss)) else float(loss) for loss in losses],
        },
    }


def _html(records: Sequence[ExportedRun]) -> str:
    from .page import as_html

    views = [record.view for record in records]
    return as_html(views, unlike([view.summary() for view in views]))


TEXTS: dict[str, tuple[str, Callable[[Sequence[ExportedRun]], str]]] = {
    "markdown": (".md", _markdown),
    "csv": (".csv", _csv),
    "json": (".json", _json),
    "html": (".html", _html),
}
"""File name's ending and writer of each format that is one text."""

"""Exports runs as Markdown, CSV, JSON, a web page or TensorBoard event files.

Exports read the logs, so they contain every step's loss, not the bounded series of the charts.
"""

from __future__ import annotations

import csv
import io
import math
import os
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple, cast

import msgspec
import numpy as np

from mpstui.domain.errors import FieldError, UsageError
from mpstui.domain.events import AnyEvent, EvaluationCompleted, SeriesRecorded, StepsCompleted
from mpstui.domain.metrics import EVENT_METRICS, LOSS, METRICS
from mpstui.domain.summary import RunSummary
from mpstui.domain.tables import as_json, comparison_table
from mpstui.domain.units import DASH, number

from . import tensorboard
from .files import replace
from .notes import read_note
from .settings import settings_text
from .view import RunView

EXPORT_FORMATS = ("markdown", "csv", "json", "html", "tensorboard")

CSV_METRICS = sorted(
    (metric for metric in METRICS if metric.column),
    key=lambda metric: metric.event is EvaluationCompleted,
)
"""The metrics of a CSV row: those of training steps, then those of evaluations."""

EVALUATED = [metric.column for metric in CSV_METRICS if metric.event is EvaluationCompleted]
CSV_COLUMNS = ("run_id", "device", "step", "epoch", *(metric.column for metric in CSV_METRICS))


class ExportedRun(NamedTuple):
    """A run and its complete log."""

    view: RunView
    events: list[AnyEvent]


def export(views: Sequence[RunView], format: str, out: Path, force: bool = False) -> list[Path]:
    """Export runs with their logs so far.

    Args:
        views: The runs; the first is the baseline for speed-ups. The logs are read afresh; the
            views' own reading position does not change.
        format: One of ``EXPORT_FORMATS``.
        out: The file, or an existing folder for a file named after the runs. For TensorBoard
            the folder, in which each run gets a folder.
        force: Whether to replace existing files.

    Returns:
        The files written.

    Raises:
        UsageError: If a file already exists or cannot be written, or the ``tensorboard`` package
            is missing; in the first and the last case nothing is written.
        LogError: If a run's files cannot be read.
    """
    if format not in EXPORT_FORMATS:
        raise FieldError("format", f"{format!r} is not a format", ", ".join(EXPORT_FORMATS))
    if not views:
        raise UsageError("export: no run given; allowed: one or more")
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
        path = out / f"{_name(records)}{suffix}" if os.path.isdir(out) else out
        _refuse([path], force)
        replace(path, write(records).encode(), parents=True)
        return [path]
    except (OSError, ValueError) as error:  # ValueError: a null character in the path
        reason = getattr(error, "strerror", None) or error
        raise UsageError(
            f"{out}: cannot be written: {reason}; allowed: a writable location"
        ) from error


def export_text(views: Sequence[RunView], format: str) -> str:
    """Return the text that :func:`export` writes to a file.

    Raises:
        FieldError: If the format is not one of ``TEXTS``, the single-file formats.
        LogError: If a run's files cannot be read.
    """
    if format not in TEXTS:
        raise FieldError("format", f"{format!r} is not a single text", ", ".join(TEXTS))
    _, write = TEXTS[format]
    return write([_read(view) for view in views])


def describe_mismatches(runs: Sequence[RunSummary]) -> list[str]:
    """Return notes on settings in which runs differ, which makes a comparison unfair.

    Args:
        runs: Any number. An empty dataset, of a run that ended early, does not count.
    """
    differences = []
    for name, value in (
        ("workload", lambda run: run.workload),
        (
            "batch size",
            lambda run: "" if "batch_size" in run.settings else str(run.batch_size or ""),
        ),
        ("dataset", lambda run: run.dataset),
    ):
        values = dict.fromkeys(filter(None, map(value, runs)))
        if len(values) > 1:
            differences.append(f"not like for like: {name} {' / '.join(values)}")
    return differences


def _read(view: RunView) -> ExportedRun:
    fresh = RunView(view.run)  # the caller's view may have read part of the log
    return ExportedRun(fresh, fresh.catch_up())


def _refuse(paths: Sequence[Path], force: bool) -> None:
    for path in paths:
        if os.path.exists(path) and not force:
            raise UsageError(f"{path}: already exists; allowed: another --out, or --force")


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
    parts += [f"- {note}" for note in describe_mismatches(runs)]
    for view, _ in records:
        parts += ["", f"## {view.run.id}", ""]
        # Quoted, so that its headings don't mix with the report's.
        if note := read_note(view.run).strip():
            parts += [*(f"> {line}".rstrip() for line in note.splitlines()), ""]
        if view.unreadable:
            parts += [f"{view.unreadable:,} lines of the log could not be read.", ""]
        language = "" if view.config.info.is_recorded else "toml"
        parts += [f"```{language}", settings_text(view), "```"]
        if view.history.evaluations:
            parts += ["", "| epoch | step | test loss | accuracy |", "| --- | --- | --- | --- |"]
            parts += [_evaluation(event) for event in view.history.evaluations]
    return "\n".join(parts) + "\n"


def _evaluation(event: EvaluationCompleted) -> str:
    accuracy = DASH if event.accuracy is None else f"{event.accuracy:.2%}"
    loss = "not finite" if event.loss is None else number(event.loss)
    return f"| {event.epoch} | {event.step:,} | {loss} | {accuracy} |"


def _csv(records: Sequence[ExportedRun]) -> str:
    names = list(dict.fromkeys(name for record in records for name in _series_names(record)))
    columns = [*CSV_COLUMNS, *(name for name in names if name not in CSV_COLUMNS)]
    if all(record.view.config.info.is_recorded for record in records):
        # A script has no evaluations in the log; a series of the user's may have their names.
        columns = [name for name in columns if name in names or name not in EVALUATED]
    buffer = io.StringIO()
    table = csv.DictWriter(buffer, columns, restval="", extrasaction="ignore", lineterminator="\n")
    table.writeheader()
    for record in records:
        run = {"run_id": record.view.run.id, "device": record.view.config.label}
        table.writerows(run | row for row in _rows(record))
    return buffer.getvalue()


def _series_names(record: ExportedRun) -> list[str]:
    """Return the names of a recorded script's series, with each optimizer's loss if several."""
    names = [event.name for event in record.events if isinstance(event, SeriesRecorded)]
    return list(dict.fromkeys((*_first_loss_name(record, names), *names)))


def _first_loss_name(record: ExportedRun, names: Sequence[str]) -> tuple[str, ...]:
    """Return the name of the first optimizer's loss, if others have theirs; else nothing."""
    started = record.view.history.started
    if started is None or not started.optimizers:
        return ()
    first, *others = started.optimizers
    has_others = any(name.startswith("loss_") for name in names) and others
    return (f"loss_{first}",) if has_others else ()


def _rows(record: ExportedRun) -> Iterator[dict[str, object]]:
    """Yield CSV rows: one per step, with a script's series, and one per evaluation.

    A window's throughput is in the row of its last step only, so that each value appears once; for
    windows that are not timed it is empty. A test loss that is not finite is ``nan``.
    """
    series = _values_by_step(record.events)
    first_loss = _first_loss_name(record, [name for row in series.values() for name in row])
    is_recorded = record.view.config.info.is_recorded
    if 0 in series:  # logged before the first step
        yield {"step": 0, **series[0]}
    for event in record.events:
        if isinstance(event, StepsCompleted):
            for row in _step_rows(event):
                if is_recorded and event.has_loss:  # as the script itself prints loss.item()
                    loss = event.values()[cast("int", row["step"]) - event.first_step]
                    row["loss"] = repr(loss)
                row |= dict.fromkeys(first_loss, row["loss"])
                yield row | series.get(cast("int", row["step"]), {})
        elif isinstance(event, EvaluationCompleted):
            cells = {m.column: _cell(m.exported(event)) for m in CSV_METRICS}
            yield {"step": event.step, "epoch": event.epoch, **cells}


def _step_rows(event: StepsCompleted) -> Iterator[dict[str, object]]:
    last = event.first_step + event.count - 1
    values = {metric.name: metric.exported(event) for metric in EVENT_METRICS}
    for step, loss in enumerate(_losses(event), event.first_step):
        row: dict[str, object] = {"step": step, "epoch": event.epoch}
        for metric in CSV_METRICS:
            holds = step == last or metric.every_step
            row[metric.column] = _cell(values.get(metric.name) if holds else None)
        row[LOSS.column] = loss if event.has_loss else ""
        yield row


def _values_by_step(events: Sequence[AnyEvent]) -> dict[int, dict[str, object]]:
    """Return a script's series by step; of several values at one step, the last."""
    values: dict[int, dict[str, object]] = defaultdict(dict)
    for event in events:
        if isinstance(event, SeriesRecorded):
            for step, value in zip(event.steps, event.numbers(), strict=True):
                values[step][event.name] = value
    return values


def _cell(value: float | None) -> object:
    return "" if value is None else value


def _losses(event: StepsCompleted) -> list[str]:
    """Format losses as the shortest text that gives the same float32; or ``nan``, ``±inf``."""
    return [str(loss) for loss in np.asarray(event.values())]


def _json(records: Sequence[ExportedRun]) -> str:
    return as_json({"runs": [_document(record) for record in records]}) + "\n"


def _document(record: ExportedRun) -> dict[str, object]:
    view, events = record
    steps = [event for event in events if isinstance(event, StepsCompleted)]
    losses = [loss for event in steps for loss in _losses(event)]
    return {
        "run_id": view.run.id,
        "config": _config(view),
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
                for step in range(event.first_step, event.first_step + event.count)
            ],
            # JSON has no NaN: a loss that is not finite becomes a string.
            "loss": [loss if not math.isfinite(float(loss)) else float(loss) for loss in losses],
        },
        "series": _series(events),
    }


def _config(view: RunView) -> dict[str, object]:
    """Return the config; of a recorded script only what is not its own, and its command."""
    config = msgspec.structs.asdict(view.config)
    if not view.config.info.is_recorded:
        return config
    own = ("workload", "device", "mode", "on_alarm", "comparison", "rank", "ranks")
    return {**{name: config[name] for name in own}, "script": view.run.script()}


def _series(events: Sequence[AnyEvent]) -> dict[str, dict[str, list[object]]]:
    """Return a recorded script's series by name, every value of each."""
    series: dict[str, dict[str, list[object]]] = {}
    for event in events:
        if isinstance(event, SeriesRecorded):
            points = series.setdefault(event.name, {"step": [], "value": []})
            points["step"] += event.steps
            points["value"] += [
                value if math.isfinite(value) else str(value) for value in event.numbers()
            ]
    return series


def _html(records: Sequence[ExportedRun]) -> str:
    from .page import as_html

    views = [record.view for record in records]
    return as_html(views, describe_mismatches([view.summary() for view in views]))


TEXTS: dict[str, tuple[str, Callable[[Sequence[ExportedRun]], str]]] = {
    "markdown": (".md", _markdown),
    "csv": (".csv", _csv),
    "json": (".json", _json),
    "html": (".html", _html),
}
"""File name suffix and writer of each single-file format."""

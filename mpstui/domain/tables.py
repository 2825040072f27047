"""Formats results as an aligned table, Markdown, CSV or one JSON document."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from typing import NamedTuple

import msgspec

from .comparison import HEADINGS, article_rows, baselines, notes, rows
from .summary import RunSummary, speed_up
from .units import DASH, date, number
from .workloads import short_name

TABLE_FORMATS = ("table", "markdown", "csv", "json")


def comparison_table(runs: Sequence[RunSummary], format: str) -> str:
    """Format the results of runs; the first is the baseline.

    Args:
        runs: One or more.
        format: One of ``TABLE_FORMATS``.
    """
    measured_rows = [list(row) for row in rows(runs)]
    article_table = [list(row) for row in article_rows()] if runs[0].workload == "mnist" else []
    if format == "json":
        return as_json(
            {
                "runs": runs,
                "speed_up": {
                    run.device: None if base is None else speed_up(run, base)
                    for run, base in zip(runs, baselines(runs), strict=True)
                },
                "article": [row._asdict() for row in article_rows()] if article_table else [],
                "notes": notes(runs),
            }
        )
    table = [list(HEADINGS), *measured_rows, *article_table]
    if format == "csv":
        buffer = io.StringIO()
        csv.writer(buffer, lineterminator="\n").writerows(table)
        return buffer.getvalue().rstrip()
    if format == "markdown":
        lines = [_bar(table[0]), _bar(["---"] * len(HEADINGS)), *(_bar(row) for row in table[1:])]
        return "\n".join([*lines, "", *(f"- {note}" for note in notes(runs))]).rstrip()
    return "\n".join([aligned(table, right=(3, 4, 5, 6, 7)), *notes(runs)])


class UnreadableRun(NamedTuple):
    """A run whose files are damaged."""

    run_id: str
    reason: str
    """The file, and what is wrong with it."""


def runs_table(runs: Sequence[RunSummary], unreadable: Sequence[UnreadableRun] = ()) -> str:
    """Format runs, one per line, and then those that cannot be read, with the reason."""
    table = [
        ["id", "started", "workload", "device", "state", "steps", "test loss", "accuracy", "alarm"]
    ]
    table += [
        [
            run.run_id,
            date(run.started_at)[:16],
            short_name(run.workload),
            run.label,
            run.state,
            f"{run.steps:,}",
            number(run.test_loss),
            DASH if run.accuracy is None else f"{run.accuracy:.2%}",
            run.alarm or DASH,
        ]
        for run in runs
    ]
    table += [
        [id, DASH, DASH, DASH, "unreadable", DASH, DASH, DASH, reason] for id, reason in unreadable
    ]
    return aligned(table, right=(5, 6, 7))


def aligned(table: Sequence[Sequence[str]], right: Sequence[int]) -> str:
    """Format a table with columns two spaces apart.

    Args:
        table: Rows of cells.
        right: Indices of the right-aligned columns.
    """
    widths = [max(len(row[column]) for row in table) for column in range(len(table[0]))]
    return "\n".join(
        "  ".join(
            text.rjust(width) if column in right else text.ljust(width)
            for column, (text, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in table
    )


def as_json(value: object) -> str:
    """Encode a value as an indented JSON document."""
    return msgspec.json.format(msgspec.json.encode(value), indent=2).decode()


def _bar(row: Sequence[str]) -> str:
    return "| " + " | ".join(text.replace("|", "\\|") for text in row) + " |"

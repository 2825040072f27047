"""The comparison: the article's table for some runs, with notes below it."""

from __future__ import annotations

from collections.abc import Sequence

from textual.app import ComposeResult
from textual.containers import ScrollableContainer
from textual.content import Content
from textual.widgets import DataTable

from mpstui.domain.comparison import HEADINGS, article_rows, notes, rows
from mpstui.domain.summary import RunSummary, references_of
from mpstui.domain.units import DASH
from mpstui.domain.workloads import short_name
from mpstui.ui.model.history import moment
from mpstui.ui.plain import Static

RIGHT_ALIGNED = frozenset({"epoch", "samples/s", "speed-up", "test loss", "accuracy"})
"""Columns of numbers, which are right-aligned."""

NARROW = 100
FIRST_WHEN_NARROW = (2, 3, 5, 7, 6, 8, 9, 0, 4, 1)
"""The column order on narrow screens, where the last columns need scrolling."""


class ComparisonPane(ScrollableContainer):
    """Table and notes, which scroll together: with little space the notes are below the edge."""

    DEFAULT_CSS = """
    ComparisonPane {
        height: auto;
        max-height: 45%;
        scrollbar-size: 1 1;
        /* The table is as large as its rows: the pane scrolls it, in both directions. */
        DataTable { overflow: hidden; background: $background; }
        #notes { height: auto; color: $foreground-muted; }
        &.-filled #notes { margin-top: 1; }
        &.-empty DataTable { display: none; }
    }
    """

    def __init__(self) -> None:
        super().__init__(id="results", classes="pane -empty")
        self._content_key: tuple[object, ...] = ()

    def compose(self) -> ComposeResult:
        """Yield the table, which takes no keys, and the notes."""
        table: DataTable[Content] = DataTable(show_cursor=False, cell_padding=1)
        table.can_focus = False
        yield table
        yield Static(id="notes")

    def on_mount(self) -> None:
        """Name the pane."""
        self.border_title = "Comparison"

    def show_text(self, text: str) -> None:
        """Show a text instead of the table."""
        self._content_key = ()
        self._fill(False)
        self.border_title, self.border_subtitle = "Comparison", ""
        self.query_one("#notes", Static).update(Content(text))

    def show(self, runs: Sequence[RunSummary], baseline: str | None) -> None:
        """Show some runs.

        Args:
            runs: One or more; speed-up is against the first.
            baseline: The id of the run that the user pinned, if any.
        """
        from mpstui.runs.export import describe_mismatches

        narrow = self.screen.size.width < NARROW
        content_key = (tuple(runs), baseline, narrow)
        if content_key == self._content_key:
            return
        self._content_key = content_key
        self._fill(True)
        table = self.query_one(DataTable)
        table.clear(columns=True)
        published = _published(runs)
        table_rows = [HEADINGS, *rows(runs), *published]
        columns = [[row[place] for row in table_rows] for place in range(len(HEADINGS))]
        if baseline == runs[0].run_id:
            marks = ["", "⚑ "] + [""] * (len(table_rows) - 2)
            columns[2] = [mark + text for mark, text in zip(marks, columns[2], strict=True)]
        order = FIRST_WHEN_NARROW if narrow else tuple(range(len(HEADINGS)))
        ordered_columns = [columns[place] for place in order]
        if len({run.comparison or run.run_id for run in runs}) > 1:
            # Without the start time, two comparisons' runs on one device look the same.
            times = [moment(run.run_id, run.started_at) for run in runs]
            start_times = [f"{time:%m-%d %H:%M}" if time else DASH for time in times]
            ordered_columns.insert(0, ["started", *start_times, *([""] * len(published))])
        aligned = [_align(column) for column in ordered_columns]
        for column in aligned:
            table.add_column(column[0], width=len(column[0]))
        for place in range(1, len(table_rows)):
            style = "" if place <= len(runs) else "dim"
            table.add_row(*(Content.styled(column[place], style) for column in aligned))
        # The table updates its own size only when it is next drawn, which is too late for the pane.
        table.styles.height = len(table_rows)
        table.styles.width = sum(len(column[0]) + 2 for column in aligned)
        self.border_subtitle = Content(_about(runs))
        doubts = describe_mismatches(runs)
        # With little space the notes are below the edge: this one must be visible.
        doubtful = Content.styled("  not like for like", "$text-warning")
        self.border_title = Content("Comparison") + (doubtful if doubts else "")
        note_lines = [Content.styled(f"· {doubt}", "$text-warning") for doubt in doubts]
        note_lines += [Content(f"· {note}") for note in _notes(runs, baseline)]
        self.query_one("#notes", Static).update(Content("\n").join(note_lines))

    def _fill(self, filled: bool) -> None:
        self.set_class(filled, "-filled")
        self.set_class(not filled, "-empty")


def _published(runs: Sequence[RunSummary]) -> list[tuple[str, ...]]:
    return [tuple(row) for row in article_rows()] if runs[0].workload == "mnist" else []


def _align(column: Sequence[str]) -> list[str]:
    width = max(map(len, column))
    right = column[0] in RIGHT_ALIGNED
    return [text.rjust(width) if right else text.ljust(width) for text in column]


def _about(runs: Sequence[RunSummary]) -> str:
    """Return what the runs have in common."""
    parts = (
        [short_name(run.workload) for run in runs],
        [f"batch {run.batch_size}" if run.batch_size else "" for run in runs],
        [run.mode for run in runs],
    )
    return " · ".join(values[0] for values in parts if len(set(values)) == 1 and values[0])


def _notes(runs: Sequence[RunSummary], baseline: str | None) -> list[str]:
    against = f"{runs[0].label} ⚑" if baseline == runs[0].run_id else "the first device"
    if references_of(runs).count(None) > 1:
        against = "the first run with the same settings"
    lines = [*notes(runs), f"speed-up is against {against}"]
    if runs[0].workload == "mnist":
        lines.append("the article's rows: MNIST at batch 64, 2022, as published, not run here")
    return lines

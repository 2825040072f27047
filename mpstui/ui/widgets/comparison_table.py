"""The comparison: the article's table for some runs, and under it what a reader has to know."""

from __future__ import annotations

from collections.abc import Sequence

from textual.app import ComposeResult
from textual.containers import ScrollableContainer
from textual.content import Content
from textual.widgets import DataTable, Static

from mpstui.domain.comparison import HEADINGS, article_rows, notes, rows
from mpstui.domain.summary import RunSummary
from mpstui.domain.units import DASH
from mpstui.domain.workloads import short_name
from mpstui.ui.model.history import moment

RIGHT = frozenset({"epoch", "samples/s", "speed-up", "test loss", "accuracy"})
"""Columns of numbers: flush right."""

NARROW = 100
FIRST_WHEN_NARROW = (2, 3, 5, 7, 6, 8, 9, 0, 4, 1)
"""The order of columns where the last ones have to be scrolled to."""


class ComparisonPane(ScrollableContainer):
    """Table and notes, scrolled as one: with little room the notes are under the edge."""

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
        self._shown: tuple[object, ...] = ()

    def compose(self) -> ComposeResult:
        """The table, which leaves keys to the list below, and the notes."""
        table: DataTable[Content] = DataTable(show_cursor=False, cell_padding=1)
        table.can_focus = False
        yield table
        yield Static(id="notes")

    def on_mount(self) -> None:
        """Name the pane."""
        self.border_title = "Comparison"

    def say(self, text: str) -> None:
        """Show words in place of a table."""
        self._shown = ()
        self._fill(False)
        self.border_title, self.border_subtitle = "Comparison", ""
        self.query_one("#notes", Static).update(Content(text))

    def show(self, runs: Sequence[RunSummary], baseline: str | None) -> None:
        """Show some runs.

        Args:
            runs: One or more; speed-up is against the first.
            baseline: The id of the run that a person pinned, if any.
        """
        from mpstui.runs.export import describe_mismatches

        narrow = self.screen.size.width < NARROW
        shown = (tuple(runs), baseline, narrow)
        if shown == self._shown:
            return
        self._shown = shown
        self._fill(True)
        table = self.query_one(DataTable)
        table.clear(columns=True)
        published = _published(runs)
        every = [HEADINGS, *rows(runs), *published]
        columns = [[row[place] for row in every] for place in range(len(HEADINGS))]
        if baseline == runs[0].run_id:
            marks = ["", "⚑ "] + [""] * (len(every) - 2)
            columns[2] = [mark + text for mark, text in zip(marks, columns[2], strict=True)]
        order = FIRST_WHEN_NARROW if narrow else tuple(range(len(HEADINGS)))
        chosen = [columns[place] for place in order]
        if len({run.comparison or run.run_id for run in runs}) > 1:
            # Runs of several days: without their time, two on one device look the same.
            times = [moment(run.run_id, run.started_at) for run in runs]
            known = [f"{time:%m-%d %H:%M}" if time else DASH for time in times]
            chosen.insert(0, ["started", *known, *([""] * len(published))])
        aligned = [_aligned(column) for column in chosen]
        for column in aligned:
            table.add_column(column[0], width=len(column[0]))
        for place in range(1, len(every)):
            style = "" if place <= len(runs) else "dim"
            table.add_row(*(Content.styled(column[place], style) for column in aligned))
        # A table takes its own measure only when it is drawn next, and the pane would not wait.
        table.styles.height = len(every)
        table.styles.width = sum(len(column[0]) + 2 for column in aligned)
        self.border_subtitle = _about(runs)
        doubts = describe_mismatches(runs)
        # With little room the notes are under the edge: this one must be seen.
        doubtful = Content.styled("  not like for like", "$text-warning")
        self.border_title = Content("Comparison") + (doubtful if doubts else "")
        told = [Content.styled(f"· {doubt}", "$text-warning") for doubt in doubts]
        told += [Content(f"· {note}") for note in _notes(runs, baseline)]
        self.query_one("#notes", Static).update(Content("\n").join(told))

    def _fill(self, filled: bool) -> None:
        self.set_class(filled, "-filled")
        self.set_class(not filled, "-empty")


def _published(runs: Sequence[RunSummary]) -> list[tuple[str, ...]]:
    return [tuple(row) for row in article_rows()] if runs[0].workload == "mnist" else []


def _aligned(column: Sequence[str]) -> list[str]:
    width = max(map(len, column))
    right = column[0] in RIGHT
    return [text.rjust(width) if right else text.ljust(width) for text in column]


def _about(runs: Sequence[RunSummary]) -> str:
    """What the runs have in common."""
    parts = (
        [short_name(run.workload) for run in runs],
        [f"batch {run.batch_size}" for run in runs],
        [run.mode for run in runs],
    )
    return " · ".join(values[0] for values in parts if len(set(values)) == 1)


def _notes(runs: Sequence[RunSummary], baseline: str | None) -> list[str]:
    against = f"{runs[0].device} ⚑" if baseline == runs[0].run_id else "the first device"
    told = [*notes(runs), f"speed-up is against {against}"]
    if runs[0].workload == "mnist":
        told.append("the article's rows: MNIST at batch 64, 2022, as published, not run here")
    return told

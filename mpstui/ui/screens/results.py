"""Results: the article's table for the runs on screen, with the article's own rows under it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import Vertical, VerticalScroll
from textual.content import Content
from textual.widgets import DataTable, Static

from mpstui.domain.comparison import HEADINGS, Row, article_rows, notes, rows
from mpstui.domain.summary import RunSummary
from mpstui.domain.tables import comparison_table
from mpstui.ui.actions import bindings

from .base import MainScreen

EMPTY = "No results yet.  Press  n  to set a run up."

RIGHT = (3, 4, 5, 6, 7)
"""Columns of numbers: flush right."""

NARROW = 100
FIRST_WHEN_NARROW = (0, 2, 3, 5, 7, 6, 4, 1, 8)
"""The order of columns where the last ones have to be scrolled to."""


class ResultsScreen(MainScreen):
    """The table, and under it what a reader has to know."""

    MODE = "results"
    BINDINGS: ClassVar[list[BindingType]] = [*bindings("results")]
    DEFAULT_CSS = """
    ResultsScreen {
        #results { height: 1fr; }
        DataTable { height: auto; max-height: 1fr; background: $background; }
        #notes { margin-top: 1; height: auto; }
    }
    """

    def __init__(self) -> None:
        super().__init__()
        self._shown: list[RunSummary] = []

    def body(self) -> ComposeResult:
        """One pane."""
        with Vertical(id="results", classes="pane") as pane:
            pane.border_title = "Results"
            yield DataTable(cursor_type="row", zebra_stripes=False)
            with VerticalScroll():
                yield Static(EMPTY, id="notes")

    def on_mount(self) -> None:
        """Follow the runs."""
        super().on_mount()
        self.state.recall()
        self.watch(self.app, "pulse", self._show)
        self.query_one(DataTable).focus()

    def on_screen_resume(self) -> None:
        """Show what happened while another screen was up."""
        self._show()

    def on_resize(self) -> None:
        """Put the columns in the order that the width asks for."""
        self._shown = []
        self._show()

    def _show(self) -> None:
        session = self.state.session
        if session is None or not self.is_active:
            return
        runs = session.summaries()
        if runs == self._shown:
            return
        self._shown = runs
        table = self.query_one(DataTable)
        table.clear(columns=True)
        published = article_rows() if runs[0].workload == "mnist" else []
        measured = rows(runs)
        every = [HEADINGS, *measured, *published]
        order = FIRST_WHEN_NARROW if self.size.width < NARROW else range(len(HEADINGS))
        widths = [max(len(row[place]) for row in every) for place in range(len(HEADINGS))]
        for place in order:
            heading, width = HEADINGS[place], widths[place]
            table.add_column(heading.rjust(width) if place in RIGHT else heading, width=width)
        for style, some in (("", measured), ("dim", published)):
            for row in some:
                cells = _cells(row, widths, style)
                table.add_row(*(cells[place] for place in order))
        pane = self.query_one("#results")
        pane.border_subtitle = f"{runs[0].workload} · batch {runs[0].batch_size} · {runs[0].mode}"
        told = [*notes(runs), "speed-up is against the first device"]
        if runs[0].workload == "mnist":
            told.append("the article's rows: MNIST at batch 64, 2022, as published, not run here")
        self.query_one("#notes", Static).update(
            Content("\n").join(Content.styled(f"· {note}", "$foreground-muted") for note in told)
        )

    def action_copy_table(self) -> None:
        """Copy the table as Markdown."""
        if not self._shown:
            self.notify("There is nothing to copy yet.", severity="warning")
            return
        self.app.copy_to_clipboard(comparison_table(self._shown, "markdown"))
        self.notify("The table, as Markdown.", title="Copied")


def _cells(row: Row, widths: Sequence[int], style: str) -> list[Content]:
    return [
        Content.styled(text.rjust(width) if place in RIGHT else text, style)
        for place, (text, width) in enumerate(zip(row, widths, strict=True))
    ]

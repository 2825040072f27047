"""Results: a comparison on top, and below it the history to select runs from."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import ClassVar

from textual import on, work
from textual.app import ComposeResult
from textual.binding import BindingType
from textual.widgets import DataTable, Input
from textual.worker import get_current_worker

from mpstui.domain.errors import MpstuiError
from mpstui.domain.summary import RunSummary
from mpstui.domain.tables import comparison_table
from mpstui.runs.files import replace
from mpstui.runs.paths import home
from mpstui.runs.rundir import RunDir
from mpstui.ui.keymap import bindings
from mpstui.ui.model.history import ORDERS, History, HistoryReader, HistoryRow, row_of
from mpstui.ui.model.session import RunSession
from mpstui.ui.widgets.comparison_table import ComparisonPane
from mpstui.ui.widgets.history_table import HistoryPane, HistoryTable

from .history_dialogs import SUFFIXES, ExportQuestion, NoteDialog, write_export
from .main_screen import MainScreen

EMPTY = "No results yet.  Press  g  for the demo, or  n  to set a run up."
NOTHING = "Nothing to compare yet.  space  selects runs below,  enter  compares them."

FIRST_ROWS = 32
"""The size of the first batch of rows to show while reading; each next one doubles."""

LOOK_SECONDS = 2.0
"""Seconds between checks for runs of other terminals."""


class ResultsScreen(MainScreen):
    """The comparison and the history."""

    MODE = "results"
    BINDINGS: ClassVar[list[BindingType]] = [*bindings("results")]

    def __init__(self) -> None:
        super().__init__()
        self.history = History()
        self._reader: HistoryReader | None = None
        self._reading = threading.Lock()
        self._loading = True
        self._session: RunSession | None = None
        self._compared_ids: list[str] = []
        """Ids of the compared runs; empty for those of the session."""
        self._deleted: list[list[str]] = []
        """The ids of each deletion, the newest last."""
        self._changed = 0
        """The modification time of the store's folder at the last reading, in ns."""

    def body(self) -> ComposeResult:
        """Yield the comparison above the history."""
        yield ComparisonPane()
        yield HistoryPane()

    def on_mount(self) -> None:
        """Follow the runs."""
        super().on_mount()
        self.state.recall()
        self.watch(self.app, "runs_revision", self._pulse, init=False)
        self.set_interval(LOOK_SECONDS, self._poll_store)
        self.query_one(HistoryTable).focus()

    def on_screen_resume(self) -> None:
        """Show what happened while another screen was active."""
        self._pulse()
        self._scan()

    def on_resize(self) -> None:
        """Reorder the columns for the new width."""
        self._show()

    # Reading

    def _pulse(self) -> None:
        if self.is_active:
            self._follow()
            self._show()

    def _poll_store(self) -> None:
        followed = {view.run.id for view in self._session.views} if self._session else set()
        is_running = any(
            not row.over and id not in followed for id, row in self.history.rows.items()
        )
        if self.is_active and (is_running or self._changed != _changed(self.state.store.root)):
            self._scan()

    def _follow(self) -> dict[str, HistoryRow]:
        """Take the rows of the session's runs, which the app already follows."""
        session = self.state.session
        if session is not self._session:
            self._session, self._compared_ids = session, []
        rows: dict[str, HistoryRow] = {}
        for view in session.views if session else ():
            row = self.history.rows.get(view.run.id)
            try:
                if view.run.path.is_dir():  # else it was deleted
                    rows[view.run.id] = row_of(view)._replace(note=row.note if row else "")
            except MpstuiError:
                continue  # the reader reports the problem
        self.history.take(rows.values())
        return rows

    def _scan(self) -> None:
        self._changed = _changed(self.state.store.root)
        self._reader = self._reader or HistoryReader(self.state.store)
        self._read_rows(self._reader, self._follow())

    @work(thread=True, exclusive=True, group="history")
    def _read_rows(self, reader: HistoryReader, followed: Mapping[str, HistoryRow]) -> None:
        worker, app = get_current_worker(), self.app
        with self._reading:
            runs = reader.runs()
            batch: list[HistoryRow] = []
            size = FIRST_ROWS
            for row in reader.read(runs, followed):
                if worker.is_cancelled or not app.is_running:
                    return
                batch.append(row)
                if len(batch) == size:
                    app.call_from_thread(self._take, batch, None)
                    batch, size = [], 2 * size
            if not worker.is_cancelled and app.is_running:
                app.call_from_thread(self._take, batch, [run.id for run in runs])

    def _take(self, rows: Sequence[HistoryRow], all_ids: Sequence[str] | None) -> None:
        """Take a batch of rows; the last one comes with the ids of all runs."""
        self.history.take(rows)
        if all_ids is not None:
            self.history.retain(all_ids)
            self._loading = False
        self._follow()  # the session's runs may have advanced in the meantime
        self._show()

    # Showing

    def _show(self) -> None:
        if not self.is_mounted:
            return
        pane, runs = self.query_one(ComparisonPane), self._compared()
        if runs:
            pane.show(runs, self.history.baseline)
        else:
            pane.show_text(NOTHING if self.history.rows else EMPTY)
        self.query_one(HistoryPane).show(self.history, self._loading)

    def _compared(self) -> list[RunSummary]:
        session = [view.run.id for view in self._session.views] if self._session else []
        return self.history.summaries_of(self._compared_ids or session)

    @property
    def _under_cursor(self) -> HistoryRow | None:
        return self.history.rows.get(self.query_one(HistoryTable).under_cursor or "")

    def _targets(self) -> list[str]:
        """Return the runs that a key acts on; notify if there are none."""
        ids = self.history.targets(self.query_one(HistoryTable).under_cursor)
        if not ids:
            self.notify("There is no run under the cursor.", severity="warning")
        return ids

    def _run(self, id: str) -> RunDir:
        return RunDir(self.state.store.root / id)

    def _refuse(self, error: MpstuiError) -> None:
        self.notify(str(error), title=error.title, severity="error", markup=False)

    # Searching

    @on(Input.Changed, "#query")
    def _query(self, event: Input.Changed) -> None:
        self.history.query = event.value
        self._to_top()

    @on(DataTable.HeaderSelected, "#history")
    def _sort(self, event: DataTable.HeaderSelected) -> None:
        if event.column_key.value in ORDERS:
            self.history.order = event.column_key.value
            self._to_top()

    def action_next_order(self) -> None:
        """Sort by the next order."""
        self.history.next_order()
        self._to_top()

    def _to_top(self) -> None:
        """Show the rows from the top, where sorting and filtering put the matches."""
        self._show()
        self.query_one(HistoryTable).move_cursor(row=0)

    def action_filter(self) -> None:
        """Open the filter."""
        self.query_one(HistoryPane).open_filter()

    def action_step_back(self) -> None:
        """Clear the filter; else the selection; else show the session's runs again."""
        pane = self.query_one(HistoryPane)
        if pane.has_class("-filtered"):
            pane.clear()
        elif self.history.selected:
            self.history.selected.clear()
        else:
            self._compared_ids = []
        self._show()

    # Selecting

    @on(HistoryTable.Toggled)
    def _toggle(self, event: HistoryTable.Toggled) -> None:
        self.history.toggle(event.id)
        self._show()

    def action_select(self) -> None:
        """Select or deselect the run under the cursor, and move to the next."""
        row = self._under_cursor
        if row is not None:
            self.history.toggle(row.id)
            self._show()
            self.query_one(HistoryTable).action_cursor_down()

    def action_compare(self) -> None:
        """Compare the selected runs."""
        ids = self._targets()
        if not ids:
            return
        readable = [id for id in ids if self.history.rows[id].summary]
        if not readable:
            self.notify("It cannot be read: nothing to compare.", severity="warning")
            return
        self._compared_ids = readable
        self._show()
        self.query_one(ComparisonPane).scroll_home(animate=False)

    def action_watch_runs(self) -> None:
        """Put the selected runs on the Live screen."""
        runs = [self._run(id) for id in self._targets()]
        try:
            for run in runs:  # raise now what following them would raise repeatedly
                run.exit()
                run.supervisor_alive()
            if runs:
                self.state_app.watch_runs(runs)
        except MpstuiError as error:
            self._refuse(error)

    def action_investigate(self) -> None:
        """Investigate the run under the cursor."""
        row = self._under_cursor
        if row is None or row.summary is None:
            self.notify("There is no run to investigate here.", severity="warning")
            return
        self.state_app.investigate(self._run(row.id))

    def action_pin(self) -> None:
        """Make the run under the cursor the baseline, or clear it."""
        row = self._under_cursor
        if row is None or row.summary is None:
            self.notify("There is no run to use as a baseline here.", severity="warning")
            return
        self.history.pin(row.id)
        self._show()

    # Notes and deletion

    def action_note(self) -> None:
        """Edit the note of the run under the cursor."""
        row = self._under_cursor
        if row is None:
            self._targets()
            return
        if row.summary is not None and row.problem:  # writing would lose the note
            self.notify(row.problem, title="Unreadable note", severity="error", markup=False)
            return
        self.app.push_screen(
            NoteDialog(row.id, row.note), lambda text: self._write_note(row.id, text)
        )

    def _write_note(self, id: str, text: str | None) -> None:
        from mpstui.runs.notes import write_note

        if text is None:
            return
        try:
            write_note(self._run(id), text)
        except MpstuiError as error:
            self._refuse(error)
            return
        if id in self.history.rows:
            self.history.take([self.history.rows[id]._replace(note=text)])
            self._show()

    def action_delete(self) -> None:
        """Move the selected runs to the trash."""
        from mpstui.runs.trash import delete

        ids = self._targets()
        if not ids:
            return
        try:
            deleted_ids = delete(self.state.store, ids)
        except MpstuiError as error:
            self._refuse(error)
            return
        self._deleted.append(deleted_ids)
        self.history.retain(id for id in list(self.history.rows) if id not in deleted_ids)
        self._show()
        self._scan()
        self.notify(f"{_count(deleted_ids)} moved to the trash.  u  undoes it.", title="Deleted")

    def action_undelete(self) -> None:
        """Move the last deleted runs back."""
        from mpstui.runs.trash import restore

        if not self._deleted:
            self.notify("Nothing was deleted since the app started.", severity="warning")
            return
        try:
            restored = restore(self.state.store, self._deleted[-1])
        except MpstuiError as error:
            self._refuse(error)
            return
        self._deleted.pop()
        self._scan()
        self.notify(f"{_count(restored)} back from the trash.", title="Restored")

    # Exporting

    def action_copy_table(self) -> None:
        """Copy the table as Markdown."""
        runs = self._compared()
        if not runs:
            self.notify("There is nothing to copy yet.", severity="warning")
            return
        self.app.copy_to_clipboard(comparison_table(runs, "markdown"))
        self.notify("The table, as Markdown.", title="Copied")

    def action_export(self) -> None:
        """Write the comparison to a file, after asking for the format."""
        ids = [run.run_id for run in self._compared()]
        if not ids:
            self.notify("There is nothing to export yet.", severity="warning")
            return
        self.app.push_screen(
            ExportQuestion(len(ids)), lambda answer: self._export(answer or "cancel", ids)
        )

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Enable the demo while there is no run."""
        if action == "demo":
            return not self.history.rows
        return super().check_action(action, parameters)

    def action_demo(self) -> None:
        """Play the demo."""
        self.state_app.action_demo()

    def action_export_page(self) -> None:
        """Write the comparison as a web page, without asking."""
        ids = [run.run_id for run in self._compared()]
        if not ids:
            self.notify("There is nothing to export yet.", severity="warning")
            return
        self._export("html", ids)

    def _export(self, format: str, ids: Sequence[str]) -> None:
        if format not in SUFFIXES:
            return
        moment = f"{datetime.fromtimestamp(self.state.wall_clock()):%Y%m%d-%H%M%S}"
        path = home() / "exports" / f"comparison-{moment}{SUFFIXES[format]}"
        if format == "svg":
            self._picture(path)  # the box is closed by now
        else:
            self._write_export([self._run(id) for id in ids], format, path)

    def _picture(self, path: Path) -> None:
        try:
            replace(path, self.app.export_screenshot().encode(), parents=True)
        except OSError as error:
            self._notify_export(f"{path}: {error.strerror}", "error")
        else:
            self._notify_export(str(path))

    @work(thread=True, group="export")
    def _write_export(self, runs: Sequence[RunDir], format: str, path: Path) -> None:
        try:
            written = write_export(runs, format, path)
        except (MpstuiError, OSError) as error:
            message, severity = str(error), "error"
        else:
            message, severity = "\n".join(map(str, written)), "information"
        self.state_app.call_in_app(self._notify_export, message, severity)

    def _notify_export(self, message: str, severity: str = "information") -> None:
        if severity == "error":
            self.notify(message, title="Not written", severity="error", markup=False)
        else:
            self.notify(message, title="Exported", markup=False)


def _changed(folder: Path) -> int:
    """Return when runs were last added or removed, in ns; 0 without a folder."""
    try:
        return folder.stat().st_mtime_ns
    except OSError:
        return 0


def _count(ids: Sequence[str]) -> str:
    return "1 run" if len(ids) == 1 else f"{len(ids):,} runs"

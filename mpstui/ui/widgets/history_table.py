"""The list of all runs: a table with a filter line."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import ClassVar, NamedTuple

from textual import events, on
from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import Horizontal, Vertical
from textual.content import Content
from textual.message import Message
from textual.widgets import DataTable, Input

from mpstui.domain.summary import MedianSpread, RunSummary
from mpstui.domain.units import DASH, decimals, number, rate
from mpstui.domain.workloads import short_name
from mpstui.ui.model.history import History, HistoryRow
from mpstui.ui.plain import Static

RIGHT_ALIGNED = frozenset({"epoch", "samples/s", "test loss", "accuracy"})
LEAST = {
    "device": 6,
    "state": 10,
    "alarm": 5,
    "epoch": 7,
    "samples/s": 9,
    "test loss": 9,
    "note": 4,
}
"""Least widths, so that columns do not move when runs under way get their numbers."""

TABLE_COLUMNS = (
    *("started", "workload", "device", "state", "alarm", "epoch", "samples/s"),
    *("test loss", "accuracy", "note"),
)
NARROW = 100
SHORT_DATES = 140
"""Below this width dates omit the year, which the run's id under the list shows."""
DEVICE_WHEN_NARROW = 12
COLUMNS_WHEN_NARROW = (
    *("started", "workload", "device", "state", "alarm", "epoch"),
    *("test loss", "accuracy", "note", "samples/s"),
)
LEAST_NOTE = 8
"""The least width of notes, which get the remaining space and are shown in full below."""

FRAME = 5
"""Cells of border, padding and scrollbar."""

STYLES = {
    "finished": "$text-success",
    "paused": "$text-warning",
    "unreadable": "$text-warning",
    **dict.fromkeys(("failed", "crashed", "killed"), "$text-error"),
}


class Column(NamedTuple):
    """A column of the layout."""

    name: str
    width: int
    """The width of its texts, without the gap."""
    gap: int
    """Cells after it. They hold the sort mark, so that nothing moves."""
    sorted: bool = False

    @property
    def heading(self) -> str:
        """The column's name, aligned with its texts."""
        if self.name in RIGHT_ALIGNED:
            return self.fit(self.name) + ("▾" if self.sorted else "")
        return self.name + ("▾" if self.sorted else "")

    def fit(self, text: str) -> str:
        """Cut or pad a text to the column's width."""
        short = text if len(text) <= self.width else text[: self.width - 1] + "…"
        return short.rjust(self.width) if self.name in RIGHT_ALIGNED else short.ljust(self.width)


class HistoryTable(DataTable[Content], inherit_bindings=False):
    """The table of runs. A click selects a row, a click on a heading sorts."""

    DEFAULT_CSS = """
    HistoryTable {
        height: 1fr;
        background: $background;
        scrollbar-size: 1 1;
        &:focus { background-tint: $foreground 0%; }  /* the pane's border shows it */
    }
    """
    # The screen handles enter, so that the footer names its action.
    BINDINGS: ClassVar[list[BindingType]] = [
        binding
        for binding in DataTable.BINDINGS
        if not isinstance(binding, tuple) and binding.key != "enter"
    ]

    class Toggled(Message):
        """A row was clicked."""

        def __init__(self, id: str) -> None:
            super().__init__()
            self.id = id

    def __init__(self) -> None:
        super().__init__(cursor_type="row", cell_padding=0, id="history")
        for cache in (self._line_cache, self._row_render_cache, self._cell_render_cache):
            cache.maxsize //= 5  # still several screens of lines, which take 3 kB each
        self._layout: tuple[Column, ...] = ()
        self._rows: dict[str, list[Content]] = {}
        # With a thousand runs, creating all cells four times a second would slow down training.
        self._texts: dict[str, tuple[HistoryRow, bool, dict[str, str]]] = {}
        self._cells: dict[str, tuple[dict[str, str], tuple[Column, ...], str, list[Content]]] = {}

    @property
    def under_cursor(self) -> str | None:
        """The id of the run under the cursor."""
        if not self.is_valid_row_index(self.cursor_row):
            return None
        return self.coordinate_to_cell_key(self.cursor_coordinate).row_key.value

    def on_click(self, event: events.Click) -> None:
        """Select the row; the table itself moves the cursor."""
        row = event.style.meta.get("row", -1)
        if self.is_valid_row_index(row):
            key = self.ordered_rows[row].key.value
            if key is not None:
                self.post_message(self.Toggled(key))

    def show(self, history: History, visible_rows: Sequence[HistoryRow], width: int) -> None:
        """Show the rows; the cursor stays on its run.

        Args:
            history: The history that they belong to.
            visible_rows: The rows to show, in order.
            width: The screen's width in cells.
        """
        short = width < SHORT_DATES
        texts = {row.id: self._texts_of(row, short) for row in history.rows.values()}
        layout = _layout(list(texts.values()), width, history.order)
        if layout == self._layout:
            layout = self._layout
        rows = {row.id: self._cells_of(row, texts[row.id], layout, history) for row in visible_rows}
        if layout is self._layout and list(rows) == list(self._rows):
            self._change(rows)
        else:
            self._fill(layout, rows)
        self._layout, self._rows = layout, rows
        for deleted_id in self._texts.keys() - texts.keys():
            del self._texts[deleted_id]
            self._cells.pop(deleted_id, None)

    def _texts_of(self, row: HistoryRow, short: bool) -> dict[str, str]:
        cached = self._texts.get(row.id)
        if cached is None or cached[0] is not row or cached[1] is not short:
            cached = self._texts[row.id] = (row, short, _texts(row, short))
        return cached[2]

    def _cells_of(
        self, row: HistoryRow, texts: dict[str, str], layout: tuple[Column, ...], history: History
    ) -> list[Content]:
        mark = "●" if row.id in history.selected else " "
        mark += "⚑" if row.id == history.baseline else " "
        cached = self._cells.get(row.id)
        if cached is None or cached[0] is not texts or cached[1] is not layout or cached[2] != mark:
            cached = (texts, layout, mark, _cells(row, texts, layout, mark))
            self._cells[row.id] = cached
        return cached[3]

    def _change(self, rows: dict[str, list[Content]]) -> None:
        for id, cells in rows.items():
            if cells is self._rows[id]:
                continue
            for column, old_cell, new_cell in zip(self._layout, self._rows[id], cells, strict=True):
                if old_cell != new_cell:
                    self.update_cell(id, column.name, new_cell)

    def _fill(self, layout: tuple[Column, ...], rows: dict[str, list[Content]]) -> None:
        cursor, place, top = self.under_cursor, self.cursor_row, self.scroll_offset
        self.clear(columns=True)
        for column in layout:
            self.add_column(column.heading, width=column.width + column.gap, key=column.name)
        for id, cells in rows.items():
            self.add_row(*cells, key=id)
        ids = list(rows)
        self.move_cursor(row=ids.index(cursor) if cursor in rows else place, scroll=False)
        self.scroll_to(top.x, top.y, animate=False)
        self.call_after_refresh(self._scroll_cursor_into_view)


class HistoryPane(Vertical):
    """The list, and above it the filter when it is open."""

    DEFAULT_CSS = """
    HistoryPane {
        height: 1fr;
        min-height: 8;
        #filter { height: 1; display: none; }
        #filter Static { width: 2; color: $text-accent; }
        #filter Input { width: 1fr; }
        #nothing { height: 1fr; display: none; color: $foreground-muted; }
        &.-filtered #filter { display: block; }
        &.-nothing #nothing { display: block; }
        &.-nothing HistoryTable { height: 1; overflow: hidden; }
    }
    """

    def __init__(self) -> None:
        super().__init__(id="history-pane", classes="pane")
        self._visible_rows: dict[str, HistoryRow] = {}

    def compose(self) -> ComposeResult:
        """Yield filter, table, and the text shown when it is empty."""
        with Horizontal(id="filter"):
            yield Static("/")
            yield Input(
                placeholder="id, workload, device, state, alarm, note; enter keeps, esc clears",
                compact=True,
                id="query",
            )
        yield HistoryTable()
        yield Static(id="nothing")

    def on_mount(self) -> None:
        """Name the pane."""
        self.border_title = "History"

    def open_filter(self) -> None:
        """Open the filter."""
        self.add_class("-filtered")
        self.query_one(Input).focus()

    def clear(self) -> None:
        """Clear and close the filter."""
        self.query_one(Input).value = ""
        self.remove_class("-filtered")
        self.query_one(HistoryTable).focus()

    def show(self, history: History, loading: bool) -> None:
        """Show the rows, and count them."""
        rows = history.matching_rows()
        self.query_one(HistoryTable).show(history, rows, self.screen.size.width)
        self.set_class(not rows, "-nothing")
        self.query_one("#nothing", Static).update(_nothing(history, loading))
        count = f"{len(history.rows):,}" if history.rows else ""
        parts = [f"{len(rows):,} of {count}" if history.query and count else count]
        if history.selected:
            parts.append(f"{len(history.selected):,} selected")
        self.border_title = f"History  {' · '.join(parts)}{' …' if loading else ''}".rstrip()
        self._visible_rows = {row.id: row for row in rows}
        self._show_current()

    @on(DataTable.RowHighlighted)
    def _show_current(self) -> None:
        """Show the current run's id, which commands take, with its alarm and note."""
        row = self._visible_rows.get(self.query_one(HistoryTable).under_cursor or "")
        parts = [row.id, row.alarm, row.headline or row.problem.partition("\n")[0]] if row else []
        self.border_subtitle = Content(" · ".join(filter(None, parts)))

    @on(Input.Submitted)
    def _leave(self) -> None:
        self.query_one(HistoryTable).focus()
        self.set_class(bool(self.query_one(Input).value), "-filtered")


def _nothing(history: History, loading: bool) -> str:
    if loading and not history.rows:
        return "reading the runs …"
    if history.rows:
        return f"No run matches “{history.query}”.  esc  clears the filter."
    return "No run yet.  Press  g  for the demo, or  n  to set one up."


def _texts(row: HistoryRow, short: bool) -> dict[str, str]:
    """Return a row's cells as text; an unreadable run has only the date."""
    moment = "%m-%d %H:%M" if short else "%Y-%m-%d %H:%M"
    texts = dict.fromkeys(TABLE_COLUMNS, "")
    texts["started"] = DASH if row.started is None else f"{row.started:{moment}}"
    run = row.summary
    if run is not None:
        texts |= {
            "workload": short_name(run.workload),
            "device": run.label,
            "state": row.state,
            "alarm": _alarm(run, short) or DASH,
            "epoch": _seconds(run.epoch_seconds),
            "samples/s": rate(run.samples_per_second.median if run.samples_per_second else None),
            "test loss": number(run.test_loss),
            "accuracy": DASH if run.accuracy is None else f"{run.accuracy:.2%}",
            "note": row.headline,
        }
    return texts


def _alarm(run: RunSummary, short: bool) -> str:
    """Return the alarm as text where it fits, else the step of the first one."""
    if not run.alarm or not short:
        return run.alarm
    checks = [check.step for check in (run.failed_step, run.failed_test) if check is not None]
    steps = [*checks, *(s for s in (run.parted_at, run.diverged_at) if s is not None)]
    return f"▲ {min(steps):,}" if steps else "▲"


def _seconds(value: MedianSpread | None) -> str:
    return DASH if value is None else f"{value.median:,.{decimals(value.median)}f} s"


def _layout(texts: Sequence[dict[str, str]], width: int, order: str) -> tuple[Column, ...]:
    """Return columns wide enough for all rows, so that a filter does not move them."""
    narrow = width < NARROW
    gap = 1 if narrow else 2
    columns = [Column("", 2, 1)]
    for name in COLUMNS_WHEN_NARROW if narrow else TABLE_COLUMNS:
        most = max([len(name), LEAST.get(name, 0), *(len(text[name]) for text in texts)])
        if name == "device" and narrow:
            most = min(most, DEVICE_WHEN_NARROW)
        columns.append(Column(name, LEAST_NOTE if name == "note" else most, gap, name == order))
    free = width - FRAME - sum(column.width + column.gap for column in columns)
    return tuple(
        column._replace(width=column.width + free) if column.name == "note" and free > 0 else column
        for column in columns
    )


def _cells(
    row: HistoryRow, texts: dict[str, str], layout: Sequence[Column], mark: str
) -> list[Content]:
    cells = [_cell(mark, "$text-accent")]
    reason = f"unreadable: {row.problem}".replace("\n", " ")
    for column in layout[1:]:
        if row.summary is None and column.name != "started":
            # Cells without padding touch, so the reason continues from one to the next.
            column_width = column.width + column.gap
            cells.append(Content.styled(reason[:column_width], STYLES["unreadable"]))
            reason = reason[column_width:]
            continue
        style = STYLES.get(row.state, "") if column.name == "state" else ""
        if column.name == "alarm" and row.alarm:
            style = "$text-error"
        cells.append(_cell(column.fit(texts[column.name]), style))
    return cells


@lru_cache(maxsize=256)
def _cell(text: str, style: str) -> Content:
    """Return a cell. Runs share theirs: workload, device and state are mostly the same."""
    return Content.styled(text, style)

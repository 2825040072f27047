"""The history model: a row for every run in the store, filtered, sorted, selected; no Textual."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from functools import lru_cache
from typing import NamedTuple

import msgspec

from mpstui.domain.errors import LogError, MpstuiError
from mpstui.domain.events import AlarmRaised, AnyEvent, decode
from mpstui.domain.history import RunState
from mpstui.domain.summary import RunSummary, with_alarm
from mpstui.domain.units import local_time
from mpstui.runs.files import open_file
from mpstui.runs.log import MOST_LINE
from mpstui.runs.rundir import RunDir
from mpstui.runs.store import RunStore
from mpstui.runs.view import RunView

ORDERS = ("started", "epoch", "test loss", "accuracy", "device")
"""The sort orders, in the sequence that the key cycles through."""

FILES = (
    *("", "config.toml", "machine.json", "summary.json", "exit.json", "supervisor.json"),
    *("events.jsonl", "note.md"),
)
"""The files that a row is read from; the empty name is the folder itself."""

UNDER_WAY = frozenset(state.value for state in RunState if not state.over)

ALARM = b'"event":"AlarmRaised"'
"""The event's text in the log."""

Stamp = tuple[int, ...]


class HistoryRow(NamedTuple):
    """A run in the list: its summary and note, or why one of them cannot be read."""

    id: str
    summary: RunSummary | None = None
    note: str = ""
    problem: str = ""

    @property
    def started(self) -> datetime | None:
        """When the run was created."""
        return moment(self.id, self.summary.started_at if self.summary else None)

    @property
    def state(self) -> str:
        """The run's state, or ``unreadable``."""
        return "unreadable" if self.summary is None else self.summary.state

    @property
    def alarm(self) -> str:
        """The run's alarm as text; empty without one."""
        return "" if self.summary is None else self.summary.alarm

    @property
    def over(self) -> bool:
        """True if the run will not change any more."""
        return self.summary is None or self.summary.state not in UNDER_WAY

    @property
    def headline(self) -> str:
        """The note's first line."""
        return self.note.strip().partition("\n")[0].rstrip()

    def matches(self, query: str) -> bool:
        """Return whether the row contains every word of a query."""
        if not query:
            return True
        run = self.summary
        about = (run.workload, run.device) if run else (self.problem,)
        text = " ".join((self.id, *about, self.state, self.alarm, self.note)).casefold()
        return all(word in text for word in query.casefold().split())


@lru_cache(maxsize=10_000)  # parsing dates is the most expensive part of sorting
def moment(run_id: str, started_at: float | None) -> datetime | None:
    """Return when a run was created, in local time: from its id, which broken runs have too."""
    try:
        return datetime.strptime(run_id[:15], "%Y%m%d-%H%M%S")
    except ValueError:  # a folder that the user has renamed
        return local_time(started_at)


class History:
    """The list's state: its rows, filter, order, selection and baseline."""

    def __init__(self) -> None:
        self.rows: dict[str, HistoryRow] = {}
        self.query = ""
        self.order = ORDERS[0]
        self.selected: dict[str, None] = {}
        """Ids in the order of selection, which a comparison keeps."""
        self.baseline: str | None = None

    def take(self, rows: Iterable[HistoryRow]) -> None:
        """Add rows, replacing those with the same id."""
        self.rows.update({row.id: row for row in rows})

    def retain(self, ids: Iterable[str]) -> None:
        """Remove all runs except these: the others are no longer in the store."""
        id_set = set(ids)
        self.rows = {id: row for id, row in self.rows.items() if id in id_set}
        self.selected = {id: None for id in self.selected if id in id_set}
        if self.baseline not in id_set:
            self.baseline = None

    def matching_rows(self) -> list[HistoryRow]:
        """Return the rows that match the filter, in order; rows without a sort value come last."""
        rows = [row for row in self.rows.values() if row.matches(self.query)]
        rows.sort(key=_newest_first)
        if self.order != "started":
            rows.sort(key=_KEYS[self.order])
        return rows

    def next_order(self) -> None:
        """Sort by the next order."""
        self.order = ORDERS[(ORDERS.index(self.order) + 1) % len(ORDERS)]

    def toggle(self, id: str) -> None:
        """Select a run, or deselect it."""
        if id in self.selected:
            del self.selected[id]
        elif id in self.rows:
            self.selected[id] = None

    def pin(self, id: str) -> None:
        """Make a run the baseline, or clear it."""
        self.baseline = None if id == self.baseline else id

    def targets(self, under_cursor: str | None) -> list[str]:
        """Return the runs that a key acts on: the selected ones, else the one under the cursor."""
        if self.selected:
            return list(self.selected)
        return [under_cursor] if under_cursor in self.rows else []

    def summaries_of(self, ids: Sequence[str]) -> list[RunSummary]:
        """Return the summaries of some runs, the baseline first."""
        ordered_ids = dict.fromkeys([self.baseline, *ids] if self.baseline else ids)
        rows = [self.rows[id] for id in ordered_ids if id in self.rows]
        return [row.summary for row in rows if row.summary]


def _newest_first(row: HistoryRow) -> tuple[float, str]:
    # Runs of one comparison have the same time, and their ids sort in the order of the devices.
    return (-row.started.timestamp() if row.started else math.inf), row.id


def _least_first(value: float | None) -> tuple[bool, float]:
    is_number = value is not None and not math.isnan(value)
    return not is_number, value if is_number and value is not None else 0.0


def _epoch(row: HistoryRow) -> tuple[bool, float]:
    epoch = row.summary.epoch_seconds if row.summary else None
    return _least_first(epoch.median if epoch else None)


def _accuracy(row: HistoryRow) -> tuple[bool, float]:
    accuracy = row.summary.accuracy if row.summary else None
    return _least_first(None if accuracy is None else -accuracy)


_KEYS: dict[str, Callable[[HistoryRow], tuple[bool, float] | tuple[bool, str]]] = {
    "epoch": _epoch,
    "test loss": lambda row: _least_first(row.summary.test_loss if row.summary else None),
    "accuracy": _accuracy,
    "device": lambda row: (row.summary is None, row.summary.device if row.summary else ""),
}


class HistoryReader:
    """A reader of the store's runs; it does not reread unchanged runs that are over."""

    def __init__(self, store: RunStore) -> None:
        self._store = store
        self._cached: dict[str, tuple[Stamp, HistoryRow]] = {}
        self._views: dict[str, RunView] = {}
        """Views of runs under way, so that their logs are read incrementally."""

    def runs(self) -> list[RunDir]:
        """Return every run, the newest first; none if the folder cannot be read."""
        try:
            return self._store.all()
        except LogError:
            return []

    def read(
        self, runs: Sequence[RunDir], followed: Mapping[str, HistoryRow]
    ) -> Iterator[HistoryRow]:
        """Yield a row for each run.

        Args:
            runs: The runs to read.
            followed: Rows of runs that the app already follows, without their notes; their logs
                are not read here.
        """
        for deleted_id in self._cached.keys() - {run.id for run in runs}:
            del self._cached[deleted_id]
            self._views.pop(deleted_id, None)
        for run in runs:
            stamp = _stamp(run)
            cached = self._cached.get(run.id)
            if cached is not None and cached[0] == stamp and cached[1].over:
                yield cached[1]
                continue
            row = self._row(run, followed.get(run.id))
            self._cached[run.id] = (stamp, row)
            yield row

    def _row(self, run: RunDir, followed: HistoryRow | None) -> HistoryRow:
        from mpstui.runs.notes import read_note

        try:
            row = followed or self._numbers(run)
        except (MpstuiError, OSError) as error:  # one broken folder must not hide the others
            self._views.pop(run.id, None)
            return HistoryRow(run.id, problem=_reason(run, error))
        try:
            return row._replace(note=read_note(run))
        except MpstuiError as error:
            return row._replace(problem=_reason(run, error))

    def _numbers(self, run: RunDir) -> HistoryRow:
        written = run.summary()
        if written is not None:
            self._views.pop(run.id, None)
            run.config()  # raises for a run that cannot be opened
            return HistoryRow(run.id, _with_late_alarm(run, written))
        view = self._views.pop(run.id, None) or RunView(run)
        view.catch_up()
        if not view.history.state.over:
            self._views[run.id] = view
        return row_of(view)


def row_of(view: RunView) -> HistoryRow:
    """Return the row of a followed run, as far as its log was read; without its note.

    Raises:
        LogError: Its summary cannot be read.
    """
    return HistoryRow(view.run.id, view.summary())


def _reason(run: RunDir, error: Exception) -> str:
    # The row already has the id; the path would leave no space for the reason.
    return str(error).replace(f"{run.path}{os.sep}", "")


def _with_late_alarm(run: RunDir, summary: RunSummary) -> RunSummary:
    """Return a summary with an alarm that was logged after it, or by an earlier version.

    The search goes over the log's bytes, which is faster than decoding its events.
    """
    if summary.parted_at is not None:
        return summary
    try:
        with open_file(run.events) as file:
            while 0 < len(line := file.readline(MOST_LINE)) < MOST_LINE:
                if ALARM in line and isinstance(event := _event(line), AlarmRaised):
                    return with_alarm(summary, event.step, event.against)
    except OSError:
        pass  # what the summary says holds
    return summary


def _event(line: bytes) -> AnyEvent | None:
    try:
        return decode(line)
    except msgspec.DecodeError:  # incomplete, or of another version
        return None


def _stamp(run: RunDir) -> Stamp:
    """Return when each of a row's files was last written."""
    stamps = []
    for name in FILES:
        try:
            stamps.append((run.path / name).stat().st_mtime_ns)
        except OSError:
            stamps.append(0)
    return tuple(stamps)

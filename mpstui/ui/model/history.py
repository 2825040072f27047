"""The history: every run of the store in a row, filtered, sorted, selected. No textual in here."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from functools import lru_cache
from typing import NamedTuple

import msgspec

from mpstui.domain.errors import MpstuiError
from mpstui.domain.events import AlarmRaised, AnyEvent, decode
from mpstui.domain.history import RunState
from mpstui.domain.summary import RunSummary, with_alarm
from mpstui.runs.rundir import RunDir
from mpstui.runs.store import RunStore
from mpstui.runs.view import RunView

ORDERS = ("started", "epoch", "test loss", "accuracy", "device")
"""What the list can be sorted by, in the order of the key that changes it."""

FILES = (
    *("", "config.toml", "machine.json", "summary.json", "exit.json", "keeper.json"),
    *("events.jsonl", "note.md"),
)
"""What a row is read from; the empty name is the folder itself."""

UNDER_WAY = frozenset(state.value for state in RunState if not state.over)

ALARM = b'"event":"AlarmRaised"'
"""How the log writes it."""

Stamp = tuple[int, ...]


class HistoryRow(NamedTuple):
    """A run in the list: its numbers and its note, or why one of them cannot be read."""

    id: str
    summary: RunSummary | None = None
    note: str = ""
    problem: str = ""

    @property
    def started(self) -> datetime | None:
        """When it was asked for."""
        return moment(self.id, self.summary.started_at if self.summary else None)

    @property
    def state(self) -> str:
        """Where it stands."""
        return "unreadable" if self.summary is None else self.summary.state

    @property
    def alarm(self) -> str:
        """What is wrong with its course, in words; empty when nothing is."""
        return "" if self.summary is None else self.summary.alarm

    @property
    def over(self) -> bool:
        """Whether nothing more will come of it."""
        return self.summary is None or self.summary.state not in UNDER_WAY

    @property
    def headline(self) -> str:
        """The note's first line."""
        return self.note.strip().partition("\n")[0].rstrip()

    def matches(self, query: str) -> bool:
        """Whether every word of a query is somewhere in the row."""
        if not query:
            return True
        run = self.summary
        about = (run.workload, run.device) if run else (self.problem,)
        text = " ".join((self.id, *about, self.state, self.alarm, self.note)).casefold()
        return all(word in text for word in query.casefold().split())


@lru_cache(maxsize=10_000)  # reading a date is the dearest part of sorting
def moment(run_id: str, started_at: float | None) -> datetime | None:
    """When a run was asked for, local: from its id, which broken runs have too."""
    try:
        return datetime.strptime(run_id[:15], "%Y%m%d-%H%M%S")
    except ValueError:  # a folder that a person has renamed
        return None if started_at is None else datetime.fromtimestamp(started_at)


class History:
    """The list's state: which rows there are, and what a person made of them."""

    def __init__(self) -> None:
        self.rows: dict[str, HistoryRow] = {}
        self.query = ""
        self.order = ORDERS[0]
        self.selected: dict[str, None] = {}
        """Ids, in the order in which they were selected: a comparison shows them so."""
        self.baseline: str | None = None

    def take(self, rows: Iterable[HistoryRow]) -> None:
        """Take rows in, or in place of those of the same id."""
        self.rows.update({row.id: row for row in rows})

    def keep(self, ids: Iterable[str]) -> None:
        """Forget the runs that are not among these: they are gone from the store."""
        there = set(ids)
        self.rows = {id: row for id, row in self.rows.items() if id in there}
        self.selected = {id: None for id in self.selected if id in there}
        if self.baseline not in there:
            self.baseline = None

    def listed(self) -> list[HistoryRow]:
        """The rows that match the filter, in order; what has no value to sort by comes last."""
        found = [row for row in self.rows.values() if row.matches(self.query)]
        found.sort(key=_newest_first)
        if self.order != "started":
            found.sort(key=_KEYS[self.order])
        return found

    def next_order(self) -> None:
        """Sort by the next thing."""
        self.order = ORDERS[(ORDERS.index(self.order) + 1) % len(ORDERS)]

    def toggle(self, id: str) -> None:
        """Select a run, or no longer."""
        if id in self.selected:
            del self.selected[id]
        elif id in self.rows:
            self.selected[id] = None

    def pin(self, id: str) -> None:
        """Make a run the baseline, or no longer."""
        self.baseline = None if id == self.baseline else id

    def targets(self, under_cursor: str | None) -> list[str]:
        """What a key acts on: the selected runs, else the one under the cursor."""
        if self.selected:
            return list(self.selected)
        return [under_cursor] if under_cursor in self.rows else []

    def compared(self, ids: Sequence[str]) -> list[RunSummary]:
        """The numbers of some runs, the baseline in front of them."""
        wanted = dict.fromkeys([self.baseline, *ids] if self.baseline else ids)
        rows = [self.rows[id] for id in wanted if id in self.rows]
        return [row.summary for row in rows if row.summary]


def _newest_first(row: HistoryRow) -> tuple[float, str]:
    # Runs of one comparison share the moment: there the order of the ids is that of the devices.
    return (-row.started.timestamp() if row.started else math.inf), row.id


def _least_first(value: float | None) -> tuple[bool, float]:
    known = value is not None and not math.isnan(value)
    return not known, value if known and value is not None else 0.0


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
    """Reads the store's runs; those that are over and untouched since are not read again."""

    def __init__(self, store: RunStore) -> None:
        self._store = store
        self._known: dict[str, tuple[Stamp, HistoryRow]] = {}
        self._views: dict[str, RunView] = {}
        """Of runs under way, so that their logs are read on and not anew."""

    def runs(self) -> list[RunDir]:
        """Every run, the newest first."""
        return self._store.all()

    def read(
        self, runs: Sequence[RunDir], followed: Mapping[str, HistoryRow]
    ) -> Iterator[HistoryRow]:
        """A row for each run.

        Args:
            runs: What is asked for.
            followed: Rows of runs that the app follows anyway, without their notes; their logs
                are left alone.
        """
        for run in runs:
            stamp = _stamp(run)
            known = self._known.get(run.id)
            if known is not None and known[0] == stamp and known[1].over:
                yield known[1]
                continue
            row = self._row(run, followed.get(run.id))
            self._known[run.id] = (stamp, row)
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
            run.config()  # a run that cannot be opened is not to look as if it could
            return HistoryRow(run.id, _with_late_alarm(run, written))
        view = self._views.pop(run.id, None) or RunView(run)
        view.catch_up()
        if not view.history.state.over:
            self._views[run.id] = view
        return row_of(view)


def row_of(view: RunView) -> HistoryRow:
    """The row of a run that is followed, as far as its log was read; without its note.

    Raises:
        LogError: When its summary cannot be read.
    """
    return HistoryRow(view.run.id, view.summary())


def _reason(run: RunDir, error: Exception) -> str:
    # The id is in the row; its path would push the reason out of sight.
    return str(error).replace(f"{run.path}{os.sep}", "")


def _with_late_alarm(run: RunDir, summary: RunSummary) -> RunSummary:
    """A summary with an alarm that was logged after it was written, or by an earlier version.

    The alarm is looked for in the log's bytes, which is quicker than reading its events.
    """
    if summary.parted_at is not None:
        return summary
    try:
        with run.events.open("rb") as file:
            for line in file:
                if ALARM in line and isinstance(event := _event(line), AlarmRaised):
                    return with_alarm(summary, event.step, event.against)
    except FileNotFoundError:
        pass
    return summary


def _event(line: bytes) -> AnyEvent | None:
    try:
        return decode(line)
    except msgspec.DecodeError:  # torn, or another version's
        return None


def _stamp(run: RunDir) -> Stamp:
    """When the files that a row is read from were last written."""
    found = []
    for name in FILES:
        try:
            found.append((run.path / name).stat().st_mtime_ns)
        except OSError:
            found.append(0)
    return tuple(found)

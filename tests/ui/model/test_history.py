from __future__ import annotations

import gc
import os
import shutil
from collections.abc import Callable
from datetime import datetime
from pathlib import Path

from msgspec.structs import replace

from mpstui.domain.events import AlarmRaised
from mpstui.domain.summary import MedianSpread
from mpstui.runs.log import LogWriter
from mpstui.runs.notes import write_note
from mpstui.runs.rundir import RunDir
from mpstui.runs.store import RunStore
from mpstui.runs.view import RunView
from mpstui.ui.model.history import ORDERS, History, HistoryReader, HistoryRow, row_of

from tests.builders.summaries import bare_summary  # isort: skip
from tests.ui.conftest import NOW, write_log  # isort: skip

MakeRuns = Callable[..., list[RunDir]]

RUN = bare_summary(machine="M2", torch="2.14.1", steps=10)


def row(day: int, note: str = "", epoch: float | None = None, **values: object) -> HistoryRow:
    id = f"202611{day:02}-070000-{values.get('workload', 'mnist')}-abcd-{values.get('device')}"
    seconds = None if epoch is None else MedianSpread(median=epoch, spread=None, count=1)
    return HistoryRow(id, replace(RUN, run_id=id, epoch_seconds=seconds, **values), note)


FAST = row(1, device="mps", epoch=19.6, test_loss=0.5, accuracy=0.90, note="Lid closed\nmore")
SLOW = row(2, device="cpu", epoch=33.4, test_loss=0.1, accuracy=0.99)
LOST = row(
    3,
    device="cuda",
    workload="vae",
    diverged_at=7,
    test_loss=float("nan"),
    alarm="not finite at step 7",
)
BROKEN = HistoryRow("20261104-070000-mnist-abcd-cpu", problem="config.toml: no such field")


def history(*rows: HistoryRow) -> History:
    made = History()
    made.take(rows or (SLOW, FAST, BROKEN, LOST))
    return made


def test_the_newest_run_comes_first_and_broken_ones_stand_in_their_place() -> None:
    assert history().matching_rows() == [BROKEN, LOST, SLOW, FAST]


def test_runs_of_one_comparison_stay_in_the_order_of_their_devices() -> None:
    second = SLOW._replace(id="20261105-070000-mnist-abcd-2-mps")
    first = SLOW._replace(id="20261105-070000-mnist-abcd-1-cpu")
    assert history(second, first, BROKEN).matching_rows() == [first, second, BROKEN]


def test_a_renamed_folder_is_sorted_by_when_its_log_begins() -> None:
    at = datetime(2026, 11, 2, 12).timestamp()
    renamed = HistoryRow("the-good-one", replace(RUN, run_id="the-good-one", started_at=at))
    assert history(SLOW, FAST, renamed, LOST).matching_rows() == [LOST, renamed, SLOW, FAST]


def test_each_order_puts_the_best_first_and_what_has_no_value_last() -> None:
    listed = history()
    found = {}
    for _ in ORDERS:
        found[listed.order] = [row.id for row in listed.matching_rows()]
        listed.next_order()
    assert listed.order == "started"
    assert found["epoch"] == [FAST.id, SLOW.id, BROKEN.id, LOST.id]
    assert found["test loss"] == [SLOW.id, FAST.id, BROKEN.id, LOST.id]
    assert found["accuracy"] == [SLOW.id, FAST.id, BROKEN.id, LOST.id]
    assert found["device"] == [SLOW.id, LOST.id, FAST.id, BROKEN.id]


def test_the_filter_wants_every_word_in_any_field_and_any_case() -> None:
    listed = history()
    for query, found in (
        ("VAE", [LOST]),
        ("not finite", [LOST]),
        ("lid mps", [FAST]),
        ("lid cpu", []),
        ("20261102", [SLOW]),
        ("unreadable field", [BROKEN]),
        ("  ", [BROKEN, LOST, SLOW, FAST]),
    ):
        listed.query = query
        assert listed.matching_rows() == found, query


def test_keys_act_on_the_selected_runs_in_the_order_of_selecting_or_on_the_cursor() -> None:
    listed = history()
    assert listed.targets(SLOW.id) == [SLOW.id]
    assert listed.targets(None) == []
    listed.toggle(LOST.id)
    listed.toggle(FAST.id)
    listed.toggle("no such run")
    assert listed.targets(SLOW.id) == [LOST.id, FAST.id]
    listed.toggle(LOST.id)
    assert listed.targets(SLOW.id) == [FAST.id]


def test_the_baseline_goes_first_even_if_it_was_not_asked_for() -> None:
    listed = history()
    assert [run.run_id for run in listed.summaries_of([FAST.id, SLOW.id])] == [FAST.id, SLOW.id]
    listed.pin(SLOW.id)
    assert [run.run_id for run in listed.summaries_of([FAST.id, SLOW.id])] == [SLOW.id, FAST.id]
    assert [run.run_id for run in listed.summaries_of([FAST.id])] == [SLOW.id, FAST.id]
    listed.pin(SLOW.id)
    assert [run.run_id for run in listed.summaries_of([FAST.id])] == [FAST.id]


def test_a_comparison_leaves_out_what_cannot_be_read() -> None:
    (run,) = history(FAST, BROKEN).summaries_of([BROKEN.id, FAST.id])
    assert run.run_id == FAST.id


def test_what_is_gone_from_the_store_is_neither_selected_nor_baseline() -> None:
    listed = history()
    listed.toggle(SLOW.id)
    listed.toggle(FAST.id)
    listed.pin(SLOW.id)
    listed.retain([FAST.id, LOST.id])
    assert listed.matching_rows() == [LOST, FAST]
    assert list(listed.selected) == [FAST.id]
    assert listed.baseline is None


def read(reader: HistoryReader, **followed: HistoryRow) -> dict[str, HistoryRow]:
    return {row.summary.device if row.summary else row.id: row for row in rows(reader, followed)}


def rows(reader: HistoryReader, followed: dict[str, HistoryRow]) -> list[HistoryRow]:
    return list(reader.read(reader.runs(), followed))


def test_runs_are_read_with_their_notes_and_a_broken_folder_hides_none(
    home: Path, make_runs: MakeRuns
) -> None:
    cpu, mps = make_runs(kind="finished")
    write_note(mps, "quiet machine\nsecond line")
    (cpu.path / "summary.json").write_text("{")
    found = read(HistoryReader(RunStore(home / "runs")))
    assert found["mps"].headline == "quiet machine"
    assert found["mps"].state == "finished"
    assert found[cpu.id].state == "unreadable"
    assert found[cpu.id].problem.startswith("summary.json: ")


def test_a_config_that_cannot_be_read_is_told_though_the_summary_can(
    home: Path, make_runs: MakeRuns
) -> None:
    (run,) = make_runs(devices="cpu", kind="finished")
    run.write_summary(RunView(run).summary())
    run.path.joinpath("config.toml").write_text("workload = 3")
    (found,) = rows(HistoryReader(RunStore(home / "runs")), {})
    assert found.problem.startswith("config.toml: ")


def test_a_note_that_is_no_text_hides_only_itself(home: Path, make_runs: MakeRuns) -> None:
    (run,) = make_runs(devices="cpu", kind="finished")
    (run.path / "note.md").write_bytes(b"\xff\xfe")
    (found,) = rows(HistoryReader(RunStore(home / "runs")), {})
    assert found.state == "finished"
    assert found.note == ""
    assert found.problem.startswith("note.md: ")


def test_a_state_that_this_version_does_not_know_is_shown_and_over() -> None:
    future = row(5, device="cpu", state="merged")
    assert (future.state, future.over) == ("merged", True)
    assert not row(5, device="cpu", state="training").over


def test_a_run_that_is_over_is_not_read_again_until_a_file_of_it_changes(
    home: Path, make_runs: MakeRuns
) -> None:
    (run,) = make_runs(devices="cpu", kind="finished")
    reader = HistoryReader(RunStore(home / "runs"))
    (first,) = rows(reader, {})
    (again,) = rows(reader, {})
    assert again is first
    summary = replace(RunView(run).summary(), state="stopped")
    run.write_summary(summary)
    os.utime(run.path / "summary.json", ns=(1, 1))  # clocks of file systems can be coarse
    (changed,) = rows(reader, {})
    assert changed.state == "stopped"


def holders(row: HistoryRow) -> list[object]:
    return [holder for holder in gc.get_referrers(row) if isinstance(holder, tuple)]


def test_the_row_of_a_deleted_run_is_not_retained(home: Path, make_runs: MakeRuns) -> None:
    (run,) = make_runs(devices="cpu", kind="finished")
    reader = HistoryReader(RunStore(home / "runs"))
    (row,) = rows(reader, {})
    assert holders(row)
    shutil.rmtree(run.path)
    assert rows(reader, {}) == []
    assert not holders(row)


def test_summaries_share_their_texts(home: Path, make_runs: MakeRuns) -> None:
    runs = make_runs(kind="finished")
    for run in runs:
        run.write_summary(RunView(run).summary())
    first, second = (run.summary() for run in runs)
    assert first is not None
    assert second is not None
    assert first.machine is second.machine
    assert first.torch is second.torch


def test_a_run_under_way_is_read_on(home: Path, make_runs: MakeRuns) -> None:
    (run,) = make_runs(devices="cpu", kind="running")
    reader = HistoryReader(RunStore(home / "runs"))
    (before,) = rows(reader, {})
    assert not before.over
    write_log(run, 0, "finished")  # appends
    (after,) = rows(reader, {})
    assert after.state == "finished"


def test_numbers_that_the_app_has_read_are_taken_from_it(home: Path, make_runs: MakeRuns) -> None:
    (run,) = make_runs(devices="cpu", kind="running")
    write_note(run, "ours")
    view = RunView(run)  # has read nothing yet, and so tells nothing
    reader = HistoryReader(RunStore(home / "runs"))
    (found,) = rows(reader, {run.id: row_of(view)})
    assert found.state == "starting"
    assert found.note == "ours"


def test_an_alarm_shows_beside_the_state_also_when_the_summary_was_written_before_it(
    home: Path, make_runs: MakeRuns
) -> None:
    cpu, mps = make_runs(kind="finished")
    alarm = AlarmRaised(
        at=NOW, step=9, value=2.0, other=1.0, gap=1.0, against="cpu", policy="continue"
    )
    with LogWriter(mps.events) as log:
        log.append(alarm)
    mps.write_summary(RunView(mps).summary())
    mps.write_summary(replace(mps.summary() or RUN, run_id=mps.id, state="finished"))
    found = read(HistoryReader(RunStore(home / "runs")))
    states = {device: (row.state, row.alarm) for device, row in found.items()}
    assert states == {"mps": ("finished", "diverged from cpu at step 9"), "cpu": ("finished", "")}
    view = RunView(cpu)
    view.history.apply(alarm)
    assert row_of(view).alarm == "diverged from cpu at step 9"

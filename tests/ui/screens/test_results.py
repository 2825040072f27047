from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from textual.geometry import Offset
from textual.widgets import DataTable, Input, Static

from mpstui.domain.comparison import HEADINGS
from mpstui.domain.config import make_config
from mpstui.domain.devices import parse_devices
from mpstui.domain.events import RunFinished
from mpstui.runs.log import LogWriter
from mpstui.runs.notes import read_note, write_note
from mpstui.runs.rundir import RunDir
from mpstui.runs.store import RunStore
from mpstui.runs.view import RunView
from mpstui.ui.app import MpstuiApp
from mpstui.ui.screens.history_dialogs import ExportQuestion, NoteDialog
from mpstui.ui.screens.results import ResultsScreen
from mpstui.ui.widgets.comparison_table import ComparisonPane
from mpstui.ui.widgets.history_table import HistoryPane, HistoryTable
from mpstui.ui.widgets.run_panel import RunPanel

from tests.ui.conftest import M2, NOW, write_log  # isort: skip

MakeApp = Callable[..., MpstuiApp]
MakeDay = Callable[..., list[RunDir]]

WIDE = (160, 50)


@pytest.fixture
def make_day(home: Path) -> MakeDay:
    """The runs of a day in November: the later, the newer."""

    def make(
        day: int, devices: str = "cpu", kind: str = "finished", workload: str = "mnist"
    ) -> list[RunDir]:
        config = make_config({"workload": workload, "dataset": "embedded"})
        moment = datetime(2026, 11, 1, 7) + timedelta(days=day - 1)
        runs = RunStore(home / "runs").create(config, parse_devices(devices), M2, moment)
        for run in runs:
            if kind == "running":
                run.record_supervisor(os.getpid())
            write_log(run, 1, kind)  # the second one's pace: with a whole epoch
        return runs

    return make


async def results(app: MpstuiApp, pilot: Any) -> ResultsScreen:
    await app.workers.wait_for_complete()
    await pilot.press("4")
    await settled(app, pilot)
    assert isinstance(app.screen, ResultsScreen)
    app.clear_notifications()
    return app.screen


async def settled(app: MpstuiApp, pilot: Any) -> None:
    await pilot.pause()
    await app.workers.wait_for_complete()
    for _ in range(3):
        await pilot.pause()


async def press(app: MpstuiApp, pilot: Any, *keys: str) -> None:
    for key in keys:
        await pilot.press(key)
        await pilot.pause()
    await settled(app, pilot)


def listed(screen: ResultsScreen) -> list[str]:
    table = screen.query_one(HistoryTable)
    return [row.key.value or "" for row in table.ordered_rows]


def line(screen: ResultsScreen, run: RunDir) -> str:
    return "".join(map(str, screen.query_one(HistoryTable).get_row(run.id)))


def compared(screen: ResultsScreen, heading: str = "device") -> list[str]:
    table = screen.query_one(ComparisonPane).query_one(DataTable)
    labels = [str(column.label).strip() for column in table.ordered_columns]
    cells = [table.get_row_at(row)[labels.index(heading)] for row in range(table.row_count)]
    return [str(cell).strip() for cell in cells]


def headings(screen: ResultsScreen) -> str:
    return " ".join(str(column.label) for column in screen.query_one(HistoryTable).ordered_columns)


def said(app: MpstuiApp) -> list[str]:
    return [note.message for note in app._notifications]


def ids(runs: Sequence[RunDir]) -> list[str]:
    return [run.id for run in runs]


async def test_without_runs_both_panes_say_what_to_press(make_app: MakeApp) -> None:
    app = make_app()
    async with app.run_test(size=(80, 24)) as pilot:
        screen = await results(app, pilot)
        assert "Press  g" in str(screen.query_one("#notes", Static).content)
        assert "Press  g" in str(screen.query_one("#nothing", Static).content)
        await press(app, pilot, "enter", "space", "b", "e", "d", "x", "m", "u", "l")
        assert app.screen is screen
        assert len(said(app)) == 8  # each key but space says why nothing happens
        await press(app, pilot, "n")
        assert app.current_mode == "configure"


async def test_every_run_of_the_store_is_listed_the_newest_first_under_the_sessions_comparison(
    make_app: MakeApp, make_day: MakeDay
) -> None:
    old, middle = make_day(2), make_day(5, kind="diverged", workload="vae")
    new = make_day(9, "cpu,mps")
    write_note(old[0], "lid closed")
    app = make_app()
    async with app.run_test(size=WIDE) as pilot:
        screen = await results(app, pilot)
        assert listed(screen) == [*ids(new), *ids(middle), *ids(old)]
        assert "not finite at step 601" in line(screen, middle[0])
        shown = line(screen, old[0])
        for text in ("2026-11-02 07:00", "mnist", "finished", "16.4 s", "98.50%", "lid closed"):
            assert text in shown
        assert compared(screen)[:2] == ["cpu", "mps"]
        assert screen.query_one(HistoryPane).border_title == "History  4"
        assert screen.query_one(HistoryPane).border_subtitle == new[0].id


async def test_a_broken_folder_tells_why_in_its_row_and_hides_no_other(
    make_app: MakeApp, make_day: MakeDay
) -> None:
    (broken,), (good,) = make_day(3), make_day(4)
    (broken.path / "config.toml").write_text("workload = 'chess'\n")
    app = make_app()
    async with app.run_test(size=(80, 24)) as pilot:
        screen = await results(app, pilot)
        assert listed(screen) == [good.id, broken.id]
        assert "unreadable: config.toml: workload: 'chess'" in line(screen, broken)
        await press(app, pilot, "down", "enter")
        assert "cannot be read" in said(app)[-1]
        await press(app, pilot, "l")
        assert app.current_mode == "results"
        assert [note.severity for note in app._notifications][-1] == "error"


async def test_the_filter_narrows_as_one_types_and_esc_gives_the_rest_back(
    make_app: MakeApp, make_day: MakeDay
) -> None:
    (vae,), (mnist,) = make_day(2, workload="vae"), make_day(3)
    app = make_app()
    async with app.run_test(size=WIDE) as pilot:
        screen = await results(app, pilot)
        await press(app, pilot, "slash", "v")
        assert listed(screen) == [vae.id]
        assert screen.query_one(HistoryPane).border_title == "History  1 of 2"
        await press(app, pilot, "x")  # a letter here, no export
        assert listed(screen) == []
        assert "No run matches “vx”" in str(screen.query_one("#nothing", Static).content)
        await press(app, pilot, "backspace", "enter")
        assert screen.query_one(HistoryTable).has_focus
        assert listed(screen) == [vae.id]
        await press(app, pilot, "escape")
        assert listed(screen) == [mnist.id, vae.id]
        assert not screen.query_one("#filter").display


async def test_o_and_a_click_on_a_heading_sort_and_the_heading_tells(
    make_app: MakeApp, make_day: MakeDay
) -> None:
    (cpu,), (mps,), (cuda,) = make_day(2, "cpu"), make_day(3, "mps"), make_day(4, "cuda")
    app = make_app()
    async with app.run_test(size=WIDE) as pilot:
        screen = await results(app, pilot)
        assert listed(screen) == ids([cuda, mps, cpu])
        seen = []
        for _ in range(4):
            await press(app, pilot, "o")
            seen.append(headings(screen))
        for name, text in zip(("epoch", "test loss", "accuracy", "device"), seen, strict=True):
            assert f"{name}▾" in text
            assert text.count("▾") == 1
        assert listed(screen) == ids([cpu, cuda, mps])
        assert screen.query_one(HistoryTable).cursor_row == 0
        await pilot.click("#history", offset=(4, 0))  # started
        await settled(app, pilot)
        assert "started▾" in headings(screen)
        assert listed(screen) == ids([cuda, mps, cpu])
        await pilot.click("#history", offset=(22, 0))  # workload: not to sort by
        await settled(app, pilot)
        assert "started▾" in headings(screen)


async def test_selected_runs_are_compared_in_the_order_of_selecting_and_told_apart_by_time(
    make_app: MakeApp, make_day: MakeDay
) -> None:
    (old,), (middle,), (new,) = make_day(2), make_day(3, "mps"), make_day(4, "cuda")
    app = make_app()
    async with app.run_test(size=WIDE) as pilot:
        screen = await results(app, pilot)
        assert compared(screen)[:1] == ["cuda"]
        await press(app, pilot, "down", "down", "space", "up", "space")
        assert line(screen, old).startswith("●")
        assert line(screen, middle).startswith("●")
        assert not line(screen, new).startswith("●")
        await press(app, pilot, "enter")
        assert compared(screen)[:2] == ["cpu", "mps"]
        assert compared(screen, "started")[:2] == ["11-02 07:00", "11-03 07:00"]
        assert compared(screen, HEADINGS[5])[:2] == ["1.00×", "1.00×"]
        await press(app, pilot, "escape", "escape")  # the selection, then what was picked
        assert compared(screen)[:1] == ["cuda"]
        assert "●" not in line(screen, old)


async def test_enter_compares_the_run_under_the_cursor_if_none_is_selected(
    make_app: MakeApp, make_day: MakeDay
) -> None:
    make_day(2, workload="vae")
    make_day(4, "cuda")
    app = make_app()
    async with app.run_test(size=WIDE) as pilot:
        screen = await results(app, pilot)
        await press(app, pilot, "down", "enter")
        assert compared(screen) == ["cpu"]  # the article has no rows for a VAE
        assert screen.query_one(ComparisonPane).border_subtitle == "vae · batch 128 · alone"


async def test_a_click_on_a_row_selects_it(make_app: MakeApp, make_day: MakeDay) -> None:
    (old,), (new,) = make_day(2), make_day(4)
    app = make_app()
    async with app.run_test(size=WIDE) as pilot:
        screen = await results(app, pilot)
        await pilot.click("#history", offset=Offset(30, 2))  # under heading and newest run
        await settled(app, pilot)
        assert line(screen, old).startswith("●")
        assert screen.query_one(HistoryTable).under_cursor == old.id
        await pilot.click("#history", offset=Offset(30, 2))
        await settled(app, pilot)
        assert "●" not in line(screen, old) + line(screen, new)


async def test_the_baseline_is_flagged_goes_first_and_is_measured_against(
    make_app: MakeApp, make_day: MakeDay
) -> None:
    (base,) = make_day(2, "cuda")
    make_day(4, "cpu,mps")
    app = make_app()
    async with app.run_test(size=WIDE) as pilot:
        screen = await results(app, pilot)
        await press(app, pilot, "end", "down", "down", "b")
        assert "⚑" in line(screen, base)
        assert compared(screen)[:3] == ["⚑ cuda", "cpu", "mps"]
        assert "against cuda ⚑" in str(screen.query_one("#notes", Static).content)
        await press(app, pilot, "b")
        assert compared(screen)[:2] == ["cpu", "mps"]


async def test_runs_that_are_not_like_for_like_are_told_on_the_pane(
    make_app: MakeApp, make_day: MakeDay
) -> None:
    make_day(2, workload="vae")
    make_day(4)
    app = make_app()
    async with app.run_test(size=(80, 24)) as pilot:
        screen = await results(app, pilot)
        pane = screen.query_one(ComparisonPane)
        assert "not like for like" not in str(pane.border_title)
        await press(app, pilot, "space", "space", "enter")
        assert "not like for like" in str(pane.border_title)


async def test_the_selected_runs_go_to_the_live_screen(
    make_app: MakeApp, make_day: MakeDay
) -> None:
    (old,), (middle,), _ = make_day(2), make_day(3, "mps"), make_day(4)
    app = make_app()
    async with app.run_test(size=WIDE) as pilot:
        await results(app, pilot)
        await press(app, pilot, "down", "space", "space", "l")
        assert app.current_mode == "live"
        assert app.state.session is not None
        assert [view.run.id for view in app.state.session.views] == ids([middle, old])
        assert len(app.screen.query(RunPanel)) == 2


async def test_a_run_that_live_cannot_follow_is_refused_and_a_note_that_is_no_text_is_kept(
    make_app: MakeApp, make_day: MakeDay
) -> None:
    (run,) = make_day(2)
    make_day(4)
    run.write_summary(RunView(run).summary())
    (run.path / "exit.json").write_text("[]")
    (run.path / "note.md").write_bytes(b"\xff")
    app = make_app()
    async with app.run_test(size=WIDE) as pilot:
        screen = await results(app, pilot)
        await press(app, pilot, "down", "l")
        assert "exit.json" in said(app)[-1]
        assert app.current_mode == "results"
        await press(app, pilot, "e")
        assert app.screen is screen
        assert "note.md" in said(app)[-1]
        assert (run.path / "note.md").read_bytes() == b"\xff"


async def test_a_note_is_edited_and_further_lines_of_it_stay(
    make_app: MakeApp, make_day: MakeDay
) -> None:
    (run,) = make_day(2)
    write_note(run, "first\nsecond\n")
    app = make_app()
    async with app.run_test(size=(120, 40)) as pilot:
        screen = await results(app, pilot)
        await press(app, pilot, "e")
        assert isinstance(app.screen, NoteDialog)
        assert app.screen.query_one(Input).value == "first"
        await press(app, pilot, *"quiet", "enter")
        assert app.screen_stack[-1] is screen
        assert read_note(run) == "quiet\nsecond\n"
        assert "quiet" in line(screen, run)
        await press(app, pilot, "e", "z", "escape")
        assert read_note(run) == "quiet\nsecond\n"


async def test_deleted_runs_are_gone_until_u_undoes_it(
    make_app: MakeApp, make_day: MakeDay
) -> None:
    (old,), (middle,), (new,) = make_day(2), make_day(3), make_day(4)
    app = make_app()
    async with app.run_test(size=WIDE) as pilot:
        screen = await results(app, pilot)
        await press(app, pilot, "space", "space", "d")
        assert listed(screen) == [old.id]
        assert not new.path.exists()
        assert "2 runs moved to the trash.  u" in said(app)[-1]
        assert not screen.query_one(ComparisonPane).query_one(DataTable).display
        assert "Nothing to compare" in str(screen.query_one("#notes", Static).content)
        await press(app, pilot, "d")  # the one under the cursor
        assert listed(screen) == []
        await press(app, pilot, "u")
        assert listed(screen) == [old.id]
        await press(app, pilot, "u")
        assert listed(screen) == ids([new, middle, old])
        assert new.path.is_dir()
        assert compared(screen)[:1] == ["cpu"]
        await press(app, pilot, "u")
        assert "Nothing was deleted" in said(app)[-1]


async def test_a_run_under_way_is_not_deleted(make_app: MakeApp, make_day: MakeDay) -> None:
    (run,) = make_day(4, kind="running")
    app = make_app()
    async with app.run_test(size=WIDE) as pilot:
        screen = await results(app, pilot)
        await press(app, pilot, "d")
        assert listed(screen) == [run.id]
        assert "still running" in said(app)[-1]
        assert run.path.is_dir()


@pytest.mark.parametrize(
    ("presses", "suffix", "text"),
    [
        (0, ".html", "<!doctype html>"),
        (1, ".md", "| cuda |"),
        (2, ".csv", "run_id,device,step"),
        (3, ".json", '"run_id"'),
        (4, ".svg", "Comparison"),
    ],
)
async def test_the_comparison_is_exported(
    make_app: MakeApp, make_day: MakeDay, home: Path, presses: int, suffix: str, text: str
) -> None:
    make_day(2)
    make_day(4, "cuda")
    app = make_app()
    async with app.run_test(size=WIDE) as pilot:
        await results(app, pilot)
        await press(app, pilot, "x")
        assert isinstance(app.screen, ExportQuestion)
        await press(app, pilot, *["right"] * presses, "enter")
        for _ in range(200):
            if said(app):
                break
            await pilot.pause()
        moment = f"{datetime.fromtimestamp(NOW):%Y%m%d-%H%M%S}"
        (path,) = (home / "exports").iterdir()
        assert path.name == f"comparison-{moment}{suffix}"
        assert said(app) == [str(path)]
        written = path.read_text(encoding="utf-8")
        assert text in written
        assert "Cancel" not in written  # the picture is of the screen, not of the box


async def test_h_writes_the_web_page_at_once(
    make_app: MakeApp, make_day: MakeDay, home: Path
) -> None:
    make_day(4, "cpu,mps")
    app = make_app()
    async with app.run_test(size=WIDE) as pilot:
        await results(app, pilot)
        await press(app, pilot, "h")
        for _ in range(200):
            if said(app):
                break
            await pilot.pause()
        (path,) = (home / "exports").iterdir()
        assert said(app) == [str(path)]
        assert path.read_text(encoding="utf-8").count("<polyline") >= 4


async def test_an_export_can_be_cancelled_and_a_file_in_its_way_is_told(
    make_app: MakeApp, make_day: MakeDay, home: Path
) -> None:
    make_day(4)
    app = make_app()
    async with app.run_test(size=WIDE) as pilot:
        await results(app, pilot)
        await press(app, pilot, "x", "escape")
        assert not (home / "exports").exists()
        (home / "exports").write_text("in the way")
        await press(app, pilot, "x", "enter")
        assert [note.title for note in app._notifications] == ["Not written"]


async def test_the_table_shown_is_copied_with_the_baseline_first(
    make_app: MakeApp, make_day: MakeDay
) -> None:
    make_day(4, "cpu,mps")
    app = make_app()
    async with app.run_test(size=WIDE) as pilot:
        await results(app, pilot)
        await press(app, pilot, "down", "b", "m")
        rows = app.clipboard.splitlines()
        assert rows[0].startswith("| machine |")
        assert "| mps |" in rows[2]
        assert "| cpu |" in rows[3]


async def test_a_run_under_way_grows_in_both_panes_and_the_cursor_stays(
    make_app: MakeApp, make_day: MakeDay
) -> None:
    make_day(2)
    (run,) = make_day(4, "mps", kind="running")
    app = make_app()
    async with app.run_test(size=WIDE) as pilot:
        screen = await results(app, pilot)
        await press(app, pilot, "down")
        assert "training" in line(screen, run)
        with LogWriter(run.events) as log:
            log.append(RunFinished(at=NOW, step=1400))
        app.follow()
        await settled(app, pilot)
        assert "finished" in line(screen, run)
        assert compared(screen, "state")[0] == "finished"
        assert screen.query_one(HistoryTable).cursor_row == 1


async def test_runs_of_another_terminal_appear_when_the_screen_looks_again(
    make_app: MakeApp, make_day: MakeDay
) -> None:
    (known,) = make_day(2)
    app = make_app()
    async with app.run_test(size=WIDE) as pilot:
        screen = await results(app, pilot)
        (fresh,) = make_day(4, "mps", kind="running")
        screen._poll_store()
        await settled(app, pilot)
        assert listed(screen) == ids([fresh, known])
        write_log(fresh, 1, "finished")  # the folder of all runs does not change by this
        screen._poll_store()
        await settled(app, pilot)
        assert "finished" in line(screen, fresh)


async def test_a_summary_that_cannot_be_read_hides_no_run_of_the_session(
    make_app: MakeApp, make_day: MakeDay
) -> None:
    cpu, mps = make_day(4, "cpu,mps")
    (cpu.path / "summary.json").write_text("[]")
    app = make_app()
    async with app.run_test(size=WIDE) as pilot:
        screen = await results(app, pilot)
        assert "unreadable: summary.json" in line(screen, cpu)
        assert compared(screen)[:1] == ["mps"]
        assert "finished" in line(screen, mps)


@pytest.mark.parametrize("size", [(80, 24), (120, 40), (200, 60)])
async def test_the_history_is_the_larger_part_and_every_row_of_the_comparison_is_in_sight(
    make_app: MakeApp, make_day: MakeDay, size: tuple[int, int]
) -> None:
    for day in range(1, 25):
        make_day(day, "cpu,mps")
    app = make_app()
    async with app.run_test(size=size) as pilot:
        screen = await results(app, pilot)
        above, below = screen.query_one(ComparisonPane), screen.query_one(HistoryPane)
        assert below.size.height > above.size.height
        table = above.query_one(DataTable)
        assert table.region.height == 7  # a heading, two runs, four rows of the article
        assert table.region.bottom <= above.content_region.bottom
        await pilot.resize_terminal(100, 30)
        await settled(app, pilot)
        assert headings(screen).index("samples/s") < headings(screen).index("note")

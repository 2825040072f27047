from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
from msgspec.structs import replace
from textual.widgets import DataTable, Log, Static

from mpstui.domain.comparison import HEADINGS
from mpstui.domain.events import (
    DivergenceDetected,
    EvaluationCompleted,
    ProgressStalled,
    RunFinished,
)
from mpstui.domain.growth import MemoryGrowth, MemoryReading
from mpstui.runs.log import LogWriter
from mpstui.runs.rundir import RunDir
from mpstui.ui.app import MpstuiApp
from mpstui.ui.model.inquiry import choose
from mpstui.ui.screens.live import LiveScreen
from mpstui.ui.widgets.run_panel import RunPanel

from tests.ui.conftest import NOW, PARTED  # isort: skip
from tests.ui.test_snapshots import until  # isort: skip

MakeApp = Callable[..., MpstuiApp]
MakeRuns = Callable[..., list[RunDir]]


MODES = {"1": "doctor", "3": "live", "4": "results"}


async def show(app: MpstuiApp, pilot: Any, key: str = "3") -> None:
    await app.workers.wait_for_complete()
    await pilot.press(key)
    for _ in range(200):  # until the screen is up and its panels have looked at their runs
        await pilot.pause()
        panels = app.screen.query(RunPanel)
        ready = all(panel.border_subtitle for panel in panels)
        shown = key != "3" or bool(panels) or app.screen.has_class("-empty")
        if app.current_mode == MODES[key] and ready and shown:
            break
    await pilot.pause()


def numbers(app: MpstuiApp, place: int) -> str:
    return str(list(app.screen.query("#numbers").results(Static))[place].content)


async def test_without_runs_live_and_results_say_what_to_press(make_app: MakeApp) -> None:
    app = make_app()
    async with app.run_test(size=(120, 40)) as pilot:
        await show(app, pilot)
        assert app.screen.has_class("-empty")
        await show(app, pilot, "4")
        assert "n" in str(app.screen.query_one("#notes", Static).content)


async def test_a_panel_for_each_run_with_its_numbers(
    make_app: MakeApp, make_runs: MakeRuns
) -> None:
    make_runs()
    app = make_app()
    async with app.run_test(size=(120, 40)) as pilot:
        await show(app, pilot)
        panels = list(app.screen.query(RunPanel))
        assert [panel.border_title for panel in panels] == ["cpu", "mps"]
        assert "700/3752" in numbers(app, 0)
        assert "98.50%" in numbers(app, 1)
        assert any(
            "Train Epoch: 1 [640/60000 (1%)]" in line for line in app.screen.query_one(Log).lines
        )
        assert "412 MB" in str(app.screen.query_one("SystemStrip", Static).content)


@pytest.mark.parametrize(
    ("kind", "mark", "words"),
    [
        ("paused", "-paused", "paused"),
        ("diverged", "-diverged", "✗ not finite at step 601"),
        ("crashed", "-bad", "crashed"),
    ],
)
async def test_how_a_run_stands_is_on_its_border(
    make_app: MakeApp, make_runs: MakeRuns, kind: str, mark: str, words: str
) -> None:
    make_runs(kind=kind)
    app = make_app()
    async with app.run_test(size=(120, 40)) as pilot:
        await show(app, pilot)
        first, second = app.screen.query(RunPanel)
        assert second.has_class(mark)
        assert not first.has_class(mark)
        assert words in str(second.border_subtitle)
        assert second.border_title == ("mps · training" if kind == "diverged" else "mps")


async def test_a_crash_shows_the_signal_and_the_workers_last_words(
    make_app: MakeApp, make_runs: MakeRuns
) -> None:
    make_runs(kind="crashed")
    app = make_app()
    async with app.run_test(size=(120, 40)) as pilot:
        await show(app, pilot)
        assert "SIGABRT" in numbers(app, 1)
        assert "failed assertion" in numbers(app, 1)


async def test_space_pauses_all_and_then_resumes(make_app: MakeApp, make_runs: MakeRuns) -> None:
    runs = make_runs()
    app = make_app()
    async with app.run_test(size=(120, 40)) as pilot:
        await show(app, pilot)
        await pilot.press("space")
        assert [run.request() for run in runs] == ["pause", "pause"]
        await pilot.press("space")
        assert [run.request() for run in runs] == ["run", "run"]


async def test_s_stops_and_k_kills_only_after_a_question(
    make_app: MakeApp, make_runs: MakeRuns
) -> None:
    runs = make_runs()
    app = make_app()
    async with app.run_test(size=(120, 40)) as pilot:
        await show(app, pilot)
        await pilot.press("k")
        await pilot.pause()
        await pilot.press("escape")
        await pilot.pause()
        assert [run.request() for run in runs] == ["run", "run"]
        await pilot.press("s")
        assert [run.request() for run in runs] == ["stop", "stop"]
        await pilot.press("k")
        await pilot.pause()
        await pilot.click("#kill")
        await pilot.pause()
        assert [run.request() for run in runs] == ["kill", "kill"]


async def test_leaving_the_screen_asks_nothing_of_the_runs(
    make_app: MakeApp, make_runs: MakeRuns
) -> None:
    runs = make_runs()
    app = make_app()
    async with app.run_test(size=(120, 40)) as pilot:
        await show(app, pilot)
        await show(app, pilot, "1")
        assert [run.request() for run in runs] == ["run", "run"]


@pytest.mark.parametrize(
    ("answer", "expected", "ended"),
    [("cancel", "run", False), ("leave", "run", True), ("stop", "stop", True)],
)
async def test_quitting_asks_while_runs_are_under_way(
    make_app: MakeApp, make_runs: MakeRuns, answer: str, expected: str, ended: bool
) -> None:
    runs = make_runs()
    app = make_app()
    async with app.run_test(size=(120, 40)) as pilot:
        await show(app, pilot)
        await pilot.press("q")
        await pilot.pause()
        await pilot.click(f"#{answer}")
        await pilot.pause()
        assert (not app.is_running or app._exit) is ended
    assert [run.request() for run in runs] == [expected, expected]


@pytest.mark.parametrize(
    ("answer", "requests", "ended"),
    [("cancel", ["pause", "run"], False), ("leave", ["run", "run"], True)],
)
async def test_a_paused_run_is_not_left_waiting_for_nobody(
    make_app: MakeApp, make_runs: MakeRuns, answer: str, requests: list[str], ended: bool
) -> None:
    runs = make_runs()
    app = make_app()
    async with app.run_test(size=(120, 40)) as pilot:
        await show(app, pilot)
        runs[0].write_request("pause")
        await pilot.press("q")
        await pilot.pause()
        box = app.screen.query_one("Vertical")
        assert box.border_title == "1 of 2 are paused"
        assert "mpstui watch" in str(box.query_one(Static).content)
        await pilot.click(f"#{answer}")
        await pilot.pause()
        assert (not app.is_running or app._exit) is ended
    assert [run.request() for run in runs] == requests


async def test_quitting_without_runs_just_quits(make_app: MakeApp) -> None:
    app = make_app()
    async with app.run_test(size=(120, 40)) as pilot:
        await app.workers.wait_for_complete()
        await pilot.press("q")
        await pilot.pause()
        assert app._exit


async def test_results_show_the_runs_and_the_articles_rows(
    make_app: MakeApp, make_runs: MakeRuns
) -> None:
    make_runs(kind="finished")
    app = make_app()
    async with app.run_test(size=(160, 50)) as pilot:
        await show(app, pilot, "4")
        table = app.screen.query_one(DataTable)
        cells = [[str(cell).strip() for cell in table.get_row_at(row)] for row in range(6)]
        speed = HEADINGS.index("speed-up")
        assert [row[speed] for row in cells[:2]] == ["—", "—"]  # the cpu run has no whole epoch
        assert [row[speed] for row in cells[2:]] == ["1.00×", "1.70×", "1.00×", "1.67×"]
        assert "as published" in str(app.screen.query_one("#notes", Static).content)


@pytest.mark.parametrize("file", ["exit.json", "supervisor.json"])
async def test_a_damaged_file_of_the_newest_run_does_not_end_the_app(
    make_app: MakeApp, make_runs: MakeRuns, file: str
) -> None:
    runs = make_runs()
    (runs[-1].path / file).write_text("{")
    app = make_app()
    async with app.run_test(size=(120, 40)) as pilot:
        await app.workers.wait_for_complete()
        await pilot.press("3")
        for _ in range(10):
            await pilot.pause()
        assert app.is_running
        assert app.current_mode == "live"


def warnings(app: MpstuiApp, place: int) -> str:
    return str(list(app.screen.query("#warnings").results(Static))[place].content)


async def test_a_panel_says_what_is_known_of_an_alarm_and_of_memory_that_grows(
    make_app: MakeApp, make_runs: MakeRuns
) -> None:
    make_runs(kind="parted")
    app = make_app()
    async with app.run_test(size=(120, 40)) as pilot:
        await show(app, pilot)
        assert warnings(app, 0) == ""
        assert warnings(app, 1) == "▲ step 420: 2.9000, cpu 0.1500"
        first = app.screen.query(RunPanel).first()
        history = first.view.history
        history.memory_growth = MemoryGrowth(
            "worker", MemoryReading(10, 300 << 20), MemoryReading(90, 2 << 30), 2e7
        )
        history.revision += 1
        first.sync(0.0)
        await pilot.pause()
        assert "worker memory grows 19 MB a step since step 10" in warnings(app, 0)
        assert first.query_one("#warnings").display


async def test_the_result_of_a_comparison_is_offered_when_all_runs_are_over(
    make_app: MakeApp, make_runs: MakeRuns
) -> None:
    runs = make_runs()
    app = make_app()
    async with app.run_test(size=(120, 40)) as pilot:
        await show(app, pilot)
        line = app.screen.query_one("#outcome", Static)
        assert not line.display
        await pilot.press("enter")  # not offered yet
        assert app.current_mode == "live"
        for run in runs:
            with LogWriter(run.events) as log:
                log.append(RunFinished(at=NOW, step=1400))
        app.follow()
        await until(pilot, lambda: line.display)
        # The run on cpu has no whole epoch: no number is made up.
        assert str(line.content) == "mps against cpu: — (cpu has no whole epoch) · enter: results"
        await pilot.press("enter")
        assert app.current_mode == "results"


async def test_an_alarm_rings_once_and_stands_in_the_title_until_it_is_seen(
    make_app: MakeApp, make_runs: MakeRuns, monkeypatch: pytest.MonkeyPatch
) -> None:
    runs = make_runs()
    app = make_app()
    rings: list[None] = []
    written: list[str] = []
    monkeypatch.setattr(app, "bell", lambda: rings.append(None))
    monkeypatch.setattr(app.alarm_bell, "_write", written.append)
    async with app.run_test(size=(120, 40)) as pilot:
        await show(app, pilot)
        await show(app, pilot, "1")
        app.follow()
        assert (rings, written) == ([], [])
        with LogWriter(runs[1].events) as log:
            log.append(PARTED)
        app.follow()
        assert len(rings) == 1
        assert written[-1].endswith("\x1b]2;mpstui: mps diverged from cpu at step 420\x07")
        with LogWriter(runs[1].events) as log:
            log.append(DivergenceDetected(at=NOW, step=601, value="nan", last_finite=1.0))
        app.follow()
        await pilot.press("tab")  # on another screen: it was not seen
        assert (len(rings), len(written)) == (1, 1)
        await show(app, pilot)
        await pilot.press("a")
        assert len(written) == 2
        assert written[-1].endswith("\x1b[23;2t")


async def test_old_alarms_and_terminals_that_are_none_stay_silent(
    make_app: MakeApp, make_runs: MakeRuns, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_runs(kind="parted")
    app = make_app()
    rings: list[None] = []
    monkeypatch.setattr(app, "bell", lambda: rings.append(None))
    async with app.run_test(size=(120, 40)) as pilot:
        await show(app, pilot)
        app.follow()
        assert rings == []
        assert app._driver is not None
        monkeypatch.setattr(app._driver, "write", lambda text: pytest.fail(text))
        app.alarm_bell.ring("words")
        app.alarm_bell.clear()
        assert len(rings) == 1


def step_checks(app: MpstuiApp) -> list[str]:
    return [str(line.content) for line in app.screen.query("#checked").results(Static)]


@pytest.mark.parametrize(
    ("kind", "size", "line"),
    [
        ("running", (120, 40), "step agrees with cpu: loss 2e-7, gradients 4e-7"),
        ("running", (80, 24), "agrees: loss 2e-7, gradients 4e-7"),
        (
            "differs",
            (200, 60),
            "✗ step differs from cpu: gradients 0.12, worst fc4.weight — i: investigate",
        ),
        ("differs", (80, 24), "✗ gradients 0.12, worst fc4.weight"),
    ],
)
async def test_a_panel_says_how_a_step_compares_with_the_cpu(
    make_app: MakeApp, make_runs: MakeRuns, kind: str, size: tuple[int, int], line: str
) -> None:
    runs = make_runs(kind=kind)
    app = make_app()
    async with app.run_test(size=size) as pilot:
        await show(app, pilot)
        # Which words fit is known once the panels have their sizes.
        lines = ["step not checked: this is the cpu", line]
        await until(pilot, lambda: step_checks(app) == lines)
        panels = list(app.screen.query(RunPanel))
        failed = kind == "differs"
        assert panels[1].has_class("-diverged") is failed
        assert ("✗ step differs" in str(panels[1].border_subtitle)) is failed
        chosen = choose([panel.view for panel in panels])
        assert chosen is not None and chosen.run.id == runs[1].id


async def test_a_comparison_without_step_checks_has_no_line_for_them(
    make_app: MakeApp, make_runs: MakeRuns
) -> None:
    for run in make_runs():
        run.write_config(replace(run.config(), step_check="off"))
    app = make_app()
    async with app.run_test(size=(120, 40)) as pilot:
        await show(app, pilot)
        assert not any(line.display for line in app.screen.query("#checked"))


async def test_other_runs_can_be_drawn_while_their_panels_are_made(
    make_app: MakeApp, make_runs: MakeRuns
) -> None:
    (first, second) = make_runs()
    app = make_app()
    async with app.run_test(size=(120, 40)) as pilot:
        await show(app, pilot)
        for run in (first, second, first):
            app.state.put_on_screen([run])
            screen = app.screen
            assert isinstance(screen, LiveScreen)
            await asyncio.gather(screen.sync(), screen.sync(), screen.sync())
            for _ in range(200):  # until the panels of the last session are there
                await pilot.pause()
                shown = [panel.view.run.id for panel in screen.query(RunPanel)]
                if shown == [run.id]:
                    break
            assert shown == [run.id]


@pytest.mark.parametrize(
    ("width", "row"),
    [
        (120, "taken for real   0.9000  overlap   0.2500  recall   0.5000"),
        (80, "taken for …   0.9000"),
    ],
)
async def test_a_panel_lists_as_many_of_the_users_scores_as_fit(
    make_app: MakeApp, make_runs: MakeRuns, width: int, row: str
) -> None:
    (run, _) = make_runs()
    scores: dict[str, float | None] = {"taken for real": 0.9, "overlap": 0.25, "recall": 0.5}
    test = EvaluationCompleted(
        at=NOW, epoch=1, step=700, loss=0.1, samples=9, correct=None, seconds=1.0, metrics=scores
    )
    with LogWriter(run.events) as log:
        log.append(test)
    app = make_app()
    async with app.run_test(size=(width, 40)) as pilot:
        await show(app, pilot)
        if width == 120:
            app.state.put_on_screen([run])
        await until(pilot, lambda: numbers(app, 0).splitlines()[-1].endswith(row))


async def test_the_step_of_a_silent_run_is_in_sight_on_a_narrow_screen(
    make_app: MakeApp, make_runs: MakeRuns
) -> None:
    make_runs()
    app = make_app()
    app.state.wall_clock = lambda: NOW + 3600.0
    async with app.run_test(size=(80, 24)) as pilot:
        await show(app, pilot)
        line = app.screen.query("#warnings").first(Static)
        await until(pilot, lambda: line.size.width > 0)
        assert str(line.content) == "! no word since 1:00 (step 700)"
        assert len(str(line.content)) <= line.content_size.width


async def test_a_silent_run_says_since_when_and_a_stalled_one_where(
    make_app: MakeApp, make_runs: MakeRuns
) -> None:
    runs, app = make_runs(), make_app()
    async with app.run_test(size=(120, 40)) as pilot:
        await show(app, pilot)

        def warnings() -> list[str]:
            return [str(line.content) for line in app.screen.query("#warnings").results(Static)]

        assert not any("no word" in line for line in warnings())
        app.state.wall_clock = lambda: NOW + 3600.0
        await until(pilot, lambda: all("no word from the worker" in line for line in warnings()))
        stall = ProgressStalled(at=NOW + 3600.0, step=9, seconds=40.0, place="a.py:3, in objective")
        with LogWriter(runs[0].events) as log:
            log.append(stall)
        await until(pilot, lambda: "a.py:3, in objective" in warnings()[0])
        assert "no progress since" in warnings()[0]
        assert "no word from the worker" in warnings()[1]

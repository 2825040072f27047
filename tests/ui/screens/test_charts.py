"""The Live charts by keys and mouse: overlay, axis, log y, smoothing, zoom, crosshair, choice."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from textual.widgets import SelectionList

from mpstui.runs.rundir import RunDir
from mpstui.ui.app import MpstuiApp
from mpstui.ui.charts.figures import Axis, RunSeries
from mpstui.ui.charts.overlay import GapStrip, Overlay
from mpstui.ui.charts.view_state import AXES, ViewState, load_view
from mpstui.ui.charts.widget import Chart
from mpstui.ui.screens.live import LiveScreen
from mpstui.ui.widgets.run_panel import RunPanel

from tests.ui.painted import repainted, rows  # isort: skip
from tests.ui.screens.test_live import show  # isort: skip

MakeApp = Callable[..., MpstuiApp]
MakeRuns = Callable[..., list[RunDir]]


def live(app: MpstuiApp) -> LiveScreen:
    screen = app.screen
    assert isinstance(screen, LiveScreen)
    return screen


def loss_charts(app: MpstuiApp) -> list[Chart]:
    return list(app.screen.query("#loss").results(Chart))


async def press(pilot: Any, *keys: str) -> None:
    """Press keys, and wait until what they ask for is drawn."""
    await pilot.press(*keys)
    for _ in range(4):
        await pilot.pause()
    for _ in range(400):
        screen = pilot.app.screen
        if not isinstance(screen, LiveScreen):
            return
        if screen._drawing_key and screen._drawing_key[1] == screen._view:
            break
        await pilot.pause(0.01)
    await pilot.pause()


async def test_overlay_puts_all_runs_into_one_chart_and_back(
    make_app: MakeApp, make_runs: MakeRuns
) -> None:
    make_runs()
    app = make_app()
    async with app.run_test(size=(120, 40)) as pilot:
        await show(app, pilot)
        await press(pilot, "o")
        together = app.screen.query_one(Overlay).query_one("#loss", Chart)
        assert app.screen.query_one(Overlay).display
        assert together._figure is not None
        assert {line.style for line in together._figure.lines} == {"series-1", "series-2"}
        await press(pilot, "o")
        assert app.screen.query_one(Overlay).styles.display != "block"
        assert [chart._figure is not None for chart in loss_charts(app)[:2]] == [True, True]


async def test_axis_log_and_smoothing_reach_every_chart_and_are_remembered(
    make_app: MakeApp, make_runs: MakeRuns, home: Path
) -> None:
    make_runs()
    app = make_app()
    async with app.run_test(size=(120, 40)) as pilot:
        await show(app, pilot)
        await press(pilot, "x", "y", "m")
        for panel in app.screen.query(RunPanel):
            figure = panel.charts.query_one("#loss", Chart)._figure
            assert figure is not None
            assert figure.log_y
            assert figure.x_limits == (0.0, 1400 * 64.0)
            assert figure.lines[0].style == "faint"
    kept = load_view(home / "view.json")
    assert (kept.axis, kept.log_y, kept.smoothing) == ("samples", "on", 0.6)
    again = make_app()
    async with again.run_test(size=(120, 40)) as pilot:
        await show(again, pilot)
        assert live(again)._view.axis == "samples"


async def test_the_crosshair_shows_the_same_step_in_every_chart(
    make_app: MakeApp, make_runs: MakeRuns
) -> None:
    make_runs()
    app = make_app()
    async with app.run_test(size=(120, 40)) as pilot:
        await show(app, pilot)
        await press(pilot, "c", "left")
        cursor = live(app)._view.cursor
        assert cursor is not None
        for panel in app.screen.query(RunPanel):
            for name in ("#loss", "#throughput"):
                chart = panel.charts.query_one(name, Chart)
                assert f"at step {cursor:,.0f}" in chart.readout
                assert chart._figure is not None
                assert cursor in [mark.x for mark in chart._figure.marks]
        await press(pilot, "c")
        assert live(app)._view.cursor is None


async def test_keys_and_wheel_zoom_and_0_shows_everything(
    make_app: MakeApp, make_runs: MakeRuns
) -> None:
    make_runs()
    app = make_app()
    async with app.run_test(size=(120, 40)) as pilot:
        await show(app, pilot)
        await press(pilot, "plus")
        assert live(app)._view.visible_range((0.0, 1400.0)) == (700.0, 1400.0)
        chart = loss_charts(app)[0]
        chart.post_message(Chart.Zoomed(True, 0.0))
        await press(pilot)
        assert live(app)._view.visible_range((0.0, 1400.0)) == (700.0, 1050.0)
        await press(pilot, "right")
        assert live(app)._view.visible_range((0.0, 1400.0))[0] > 700.0
        await press(pilot, "0")
        assert live(app)._view == ViewState()


async def test_a_click_puts_the_crosshair_there(make_app: MakeApp, make_runs: MakeRuns) -> None:
    make_runs()
    app = make_app()
    async with app.run_test(size=(120, 40)) as pilot:
        await show(app, pilot)
        chart = loss_charts(app)[0]
        await pilot.click(chart, offset=(chart.size.width - 1, 2))
        await press(pilot)
        cursor = live(app)._view.cursor
        assert cursor is not None
        assert cursor > 1300


async def test_following_goes_on_and_off(make_app: MakeApp, make_runs: MakeRuns) -> None:
    make_runs()
    app = make_app()
    async with app.run_test(size=(120, 40)) as pilot:
        await show(app, pilot)
        await press(pilot, "plus", "f")
        assert live(app)._view.visible_range((0.0, 2800.0)) == (700.0, 1400.0)
        await press(pilot, "f")
        assert live(app)._view.visible_range((0.0, 2800.0)) == (2100.0, 2800.0)


async def test_charts_are_chosen_from_a_list(make_app: MakeApp, make_runs: MakeRuns) -> None:
    make_runs()
    app = make_app()
    async with app.run_test(size=(120, 50)) as pilot:
        await show(app, pilot)
        await press(pilot, "t")
        listed = app.screen.query_one(SelectionList)
        listed.select("accuracy")
        listed.deselect("throughput")
        await press(pilot, "enter")
        assert live(app)._view.charts == ("loss", "accuracy")
        shown = [chart.id for chart in app.screen.query(RunPanel)[1].query(Chart) if chart.display]
        assert shown == ["loss", "accuracy"]


async def test_a_run_that_left_the_course_shows_it_on_its_panel_and_in_the_gap(
    make_app: MakeApp, make_runs: MakeRuns
) -> None:
    make_runs(kind="parted")
    app = make_app()
    async with app.run_test(size=(160, 50)) as pilot:
        await show(app, pilot)
        await press(pilot)
        panel = list(app.screen.query(RunPanel))[1]
        assert panel.has_class("-diverged")
        assert "▲ diverged from cpu at step 420" in str(panel.border_subtitle)
        gap = app.screen.query_one(GapStrip)
        assert gap.display
        assert "diverged at step 420" in gap.readout


async def test_runs_on_one_course_have_a_gap_within_bounds(
    make_app: MakeApp, make_runs: MakeRuns
) -> None:
    make_runs()
    app = make_app()
    async with app.run_test(size=(160, 50)) as pilot:
        await show(app, pilot)
        await press(pilot)
        assert "within bounds" in app.screen.query_one(GapStrip).readout
        assert not any(panel.has_class("-diverged") for panel in app.screen.query(RunPanel))


async def test_runs_of_other_settings_have_no_gap(make_app: MakeApp, make_runs: MakeRuns) -> None:
    make_runs(devices="mps@set.lr=0.1,mps@set.lr=0.2")
    app = make_app()
    async with app.run_test(size=(160, 50)) as pilot:
        await show(app, pilot)
        await press(pilot)
        titles = [str(panel.border_title) for panel in app.screen.query(RunPanel)]
        assert titles == ["mps lr=0.1", "mps lr=0.2"]
        assert not app.screen.query_one(GapStrip).display


async def test_each_run_has_the_gap_to_the_first_run_of_its_settings(
    make_app: MakeApp, make_runs: MakeRuns
) -> None:
    make_runs(devices="cpu@set.lr=0.1,mps@set.lr=0.1,cpu@set.lr=0.2,mps@set.lr=0.2")
    app = make_app()
    async with app.run_test(size=(160, 50)) as pilot:
        await show(app, pilot)
        await press(pilot)
        gap = app.screen.query_one(GapStrip)
        assert gap.display
        words = [word.strip() for word in gap.readout.split("within bounds")]
        assert "mps lr=0.1" in words[0] and "mps lr=0.2" in words[1]
        assert "cpu" not in gap.readout


async def test_tab_goes_from_panel_to_panel(make_app: MakeApp, make_runs: MakeRuns) -> None:
    make_runs()
    app = make_app()
    async with app.run_test(size=(120, 40)) as pilot:
        await show(app, pilot)
        panels = list(app.screen.query(RunPanel))
        panels[0].focus()
        await press(pilot, "tab")
        assert panels[1].has_focus


def displayed(app: MpstuiApp) -> list[str]:
    return [
        chart.id or "gap"
        for chart in app.screen.query(Chart)
        if chart.region.area and all(node.display for node in chart.ancestors_with_self)
    ]


async def test_a_chart_takes_the_whole_screen_and_gives_it_back(
    make_app: MakeApp, make_runs: MakeRuns, home: Path
) -> None:
    make_runs()
    app = make_app()
    async with app.run_test(size=(120, 40)) as pilot:
        await show(app, pilot)
        await press(pilot)
        before = displayed(app)
        assert before == ["loss", "throughput"] * 2 + ["gap"]
        await press(pilot, "z")
        assert displayed(app) == ["loss"]
        chart = app.screen.query_one(Overlay).query_one("#loss", Chart)
        assert chart.size.width > 100
        assert chart.size.height > 28
        assert chart._figure is not None
        assert {line.style for line in chart._figure.lines} == {"series-1", "series-2"}
        await press(pilot, "down")
        assert displayed(app) == ["throughput"]
        assert load_view(home / "view.json").enlarged == "throughput"
        await press(pilot, "z")
        assert displayed(app) == before
        await pilot.click(loss_charts(app)[0], times=2)
        await press(pilot)
        assert displayed(app) == ["loss"]


async def test_panes_are_hidden_by_key_and_stay_hidden(
    make_app: MakeApp, make_runs: MakeRuns
) -> None:
    make_runs()
    app = make_app()
    async with app.run_test(size=(120, 60)) as pilot:
        await show(app, pilot)
        await press(pilot)
        height = loss_charts(app)[0].size.height
        assert displayed(app)[-1] == "gap"
        await press(pilot, "l", "h", "g")
        assert not app.screen.query_one("Log").display
        assert not app.screen.query_one("SystemStrip").display
        assert displayed(app)[-1] == "throughput"
        assert loss_charts(app)[0].size.height > height + 5
    again = make_app()
    async with again.run_test(size=(120, 60)) as pilot:
        await show(again, pilot)
        assert not again.screen.query_one("Log").display
        await press(pilot, "l")
        assert again.screen.query_one("Log").display


@pytest.mark.parametrize("axis", ["step", "samples", "time"])
async def test_a_goes_to_the_step_of_the_alarm(
    make_app: MakeApp, make_runs: MakeRuns, axis: str
) -> None:
    make_runs(kind="parted")
    app = make_app()
    async with app.run_test(size=(120, 40)) as pilot:
        await show(app, pilot)
        await press(pilot, *["x"] * AXES.index(axis), "plus", "plus")  # the newest quarter
        await press(pilot, "a")
        view = live(app)._view
        assert view.cursor is not None
        low, high = view.visible_range(live(app)._full_x)
        assert low <= view.cursor <= high < live(app)._full_x[1]
        history = list(app.screen.query(RunPanel))[1].view.history
        subject = RunSeries(history, 64, "")
        assert Axis(subject, axis).step_at(view.cursor) == 420
        assert "2.9" in loss_charts(app)[1].readout


async def test_without_an_alarm_the_key_is_not_offered(
    make_app: MakeApp, make_runs: MakeRuns
) -> None:
    make_runs()
    app = make_app()
    async with app.run_test(size=(120, 40)) as pilot:
        await show(app, pilot)
        await press(pilot, "a")
        assert live(app)._view.cursor is None
        assert "alarm" not in {key.action for key in app.screen.query("FooterKey")}  # type: ignore[attr-defined]


@pytest.mark.parametrize("size", [(80, 24), (120, 40), (200, 60)])
async def test_what_is_painted_equals_a_full_repaint(
    make_app: MakeApp, make_runs: MakeRuns, size: tuple[int, int]
) -> None:
    make_runs("vae", kind="diverged")
    app = make_app()
    async with app.run_test(size=size) as pilot:
        await show(app, pilot)
        for key in ("c", "left", "y", "m", "o", "plus", "a", "z", "right", "z", "o", "x", "0", "l"):
            await press(pilot, key)
            assert rows(app) == repainted(app), key

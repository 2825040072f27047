"""Live, with runs of a script: constructed logs, and output as a script writes it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from textual.widgets import Log, SelectionList, Static

from mpstui.domain.events import AnyEvent, RanksDiffered
from mpstui.runs.rundir import RunDir
from mpstui.runs.store import RunStore
from mpstui.ui.app import MpstuiApp
from mpstui.ui.screens.charts_dialog import ChartsDialog
from mpstui.ui.widgets.rank_strip import RankStrip
from mpstui.ui.widgets.run_panel import RunPanel
from tests.builders.scripts import finished, script_events, script_runs

from tests.ui.conftest import M2, NOW  # isort: skip
from tests.ui.screens.test_live import numbers, show  # isort: skip
from tests.ui.test_snapshots import until  # isort: skip

MakeApp = Callable[..., MpstuiApp]
START = NOW - 60


def runs(
    home: Path, *logs: Sequence[AnyEvent], devices: str = "mps", ranks: int = 1
) -> list[RunDir]:
    return script_runs(RunStore(home / "runs"), M2, logs, devices, ranks)


async def test_a_script_has_its_name_its_numbers_and_its_output(
    make_app: MakeApp, home: Path
) -> None:
    (run,) = runs(home, script_events(START))
    run.worker_log.write_text("epoch 0 done\n\r10 %\r20 %", newline="")
    app = make_app()
    async with app.run_test(size=(120, 40)) as pilot:
        await show(app, pilot)
        (panel,) = app.screen.query(RunPanel)
        assert panel.border_title == "train.py · mps"
        text = numbers(app, 0)
        assert "400" in text
        assert "data wait" in text
        assert "60% of epoch 2" in str(app.screen.query_one("#progress-text", Static).content)
        lines = list(app.screen.query_one(Log).lines)
        assert "epoch 0 done" in lines
        assert not any(line.startswith("epoch 1  step") for line in lines)
        assert str(app.screen.query_one("#unfinished", Static).content) == "20 %"
        with run.worker_log.open("a") as output:
            output.write("\n[/b] done\n")
        await until(pilot, lambda: "[/b] done" in app.screen.query_one(Log).lines)
        assert not app.screen.query_one("#unfinished").display


async def test_a_script_that_is_over_has_a_diagnosis(make_app: MakeApp, home: Path) -> None:
    runs(home, finished(script_events(START)))
    app = make_app()
    async with app.run_test(size=(120, 40)) as pilot:
        await show(app, pilot)
        outcome = str(app.screen.query_one("#outcome", Static).content)
        assert outcome.startswith("healthy: data 7%, forward 29%")


async def test_the_series_of_a_script_can_be_shown_as_charts(make_app: MakeApp, home: Path) -> None:
    runs(home, script_events(START, optimizers=("Generator", "Critic")))
    app = make_app()
    async with app.run_test(size=(120, 40)) as pilot:
        await show(app, pilot)
        await pilot.press("t")
        await until(pilot, lambda: isinstance(app.screen, ChartsDialog))
        selection: SelectionList[str] = app.screen.query_one(SelectionList)
        names = [str(option.prompt) for option in selection._options]
        assert {"loss_Critic", "accuracy"} <= set(names)
        selection.select("loss_Critic")
        await pilot.press("enter")
        await until(pilot, lambda: not isinstance(app.screen, ChartsDialog))
        panel = app.screen.query_one(RunPanel)
        await until(pilot, lambda: "loss_Critic" in panel.charts._charts)
        assert panel.charts.of("loss_Critic").display


async def test_another_start_is_said_and_raises_no_alarm(make_app: MakeApp, home: Path) -> None:
    runs(
        home,
        script_events(START, device="cpu"),
        script_events(START, weights="c3"),
        devices="cpu,mps",
    )
    app = make_app()
    async with app.run_test(size=(120, 40)) as pilot:
        await show(app, pilot)
        first, second = app.screen.query(RunPanel)
        warnings = [str(panel.query_one("#warnings", Static).content) for panel in (first, second)]
        assert warnings == ["", "! not the same start: first weights differ"]


async def test_ranks_have_one_panel_and_a_strip(make_app: MakeApp, home: Path) -> None:
    alarm = RanksDiffered(at=START + 5, step=100, rank=1, agreed_at=10)
    first = [*script_events(START, device="cuda:0"), alarm]
    second = script_events(START, steps=390, device="cuda:1", slowness=0.007)
    runs(home, first, second, ranks=2)
    app = make_app()
    async with app.run_test(size=(120, 40)) as pilot:
        await show(app, pilot)
        (panel,) = app.screen.query(RunPanel)
        text = "rank 1 has other parameters than rank 0 at step 100, equal at step 10"
        assert text in str(panel.border_subtitle)
        strip = str(app.screen.query_one(RankStrip).content)
        assert "rank 1  step 390" in strip
        assert "2 ranks  slowest: rank 1, 33% of a step behind the fastest" in strip


def test_the_keys_of_a_panel_reach_all_ranks(home: Path) -> None:
    from mpstui.ui.model.session import RunSession

    ranks = runs(home, script_events(START), script_events(START), ranks=2)
    session = RunSession(ranks)
    session.refresh()
    session.send_request("stop")
    assert [run.request() for run in ranks] == ["stop", "stop"]
    assert [view.run.id for view in session.shown_views] == [ranks[0].id]

"""The main job, driven by keys: configure, train for real in worker processes, watch, results."""

from __future__ import annotations

import time
from pathlib import Path

from textual.widgets import DataTable, Input, Log, Select

from mpstui.ui.app import MpstuiApp
from mpstui.ui.widgets.run_panel import RunPanel

from tests.ui.conftest import LINUX, ConstructedProbes  # isort: skip

PATIENCE_SECONDS = 600


async def test_from_the_form_to_the_table(home: Path) -> None:
    app = MpstuiApp(probes=ConstructedProbes(LINUX, mps=False), runs_dir=home / "runs")
    async with app.run_test(size=(120, 40)) as pilot:
        await app.workers.wait_for_complete()
        await pilot.press("2")
        await pilot.pause()
        app.screen.query_one("#devices", Input).value = "cpu@threads=1,cpu"
        app.screen.query_one("#dataset", Select).value = "embedded"
        app.screen.query_one("#steps", Input).value = "30"
        app.screen.query_one("#batch_size", Input).value = "32"
        await pilot.pause()
        await pilot.press("ctrl+r")
        await pilot.pause()
        assert app.current_mode == "live"
        assert app.state.session is not None

        deadline = time.monotonic() + PATIENCE_SECONDS
        while app.state.session.live and time.monotonic() < deadline:
            await pilot.pause(0.1)
        await pilot.pause(0.6)  # two looks of the app at the logs
        assert [view.history.state.value for view in app.state.session.views] == ["finished"] * 2
        first, second = (view.history for view in app.state.session.views)
        assert first.step == second.step == 30
        assert len(app.screen.query(RunPanel)) == 2
        lines = app.screen.query_one(Log).lines
        assert any(line.startswith("cpu@threads=1  Train Epoch: 1 [320/60000") for line in lines)
        assert any("time_cost" in line for line in lines)

        await pilot.press("4")
        await pilot.pause()
        table = app.screen.query_one(DataTable)
        assert [str(table.get_row_at(row)[2]).strip() for row in (0, 1)] == ["cpu@threads=1", "cpu"]
        assert str(table.get_row_at(0)[5]).strip() == "1.00×"
        assert str(table.get_row_at(1)[5]).strip().endswith("×")
    for view in app.state.session.views:
        assert view.run.summary() is not None

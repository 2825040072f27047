"""The app on the simulated device: a comparison of cpu and mps, from the form to the results."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
from textual.pilot import Pilot
from textual.widgets import DataTable, Input, Select

from mpstui.domain.events import SystemSampled
from mpstui.runs.log import LogReader
from mpstui.ui.app import MpstuiApp

from .conftest import LIMIT_SECONDS, Simulate

pytestmark = pytest.mark.slow


async def finish(pilot: Pilot[None], app: MpstuiApp) -> None:
    """Wait until the runs of the app's session are over."""
    deadline = time.monotonic() + LIMIT_SECONDS
    while app.state.session is None or app.state.session.live:
        assert time.monotonic() < deadline
        await pilot.pause(0.1)
    app.follow()


@pytest.mark.parametrize("mode", ["turns", "together"])
async def test_both_devices_train_side_by_side(
    simulate: Simulate, tmp_path: Path, mode: str
) -> None:
    simulate()
    app = MpstuiApp(runs_dir=tmp_path / "runs")
    async with app.run_test(size=(120, 40)) as pilot:
        await app.workers.wait_for_complete()  # the doctor's own probes, on the device too
        assert app.state.facts is not None
        assert app.state.facts.default_devices() == ("cpu", "mps")
        await pilot.press("2")
        await pilot.pause()
        screen = app.screen
        screen.query_one("#workload", Select).value = "vae"
        await pilot.pause()
        screen.query_one("#devices", Input).value = "cpu,mps"
        screen.query_one("#dataset", Select).value = "embedded"
        screen.query_one("#mode", Select).value = mode
        screen.query_one("#steps", Input).value = "40"
        await pilot.pause()
        await pilot.press("ctrl+r")
        await finish(pilot, app)
        assert app.state.session is not None
        histories = [view.history for view in app.state.session.views]
        assert [history.state.value for history in histories] == ["finished"] * 2
        assert [history.alarm for history in histories] == [None] * 2
        assert histories[1].started is not None
        assert "Simulated" in histories[1].started.device_name
        await pilot.press("4")
        await pilot.pause()
        table = app.screen.query_one(DataTable)
        devices = [str(table.get_row_at(row)[2]).strip() for row in (0, 1)]
        assert devices == ["cpu", "mps"]
    events = LogReader(app.state.session.views[1].run.events).read()
    samples = [event for event in events if isinstance(event, SystemSampled)]
    (gpu, *_) = [reading for sample in samples for reading in sample.gpus]
    assert (gpu.name, gpu.use, gpu.watts) == ("Simulated Apple chip", 62.0, 5.0)

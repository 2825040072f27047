"""Texts of others on every screen: no markup is read in them, no escape sequence passes."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from textual.widgets import Input

from mpstui.domain.config import make_config
from mpstui.domain.devices import parse_devices
from mpstui.runs.last_settings import save_last
from mpstui.runs.rundir import RunDir
from mpstui.ui.app import MpstuiApp
from mpstui.ui.plain import Static, visible
from mpstui.ui.screens.investigate import InvestigateScreen
from mpstui.ui.screens.results import ResultsScreen
from tests.builders.hostile import CONTROL, HOSTILE, hostile_runs, spoil_struct

from tests.ui.conftest import M2, ConstructedProbes  # isort: skip
from tests.ui.painted import rows  # isort: skip
from tests.ui.test_snapshots import until  # isort: skip

SIZES = ((30, 6), (120, 40))

OWN = """
from typing import Literal
class Mine:
    mode: Literal["[/b]", "[bold"] = "[/b]"
    path: str = "[/b]"
    def model(self): ...
    def objective(self, model, batch): ...
"""


class HostileProbes(ConstructedProbes):
    """Answers whose texts are hostile."""

    def __init__(self) -> None:
        super().__init__(spoil_struct(M2))
        assert not isinstance(self._torch, str)
        self._torch = spoil_struct(self._torch)
        self._surroundings = spoil_struct(self._surroundings)


@pytest.fixture
def app(make_app: Callable[..., MpstuiApp], home: Path) -> MpstuiApp:
    hostile_runs(home / "runs")
    (home / "[/b]").mkdir(parents=True)
    (home / "[/b]" / "mine.py").write_text(OWN)
    workload = f"{home}/[/b]/mine.py:Mine"
    save_last(make_config({"workload": workload}), parse_devices("cpu"))
    app = make_app()
    app.probing.probes = HostileProbes()
    return app


async def look(app: MpstuiApp, pilot: Any) -> str:
    """Return what the screen shows at several sizes; nothing of it is a control character."""
    shown = ""
    for size in SIZES:
        await pilot.resize_terminal(*size)
        await pilot.pause()
        shown += painted(app)
    return shown


def painted(app: MpstuiApp) -> str:
    """Return what the screen shows now."""
    text = "\n".join(strip.text for strip in rows(app))
    assert not CONTROL.search(text)
    return text


async def test_the_doctor_shows_them_as_they_are(app: MpstuiApp) -> None:
    async with app.run_test(size=(120, 40)) as pilot:
        await app.workers.wait_for_complete()
        assert "[/b]" in await look(app, pilot)
        await pilot.press("m")
        await look(app, pilot)
        await pilot.press("escape")
        for _ in app.state.findings():
            await pilot.press("down")
        painted(app)


async def test_the_form_shows_them_as_they_are(app: MpstuiApp) -> None:
    async with app.run_test(size=(120, 40)) as pilot:
        await app.workers.wait_for_complete()
        await pilot.press("2")
        await until(pilot, lambda: app.current_mode == "configure")
        await pilot.press("ctrl+t")
        assert "[/b]" in await look(app, pilot)
        for _ in range(6):
            await pilot.press("tab")
        await pilot.press("ctrl+r")
        painted(app)


async def test_live_shows_them_as_they_are(app: MpstuiApp, home: Path) -> None:
    async with app.run_test(size=(120, 40)) as pilot:
        await app.workers.wait_for_complete()
        for path in sorted((home / "runs").iterdir()):
            app.watch_runs([RunDir(path)])
            await until(pilot, lambda: app.current_mode == "live")
            await until(pilot, lambda: "[/b]" in painted(app))
            for key in ("t", "escape", "i"):
                await pilot.press(key)
                await pilot.pause()
                painted(app)
            if isinstance(app.screen, InvestigateScreen):
                await pilot.press("p")
                await look(app, pilot)
                await pilot.press("escape")


async def test_results_show_them_as_they_are(app: MpstuiApp) -> None:
    async with app.run_test(size=(120, 40)) as pilot:
        await app.workers.wait_for_complete()
        await pilot.press("4")
        screen = app.screen
        assert isinstance(screen, ResultsScreen)
        await until(pilot, lambda: len(screen.history.rows) == 5)
        for row in list(screen.history.rows):
            screen.history.toggle(row)
        await pilot.press("enter")
        assert "[/b]" in await look(app, pilot)
        for keys in ("down", "e", "escape", "x", "escape", "down e enter", "h", "d", "u"):
            await pilot.press(*keys.split())
            await pilot.pause()
            painted(app)
        await pilot.press("slash")
        screen.query_one("#query", Input).value = f"[/{HOSTILE}"
        await until(pilot, lambda: "[/" in str(screen.query_one("#nothing", Static).content))
        await look(app, pilot)


async def test_a_notification_shows_them_as_they_are(app: MpstuiApp) -> None:
    async with app.run_test(size=(120, 40)) as pilot:
        app.notify(HOSTILE, title=HOSTILE)
        app.screen.notify(HOSTILE, markup=True)
        app.screen.query_one(Static).tooltip = HOSTILE
        await until(pilot, lambda: "[/b]" in "\n".join(strip.text for strip in rows(app)))
        await look(app, pilot)


def test_what_is_dropped_takes_no_cell() -> None:
    assert visible(f"a{HOSTILE}b\udcff") == "a[/b][@click=app.bell][2J]0;owned31mb�"

"""Contrast of every text on every screen, on the cursor's rows too, in both themes."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from mpstui.runs.rundir import RunDir
from mpstui.ui.app import MpstuiApp
from tests.builders.machines import CONSTRUCTED
from tests.ui.contrast import faint_text
from tests.ui.screens.test_doctor import settled

MakeApp = Callable[..., MpstuiApp]
MakeRuns = Callable[..., list[RunDir]]

SCREENS = {
    "doctor": ("1",),
    "doctor, cursor on a mark": ("1", "down", "down", "down"),
    "doctor, narrowed": ("1", "slash"),
    "doctor, devices": ("1", "tab", "down"),
    "doctor, ops": ("1", "o"),
    "configure": ("2",),
    "configure, all fields": ("2", "ctrl+t"),
    "results": ("4",),
    "results, selected": ("4", "space", "b"),
}


@pytest.mark.parametrize("theme", ["textual-dark", "textual-light"])
@pytest.mark.parametrize("name", SCREENS)
async def test_every_text_has_contrast(
    make_app: MakeApp, make_runs: MakeRuns, name: str, theme: str
) -> None:
    make_runs(kind="diverged")
    app = make_app()
    if name.startswith("doctor") and "ops" not in name:
        app.probing.probes = CONSTRUCTED["M1 under Rosetta"][0]
    async with app.run_test(size=(120, 40)) as pilot:
        app.theme = theme
        await settled(app, pilot)
        for key in SCREENS[name]:
            await pilot.press(key)
            await settled(app, pilot)
        assert faint_text(app) == []

"""Pictures: all runs side by side, epoch by epoch, with a reason where there is none."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from PIL import Image

from mpstui.domain.events import RunStopped, SampleSaved
from mpstui.runs.log import LogWriter
from mpstui.runs.rundir import RunDir
from mpstui.ui.app import MpstuiApp
from mpstui.ui.screens.pictures import PicturesScreen, slider
from mpstui.ui.widgets.picture import UPPER, Picture
from mpstui.ui.widgets.run_panel import RunPanel

from tests.ui.conftest import NOW  # isort: skip
from tests.ui.screens.test_live import show  # isort: skip

MakeApp = Callable[..., MpstuiApp]
MakeRuns = Callable[..., list[RunDir]]


def save(run: RunDir, epoch: int) -> None:
    """Both pictures of an epoch, as a run saves them."""
    with LogWriter(run.events) as log:
        for kind in ("reconstruction", "sample"):
            name = f"{kind}-{epoch}.png"
            Image.linear_gradient("L").resize((60, 60)).save(run.path / name)
            log.append(SampleSaved(at=NOW, epoch=epoch, kind=kind, path=name))


def text(app: MpstuiApp) -> str:
    return "\n".join(strip.text for strip in app.screen._compositor.render_strips())


async def press(pilot: Any, *keys: str) -> str:
    await pilot.press(*keys)
    await pilot.pause()
    await pilot.pause()
    return text(pilot.app)


async def test_the_arrows_go_through_the_epochs_of_all_runs(
    make_app: MakeApp, make_runs: MakeRuns
) -> None:
    cpu, mps = make_runs("vae")
    for epoch in (1, 2, 3):
        save(mps, epoch)
    save(cpu, 1)
    app = make_app()
    async with app.run_test(size=(120, 40)) as pilot:
        await show(app, pilot)
        screen = await press(pilot, "v")
        assert isinstance(app.screen, PicturesScreen)
        left, right = app.screen.query(".run")
        assert (left.border_title, right.border_title) == ("━━ cpu", "━━ mps")
        colours = [column.styles.border_title_color for column in (left, right)]
        assert colours[0] != colours[1]
        assert "epoch 3, the newest" in screen
        assert "— pictures come after epoch 3" in screen
        assert "— pictures come after epoch 2" in await press(pilot, "left")
        screen = await press(pilot, "left", "left")  # before the first there is none
        assert "epoch 1" in screen
        assert "—" not in screen
        shown = [picture._path for picture in app.screen.query(Picture)]
        assert shown == [
            run.path / f"{kind}-1.png"
            for run in (cpu, mps)
            for kind in ("reconstruction", "sample")
        ]
        assert "epoch 3, the newest" in await press(pilot, "right", "right", "right")
        save(mps, 4)  # the newest is followed
        app.follow()
        assert "epoch 4, the newest" in await press(pilot)
        with LogWriter(cpu.events) as log:
            log.append(RunStopped(at=NOW, step=700, reason="asked by the user"))
        app.follow()
        assert "— stopped before the end of epoch 4" in await press(pilot)
        await press(pilot, "escape")
        assert app.current_mode == "live"
        assert not isinstance(app.screen, PicturesScreen)


async def test_before_the_first_epoch_a_place_says_when_pictures_come(
    make_app: MakeApp, make_runs: MakeRuns
) -> None:
    _, mps = make_runs("vae")
    app = make_app()
    async with app.run_test(size=(200, 60)) as pilot:
        await show(app, pilot)
        assert text(app).count("— pictures come after an epoch") == 2
        panel = list(app.screen.query(RunPanel))[1]
        loss = panel.query_one("#loss").size.height
        assert loss > 10  # the charts have the room meanwhile
        save(mps, 1)
        app.follow()
        await press(pilot)
        assert UPPER in text(app)
        assert panel.query_one(Picture).size.height > 5
        await press(pilot, "p")
        assert not panel.query_one(Picture).display


async def test_a_workload_without_pictures_says_so(make_app: MakeApp, make_runs: MakeRuns) -> None:
    make_runs("mnist")
    app = make_app()
    async with app.run_test(size=(120, 40), notifications=True) as pilot:
        await show(app, pilot)
        assert "the workload makes none" in await press(pilot, "v")


@pytest.mark.parametrize(
    ("epochs", "epoch", "line"),
    [
        ([], None, "no epoch has pictures yet"),
        ([7], 7, "●━━━  epoch 7, the newest"),
        ([1, 2], 1, "●━━━━━━━  epoch 1"),
        ([1, 2, 4], 4, "━━━━━━━━━━━●  epoch 4, the newest"),
        (range(1, 1000), 500, "━━━━━━━━━━●━━━━━━━━━  epoch 500"),
    ],
)
def test_the_slider_shows_where_an_epoch_is(
    epochs: list[int], epoch: int | None, line: str
) -> None:
    assert slider(epochs, epoch, 20).plain == line


async def test_pictures_of_another_kind_and_shape_are_passed_over(
    make_app: MakeApp, make_runs: MakeRuns
) -> None:
    (run,) = make_runs("vae", devices="cpu")
    for epoch, kind, size in ((1, "attention map", (3, 900)), (2, "reconstruction", (900, 3))):
        name = f"{epoch}.png"
        Image.new("I;16", size).save(run.path / name)
        with LogWriter(run.events) as log:
            log.append(SampleSaved(at=NOW, epoch=epoch, kind=kind, path=name))
    app = make_app()
    async with app.run_test(size=(120, 60)) as pilot:
        await show(app, pilot)
        screen = await press(pilot, "v", "left", "right", "left")
        assert "epoch 1" in screen
        await press(pilot, "escape", "z")
        assert app.is_running

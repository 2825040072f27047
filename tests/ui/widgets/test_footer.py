"""Footers keep help and quit in sight, at any width."""

from __future__ import annotations

import gc
from collections.abc import Callable
from itertools import pairwise
from typing import Any
from weakref import WeakSet

import pytest
from textual.widgets import Input
from textual.widgets._footer import FooterKey

from mpstui.ui.app import MpstuiApp
from mpstui.ui.screens.help import HelpScreen
from mpstui.ui.widgets.footer import KeyFooter

MakeApp = Callable[..., MpstuiApp]


def footer(app: MpstuiApp) -> str:
    y = app.screen.query_one(KeyFooter).region.y
    return app.screen._compositor.render_strips()[y].text


async def shown(app: MpstuiApp, pilot: Any, mode: str) -> str:
    await app.workers.wait_for_complete()
    await pilot.press(mode)
    before = ""
    for _ in range(3000):
        await pilot.pause()
        now = footer(app)
        if now == before and "quit" in now:
            return now
        before = now
    raise AssertionError(f"the footer does not settle: {now}")


def test_a_footer_of_a_screen_that_is_not_on_the_stack_has_no_keys() -> None:
    """From Python 3.12 on, the first screen composes that early, and the app could not start."""
    assert list(KeyFooter().compose()) == []


@pytest.mark.parametrize("width", [40, 60, 80, 100, 120, 200])
@pytest.mark.parametrize("mode", ["1", "3", "4"])
async def test_help_and_quit_stand_at_the_right_end(
    make_app: MakeApp, mode: str, width: int
) -> None:
    app = make_app()
    async with app.run_test(size=(width, 30)) as pilot:
        line = await shown(app, pilot, mode)
        assert " ? help " in f" {' '.join(line.split())} "
        assert line.index("help") < line.index("quit")
        keys = app.screen.query(KeyFooter).first().query("FooterKey")
        regions = [key.region for key in keys]
        assert all(a.right <= b.x for a, b in pairwise(regions))
        assert regions[-1].right <= width
        assert not ("…" in line and "palette" in line)  # it goes first


async def test_while_a_field_takes_letters_the_other_keys_stand_there(make_app: MakeApp) -> None:
    app = make_app()
    async with app.run_test(size=(80, 30)) as pilot:
        await shown(app, pilot, "2")
        app.screen.query(Input).first().focus()
        await pilot.pause()
        line = " ".join((await shown(app, pilot, "end")).split())
        assert "f1 help ^q quit" in line
        await pilot.press("f1")
        await pilot.pause()
        assert isinstance(app.screen, HelpScreen)


async def test_it_follows_the_width(make_app: MakeApp) -> None:
    app = make_app()
    async with app.run_test(size=(200, 30)) as pilot:
        wide = await shown(app, pilot, "3")
        assert "new run" in wide
        await pilot.resize_terminal(60, 30)
        narrow = await shown(app, pilot, "3")
        assert "new run" not in narrow
        assert "pause" in narrow
        await pilot.resize_terminal(200, 30)
        assert await shown(app, pilot, "3") == wide


async def test_keys_that_are_replaced_are_freed(make_app: MakeApp) -> None:
    app = make_app()
    async with app.run_test(size=(80, 30)) as pilot:
        await shown(app, pilot, "4")
        keys = WeakSet(app.screen.query(FooterKey))
        assert len(keys) > 5
        for width in (90, 100, 110):
            await pilot.resize_terminal(width, 30)
            await shown(app, pilot, "end")
        gc.collect()
        assert not keys

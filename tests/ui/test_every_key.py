"""Every key of the table, and those of lists and fields, on every screen at every size."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path

import pytest
from textual.pilot import Pilot

from mpstui.runs.rundir import RunDir
from mpstui.ui.app import MpstuiApp
from mpstui.ui.keymap import ACTIONS
from mpstui.ui.screens.help import HelpScreen
from mpstui.ui.screens.investigate import InvestigateScreen
from mpstui.ui.screens.live import LiveScreen
from tests.fuzz.playground import Playground
from tests.fuzz.terminal import Terminal

from tests.ui.test_snapshots import until  # isort: skip

SIZES = ((20, 5), (40, 10), (200, 60))

MOVES = ("up", "down", "left", "right", "pageup", "pagedown", "home", "end", "tab", "shift+tab")
KEYS = dict.fromkeys(
    (*(key for action in ACTIONS for key in action.keys.split(",")), *MOVES, *"a/[ ", "backspace")
)
LEAVING = ("q", "ctrl+q", "1", "2", "3", "4")
"""Keys to another screen, and out of the app."""

OPENED_BY = {
    "doctor": "1",
    "configure": "2",
    "live": "3",
    "results": "4",
    "investigate": "3 i",
    "coverage": "1 m",
    "pictures": "3 v",
    "charts": "3 t",
    "help": "1 question_mark",
    "export": "4 x",
    "note": "4 e",
    "palette": "1 ctrl+p",
}
"""The keys that open a screen."""


@pytest.mark.slow
@pytest.mark.parametrize("screen", OPENED_BY)
async def test_no_key_ends_the_app(tmp_path: Path, screen: str) -> None:
    with Playground(tmp_path).growing() as playground:
        playground.add("20270101-000000-vae-aaaa-cpu")
        app = playground.app()
        async with app.run_test(size=(120, 40)) as pilot:
            terminal = Terminal(pilot)
            await app.workers.wait_for_complete()
            for size in SIZES:
                terminal.resize(*size)
                for key in KEYS:
                    if key not in LEAVING:
                        await show(pilot, terminal, screen)
                        terminal.press(key)
                        await terminal.settle()
                width, height = size
                for place in range(6):
                    await show(pilot, terminal, screen)
                    terminal.click(place * (width - 1) // 5, place * (height - 1) // 5)
                    terminal.wheel(width // 2, height // 2, up=bool(place % 2))
                    await terminal.settle()
                    if app._exit:  # a click on quit
                        return
            assert app.is_running


async def show(pilot: Pilot[None], terminal: Terminal, screen: str) -> None:
    """Show a screen, unless it still is."""
    stack = pilot.app.screen_stack
    if stack == getattr(pilot, "_shown", None):
        return
    while pilot.app.screen.is_modal or isinstance(pilot.app.screen, InvestigateScreen):
        pilot.app.pop_screen()
        await terminal.settle()
    pilot.app.set_focus(None)
    for key in OPENED_BY[screen].split():
        terminal.press(key)
        await terminal.settle()
        await terminal.settle()
    pilot._shown = list(pilot.app.screen_stack)  # type: ignore[attr-defined]


@pytest.mark.parametrize("size", [(20, 5), (40, 10)])
async def test_page_keys_do_nothing_in_a_list_without_room(
    make_app: Callable[..., MpstuiApp], size: tuple[int, int]
) -> None:
    app = make_app()
    async with app.run_test(size=size) as pilot:
        await app.workers.wait_for_complete()
        await pilot.press("down", "pageup", "pagedown", "home", "end")
        assert app.is_running


async def test_a_screen_that_is_left_while_it_opens_ends_nothing(
    make_app: Callable[..., MpstuiApp], make_runs: Callable[..., list[RunDir]]
) -> None:
    runs = make_runs(kind="finished")
    app = make_app()
    async with app.run_test() as pilot:
        await app.workers.wait_for_complete()
        app.investigate(runs[0])
        while not isinstance(app.screen, InvestigateScreen):
            await asyncio.sleep(0)
        app.show("live")
        await pilot.pause()
        assert app.is_running


@pytest.mark.parametrize("turns", range(12))
async def test_a_palette_that_is_left_while_it_opens_ends_nothing(
    make_app: Callable[..., MpstuiApp], turns: int
) -> None:
    app = make_app()
    async with app.run_test() as pilot:
        await app.workers.wait_for_complete()
        app.action_command_palette()
        for _ in range(turns):
            await asyncio.sleep(0)
        app.pop_screen()
        await pilot.pause()
        assert app.is_running
        assert not app.screen.is_modal


@pytest.mark.parametrize("turns", range(12))
async def test_an_app_that_ends_while_a_palette_opens_ends_without_an_error(
    make_app: Callable[..., MpstuiApp], turns: int
) -> None:
    app = make_app()
    async with app.run_test() as pilot:
        await app.workers.wait_for_complete()
        app.show("live")
        await pilot.pause()
        app.action_command_palette()
        for _ in range(turns):
            await asyncio.sleep(0)


async def test_an_investigation_is_shown_once_also_below_a_dialog(
    make_app: Callable[..., MpstuiApp], make_runs: Callable[..., list[RunDir]]
) -> None:
    first, second = make_runs(kind="finished")
    app = make_app()
    async with app.run_test() as pilot:
        await app.workers.wait_for_complete()
        app.show("live")
        app.investigate(first)
        app.investigate(first)
        await until(pilot, lambda: isinstance(app.screen, InvestigateScreen))
        await pilot.press("question_mark")
        app.investigate(second)
        await app.workers.wait_for_complete()
        kinds = [type(screen) for screen in app.screen_stack]
        assert kinds == [LiveScreen, InvestigateScreen, HelpScreen]
        await pilot.press("escape", "escape", "escape")
        assert isinstance(app.screen, LiveScreen)

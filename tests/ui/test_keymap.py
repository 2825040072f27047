from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from textual.widgets import Static

from mpstui.ui.app import MpstuiApp
from mpstui.ui.keymap import ACTIONS, bindings
from mpstui.ui.screens.configure import ConfigureScreen
from mpstui.ui.screens.coverage import CoverageScreen
from mpstui.ui.screens.doctor import DoctorScreen
from mpstui.ui.screens.investigate import InvestigateScreen
from mpstui.ui.screens.live import LiveScreen
from mpstui.ui.screens.pictures import PicturesScreen
from mpstui.ui.screens.results import ResultsScreen

MakeApp = Callable[..., MpstuiApp]

SCREENS = {
    "doctor": DoctorScreen,
    "configure": ConfigureScreen,
    "live": LiveScreen,
    "results": ResultsScreen,
    "investigate": InvestigateScreen,
    "coverage": CoverageScreen,
    "pictures": PicturesScreen,
}


def test_each_action_is_carried_out_by_somebody() -> None:
    for action in ACTIONS:
        name = action.action.removeprefix("app.").partition("(")[0]
        owner = MpstuiApp if action.action.startswith("app.") else SCREENS[action.where]
        assert hasattr(owner, f"action_{name}"), action


def test_no_key_means_two_things_on_a_screen() -> None:
    for where in SCREENS:
        keys = [binding.key for binding in bindings(where) + bindings("app")]
        assert len(keys) == len(set(keys)), where


async def test_help_names_every_action(make_app: MakeApp) -> None:
    app = make_app()
    async with app.run_test(size=(120, 60)) as pilot:
        await pilot.press("question_mark")
        await pilot.pause()
        text = "\n".join(str(part.content) for part in app.screen.query(Static))
        for action in ACTIONS:
            assert action.help in text
        await pilot.press("escape")
        await pilot.pause()
        assert app.current_mode == "doctor"


async def test_the_palette_has_the_actions_of_the_screen(make_app: MakeApp) -> None:
    app = make_app()
    async with app.run_test(size=(120, 40)) as pilot:
        await pilot.press("3")
        await pilot.pause()
        titles = {command.title for command in app.get_system_commands(app.screen)}
        here = {action.help for action in ACTIONS if action.where in ("app", "live")}
        elsewhere = {action.help for action in ACTIONS} - here
        assert here <= titles
        assert not elsewhere & titles


async def test_the_theme_comes_back_next_time(make_app: MakeApp) -> None:
    first = make_app()
    async with first.run_test(size=(80, 24)) as pilot:
        first.theme = "textual-light"
        await pilot.pause()
        await first.workers.wait_for_complete()
    again = make_app()
    async with again.run_test(size=(80, 24)) as pilot:
        await again.workers.wait_for_complete()
        assert again.theme == "textual-light"


async def test_a_theme_that_is_no_more_is_passed_over(make_app: MakeApp, home: Path) -> None:
    home.mkdir()
    (home / "theme").write_text("coffee")
    app = make_app()
    async with app.run_test(size=(80, 24)):
        await app.workers.wait_for_complete()
        assert app.theme == "textual-dark"

"""Errors that come too late: a part of the screen that a handler or a click means is gone."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
from rich.style import Style
from textual.app import ComposeResult
from textual.css.query import NoMatches
from textual.events import Click, Resize
from textual.geometry import Size
from textual.screen import Screen
from textual.widgets import OptionList, Static

from mpstui.ui.app import MpstuiApp
from mpstui.ui.dialog import Dialog
from mpstui.ui.guard import Guarded
from mpstui.ui.palette import Palette

from .conftest import LINUX, ConstructedProbes


class _Left(Guarded, Screen[None]):
    """A screen that is left while something still reports to it."""

    def compose(self) -> ComposeResult:
        """Yield the part that is asked for."""
        yield Static(id="part")

    def by_id(self) -> None:
        """Ask for the part directly."""
        self.query_one("#part")

    def by_query(self) -> None:
        """Ask for the first of a query's results."""
        self.query("#part").first()


@pytest.fixture
def app(tmp_path: Path) -> MpstuiApp:
    return MpstuiApp(
        runs_dir=tmp_path, probes=ConstructedProbes(LINUX, mps=False), start=lambda _: None
    )


@pytest.mark.parametrize("ask", [_Left.by_id, _Left.by_query])
async def test_callback_for_a_part_of_a_screen_that_is_left_does_not_end_the_app(
    app: MpstuiApp, ask: Callable[[_Left], None]
) -> None:
    async with app.run_test() as pilot:
        screen = _Left()
        await app.push_screen(screen)
        await screen.dismiss(None)
        with pytest.raises(NoMatches):
            ask(screen)
        app.call_later(ask, screen)
        worker = app.run_worker(lambda: app.call_in_app(ask, screen), thread=True)
        with pytest.raises(Exception, match="#part"):
            await worker.wait()
        await pilot.pause()
        assert app.is_running


async def test_thread_of_a_removed_screen_knows_the_app(
    app: MpstuiApp,
) -> None:
    is_removed = threading.Event()
    async with app.run_test():
        screen = _Left()
        await app.push_screen(screen)

        def work() -> object:
            is_removed.wait()
            return screen.app

        worker = app.run_worker(work, thread=True)
        await screen.dismiss(None)
        while screen.parent is not None:
            await asyncio.sleep(0)
        is_removed.set()
        assert await worker.wait() is app


async def test_click_beside_a_palette_that_has_become_smaller_does_not_end_the_app(
    app: MpstuiApp,
) -> None:
    async with app.run_test(size=(80, 24)) as pilot:
        await pilot.press("ctrl+p")
        where = dict.fromkeys(("x", "screen_x"), 188) | dict.fromkeys(("y", "screen_y"), 27)
        rest = dict.fromkeys(("delta_x", "delta_y"), 0) | {"button": 1}
        flags = dict.fromkeys(("shift", "meta", "ctrl"), False)
        app.screen.post_message(Click(app.screen, **where, **rest, **flags))  # type: ignore[arg-type]
        await pilot.pause()
        assert app.is_running


async def test_a_part_that_was_never_there_is_a_defect(app: MpstuiApp) -> None:
    with pytest.raises(NoMatches, match="#missing"):
        async with app.run_test() as pilot:
            app.call_later(lambda: app.screen.query_one("#missing"))
            await pilot.pause()


class _Asking(Dialog[str]):
    """A dialog with a list."""

    def compose(self) -> ComposeResult:
        """Yield the list."""
        yield OptionList("one", "two")


async def test_a_dialog_is_answered_once(app: MpstuiApp) -> None:
    async with app.run_test() as pilot:
        below, answers = app.screen, list[str | None]()
        dialog = _Asking()
        await app.push_screen(dialog, answers.append)
        dialog.dismiss("first")
        dialog.dismiss("second")
        await pilot.pause()
        assert answers == ["first"]
        assert app.screen is below


@pytest.mark.parametrize("seconds", [0.0, -1e-6, -3.0])
async def test_a_timer_whose_time_is_over_fires_and_lets_the_app_go_on(
    app: MpstuiApp, seconds: float
) -> None:
    fired = asyncio.Event()
    async with app.run_test():
        app.set_timer(seconds, fired.set)
        await fired.wait()
        assert app.is_running


async def test_a_click_on_an_option_that_is_gone_selects_nothing(app: MpstuiApp) -> None:
    async with app.run_test() as pilot:
        await app.push_screen(_Asking())
        options = app.screen.query_one(OptionList)
        for count in (1, 0):
            options.remove_option_at_index(count)
            click = Click(
                options, 0, count, 0, 0, 1, False, False, False, style=Style(meta={"option": count})
            )
            options.post_message(click)
            await pilot.pause()
            assert app.is_running
            assert options.option_count == count


class _Answering(_Asking):
    """A dialog with a list and a key that reads it."""

    def action_take(self) -> None:
        """Answer with the list's length."""
        self.dismiss(str(self.query_one(OptionList).option_count))


async def test_a_key_that_comes_before_a_screen_is_composed_is_ignored(app: MpstuiApp) -> None:
    async with app.run_test() as pilot:
        # Python 3.12 composes at once; then no key comes before.
        asyncio.get_running_loop().set_task_factory(None)
        answers, dialog = list[str | None](), _Answering()
        app.push_screen(dialog, answers.append)
        assert not dialog.is_mounted
        await app.run_action("take", dialog)
        await pilot.pause()
        assert app.screen is dialog
        await app.run_action("take", dialog)
        await pilot.pause()
        assert answers == ["2"]


async def test_a_key_whose_part_of_the_screen_is_missing_is_a_defect(app: MpstuiApp) -> None:
    async with app.run_test() as pilot:
        dialog = _Answering()
        app.push_screen(dialog)
        await pilot.pause()
        await dialog.query_one(OptionList).remove()
        with pytest.raises(NoMatches):
            await app.run_action("take", dialog)


@pytest.mark.parametrize("key", ["pageup", "pagedown"])
async def test_a_list_without_room_has_no_pages(app: MpstuiApp, key: str) -> None:
    async with app.run_test(size=(80, 24)) as pilot:
        await app.push_screen(_Asking())
        await pilot.press("down", key)
        options = app.screen.query_one(OptionList)
        assert options.highlighted == (0 if key == "pageup" else 1)
        options.styles.height = 0
        await pilot.pause()
        assert not options.scrollable_content_region
        await pilot.press(key)
        assert app.is_running


async def test_a_palette_is_opened_again_only_once_it_is_gone(app: MpstuiApp) -> None:
    async with app.run_test() as pilot:
        app.action_command_palette()
        await pilot.pause()
        assert isinstance(app.screen, Palette)
        app.screen.dismiss(None)
        app.action_command_palette()
        await pilot.pause()
        assert not isinstance(app.screen, Palette)
        app.action_command_palette()
        await pilot.pause()
        assert isinstance(app.screen, Palette)


async def test_a_key_that_comes_late_leaves_no_palette_below_a_dialog(app: MpstuiApp) -> None:
    async with app.run_test() as pilot:
        app.action_command_palette()
        await pilot.pause()
        palette = app.screen
        assert isinstance(palette, Palette)
        dialog = _Asking()
        await app.push_screen(dialog)
        palette._action_escape()
        palette._action_escape()
        await pilot.pause()
        assert app.screen_stack[-2:] == [palette, dialog]
        dialog.dismiss()
        await pilot.pause()
        await pilot.press("escape")
        assert palette not in app.screen_stack


async def test_a_screen_ignores_a_size_that_is_outdated(
    app: MpstuiApp, monkeypatch: pytest.MonkeyPatch
) -> None:
    laid_out: list[Size] = []
    resized = Screen._screen_resized

    def lay_out(self: Screen[None], size: Size) -> None:
        laid_out.append(size)
        resized(self, size)

    async with app.run_test(size=(120, 40)) as pilot:
        await pilot.pause()
        screen = app.screen
        monkeypatch.setattr(Screen, "_screen_resized", lay_out)
        screen.post_message(Resize(Size(40, 10), Size(40, 10)))
        await pilot.pause()
        assert Size(40, 10) not in laid_out
        await pilot.resize_terminal(80, 24)
        await pilot.pause()
        assert app.screen.size == Size(80, 24)
        assert set(laid_out) == {Size(80, 24)}

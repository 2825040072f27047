"""Every key on a full disk, and where a folder cannot be made: a message, and the app goes on."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from mpstui.runs.rundir import RunDir
from mpstui.ui.app import MpstuiApp
from tests.full_disk import full_disk

from tests.ui.test_snapshots import settle, until  # isort: skip

MakeApp = Callable[..., MpstuiApp]
MakeRuns = Callable[..., list[RunDir]]


def errors(app: MpstuiApp) -> list[str]:
    return [note.message for note in app._notifications if note.severity == "error"]


@pytest.mark.parametrize(
    ("screen", "writers"),
    [
        ("doctor", {"e": ".md"}),
        ("configure", {"ctrl+r": "runs_dir"}),
        (
            "live",
            {
                **dict.fromkeys(("space", "s", "k right enter", "q right enter"), "control.json"),
                **dict.fromkeys((*"oxymzzlhgp", "t space enter"), "view.json"),
            },
        ),
        (
            "results",
            {"e a enter": "note.md", "h": ".html", "x right enter": ".md"}
            | {"x right right right right enter": ".svg"},
        ),
    ],
)
async def test_a_key_says_what_could_not_be_written(
    make_app: MakeApp, make_runs: MakeRuns, screen: str, writers: Mapping[str, str]
) -> None:
    make_runs()
    app = make_app()
    async with app.run_test(size=(120, 40)) as pilot:
        await app.workers.wait_for_complete()
        app.show(screen)
        await until(pilot, lambda: app.current_mode == screen and app.screen.is_mounted)
        await settle(pilot)
        for keys, file in writers.items():
            app.clear_notifications()
            with full_disk():
                await pilot.press(*keys.split())
                await until(pilot, lambda: bool(errors(app)))
            assert file in errors(app)[0], keys
            assert "too large" in errors(app)[0], keys
            assert app.is_running
            if app.screen.is_modal:
                await pilot.press("escape")
        await pilot.press("1")  # and every key goes on to work
        await until(pilot, lambda: app.current_mode == "doctor")


async def test_an_investigation_that_cannot_begin_says_so(
    make_app: MakeApp, make_runs: MakeRuns
) -> None:
    (run,) = make_runs(devices="cpu", kind="finished")
    (run.path / "investigations").write_text("a file where a folder should be")
    app = make_app()
    async with app.run_test(size=(120, 40)) as pilot:
        await app.workers.wait_for_complete()
        await pilot.press("3")
        await until(pilot, lambda: app.state.session is not None)
        await pilot.press("i")
        await until(pilot, lambda: bool(errors(app)))
        assert "investigations" in errors(app)[0]
        assert app.is_running


async def test_a_theme_that_cannot_be_saved_is_used_and_reported(
    make_app: MakeApp, home: Path
) -> None:
    app = make_app()
    async with app.run_test(size=(120, 40)) as pilot:
        await pilot.pause()
        with full_disk():
            app.theme = "nord"
            await until(pilot, lambda: bool(errors(app)))
        assert app.theme == "nord"
        assert str(home / "theme") in errors(app)[0]


async def test_where_no_folder_can_be_made_a_start_says_so(make_app: MakeApp, home: Path) -> None:
    home.write_text("a file where the folder should be")
    app = make_app()
    async with app.run_test(size=(120, 40)) as pilot:
        await app.workers.wait_for_complete()
        await pilot.press("2")
        await until(pilot, lambda: app.current_mode == "configure")
        await pilot.press("ctrl+r")
        await until(pilot, lambda: bool(errors(app)))
        assert str(home) in errors(app)[0]
        assert app.is_running


async def test_a_timer_reports_its_error_once(make_app: MakeApp) -> None:
    app = make_app()
    async with app.run_test(size=(120, 40)) as pilot:
        calls: list[None] = []

        def look() -> None:
            calls.append(None)
            raise PermissionError(13, "Permission denied", "/runs")

        app.set_interval(0.01, look)
        await until(pilot, lambda: len(calls) > 3)
        assert errors(app) == ["/runs: Permission denied"]


@pytest.mark.parametrize("in_worker", [False, True])
async def test_a_defect_still_ends_the_app(make_app: MakeApp, in_worker: bool) -> None:
    def fail() -> None:
        raise ZeroDivisionError("constructed")

    app = make_app()
    with pytest.raises(Exception, match="constructed"):
        async with app.run_test() as pilot:
            if in_worker:
                app.run_worker(fail, thread=True)
            else:
                app.call_later(fail)
            await until(pilot, lambda: not app.is_running)

"""Runs that were under way before the app started, and several apps on one run."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from unittest.mock import patch

from mpstui.runs.files import read_json
from mpstui.runs.rundir import Exit, RunDir
from mpstui.runs.store import RunStore
from mpstui.ui.app import MpstuiApp
from mpstui.ui.model.under_way import runs_under_way
from tests.builders.scripts import script_events, script_runs

from tests.ui.conftest import M2, NOW  # isort: skip
from tests.ui.test_snapshots import until  # isort: skip

MakeApp = Callable[..., MpstuiApp]
MakeRuns = Callable[..., list[RunDir]]


def announced(app: MpstuiApp) -> str:
    return "\n".join(note.message for note in app._notifications if note.title == "Under way")


def older_run(home: Path) -> RunDir:
    """A run under way that is older than those of ``make_runs``."""
    (run,) = script_runs(RunStore(home / "runs"), M2, [script_events(NOW)])
    return RunDir(run.path.rename(home / "runs" / "20260101-000000-older-00ab-run"))


async def test_an_older_run_under_way_is_named_and_shown(
    make_app: MakeApp, make_runs: MakeRuns, home: Path
) -> None:
    older = older_run(home)
    for run in make_runs(kind="finished"):
        run.write_exit(Exit(code=0))
    app = make_app()
    async with app.run_test(size=(120, 40)) as pilot:
        await until(pilot, lambda: bool(announced(app)))
        assert announced(app).splitlines() == [older.id, "Press 3 to watch."]
        assert app.state.session is not None
        assert [view.run.id for view in app.state.session.views] == [older.id]


async def test_all_runs_under_way_are_named(
    make_app: MakeApp, make_runs: MakeRuns, home: Path
) -> None:
    older = older_run(home)
    newest = [run.id for run in make_runs()]
    app = make_app()
    async with app.run_test(size=(120, 40)) as pilot:
        await until(pilot, lambda: bool(announced(app)))
        *ids, hint = announced(app).splitlines()
        assert sorted(ids) == sorted([older.id, *newest])
        assert "4, then l" in hint
        assert app.state.session is not None
        assert [view.run.id for view in app.state.session.views] == newest


async def test_runs_that_are_over_are_not_announced(make_app: MakeApp, make_runs: MakeRuns) -> None:
    for run in make_runs(kind="finished"):
        run.write_exit(Exit(code=0))
    app = make_app()
    async with app.run_test(size=(120, 40)) as pilot:
        await app.workers.wait_for_complete()
        await pilot.pause()
        assert not announced(app)
        assert app.state.session is None


def test_no_file_of_a_run_that_is_over_is_read(home: Path) -> None:
    for number in range(1000):
        run = RunDir(home / "runs" / f"20260101-000000-mnist-{number:04}-cpu")
        run.path.mkdir(parents=True)
        (run.path / "config.toml").touch()
        (run.path / "exit.json").touch()
    older_id = older_run(home).id
    reads: list[Path] = []

    def read(path: Path, kind: type, within: Path | None = None) -> object:
        reads.append(path)
        return read_json(path, kind, within=within)

    with patch("mpstui.runs.rundir.read_json", read):
        assert [run.id for run in runs_under_way(RunStore(home / "runs"))] == [older_id]
    assert {path.parent.name for path in reads} == {older_id}


async def test_two_apps_show_one_run_and_either_may_ask(
    make_app: MakeApp, make_runs: MakeRuns
) -> None:
    runs = make_runs()
    first, second = make_app(), make_app()
    async with first.run_test(size=(120, 40)) as one, second.run_test(size=(120, 40)) as other:
        for app, pilot in ((first, one), (second, other)):
            await until(pilot, lambda app=app: app.state.session is not None)  # type: ignore[misc]
            await pilot.press("3")
            await until(pilot, lambda app=app: app.current_mode == "live")  # type: ignore[misc]
        for app, pilot, request in (
            (first, one, "pause"),
            (second, other, "run"),
            (second, other, "pause"),
            (first, one, "run"),
        ):
            await pilot.press("space")
            await until(pilot, lambda request=request: _requests(runs) == {request})  # type: ignore[misc]
            assert app.is_running
        await other.press("s")
        await until(other, lambda: _requests(runs) == {"stop"})
        for run in runs:
            run.write_exit(Exit(code=0))
        for app, pilot in ((first, one), (second, other)):
            await until(pilot, lambda app=app: not app.state.is_live)  # type: ignore[misc]


def _requests(runs: list[RunDir]) -> set[str]:
    return {run.request() for run in runs}

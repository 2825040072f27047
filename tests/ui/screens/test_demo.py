"""The demo in the app: runs, alarm, investigation, without a key in between."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence

import pytest

from mpstui.runs.rundir import Exit, RunDir
from mpstui.ui.app import MpstuiApp
from mpstui.ui.screens.investigate import InvestigateScreen
from tests.ui.conftest import write_log
from tests.ui.screens.test_investigate import until

MakeApp = Callable[..., MpstuiApp]


def keep(app: MpstuiApp, started: list[Sequence[RunDir]]) -> None:
    """Let runs that are started count as under way, as a supervisor's process would."""

    def start(runs: Sequence[RunDir]) -> None:
        for run in runs:
            run.record_supervisor(os.getpid())
        started.append(runs)

    app._start = start


def end(app: MpstuiApp, cpu: RunDir, faulty: RunDir) -> None:
    """Let both runs end, the second one diverged."""
    for place, (run, kind) in enumerate(((cpu, "finished"), (faulty, "diverged"))):
        write_log(run, place, kind)
        run.write_exit(Exit(code=0))
    assert app.state.session is not None
    app.state.session.refresh()
    app.runs_revision += 1


def captions(app: MpstuiApp) -> list[str]:
    return [note.message for note in app._notifications if note.title == "Demo"]


async def test_it_goes_from_the_alarm_to_the_op_by_itself(
    make_app: MakeApp, started: list[Sequence[RunDir]]
) -> None:
    app = make_app()
    async with app.run_test(size=(120, 40)) as pilot:
        keep(app, started)
        app.action_demo()
        await until(pilot, lambda: bool(started))
        ((cpu, faulty),) = started
        assert cpu.config().device == "cpu"
        assert faulty.config().spec.option("fault")
        assert app.current_mode == "live"
        end(app, cpu, faulty)
        await until(pilot, lambda: isinstance(app.screen, InvestigateScreen))
        assert isinstance(app.screen, InvestigateScreen)
        assert app.screen.inquiry.run.id == faulty.id
        await until(pilot, lambda: not app.is_investigating)
        await until(pilot, lambda: len(captions(app)) == 3)
        assert "simulated" in captions(app)[0]
        assert "simulated" in captions(app)[-1]


async def test_it_does_not_jump_in_front_of_a_user_who_went_on(
    make_app: MakeApp, started: list[Sequence[RunDir]]
) -> None:
    app = make_app()
    async with app.run_test(size=(120, 40)) as pilot:
        keep(app, started)
        app.action_demo()
        await until(pilot, lambda: bool(started))
        await pilot.press("4")
        ((cpu, faulty),) = started
        end(app, cpu, faulty)
        await pilot.pause()
        assert app.state.session is not None
        assert not app.state.session.live
        assert app.current_mode == "results"
        assert not app.is_investigating


@pytest.mark.parametrize("under_way", [True, False])
async def test_it_asks_before_it_would_disturb_a_run(
    make_app: MakeApp,
    make_runs: Callable[..., list[RunDir]],
    started: list[Sequence[RunDir]],
    under_way: bool,
) -> None:
    make_runs(kind="running" if under_way else "finished")
    app = make_app()
    async with app.run_test(size=(120, 40)) as pilot:
        await app.workers.wait_for_complete()
        app.state.recall()
        app.action_demo()
        await pilot.pause()
        await pilot.pause()
        assert bool(started) is not under_way

"""Pictures of the screens, on a constructed machine with constructed logs.

``pytest tests/ui/test_snapshots.py --snapshot-update`` takes them anew; look at them first.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from textual.screen import ModalScreen
from textual.widgets import Input

from mpstui.domain.investigation import Investigation
from mpstui.runs.rundir import RunDir
from mpstui.runs.store import RunStore
from mpstui.ui.app import MpstuiApp
from mpstui.ui.screens.investigate import InvestigateScreen
from mpstui.ui.screens.live import LiveScreen

from tests.ui.conftest import LINUX, M2, NOW  # isort: skip
from tests.builders.investigations import (
    CONSTRUCTED_MESSAGES,
    CONSTRUCTED_NOTHING,
    CONSTRUCTED_VAE,
    ConstructedInvestigating,
)
from tests.builders.scripts import script_events, script_runs

MakeApp = Callable[..., MpstuiApp]
MakeRuns = Callable[..., list[RunDir]]
Compare = Callable[..., bool]

SMALL, MIDDLE, LARGE = (80, 24), (120, 40), (200, 60)
DARK, LIGHT, ANSI = "textual-dark", "textual-light", "ansi-dark"

LOOKS = 3000
"""Turns of the app's message loop that a test waits at most."""


def shown(mode: str, theme: str, *keys: str, modal: bool = False) -> Callable[[Any], Any]:
    """Bring a screen up, in a theme, with some keys pressed; wait for a dialogue if one opens."""

    async def before(pilot: Any) -> None:
        pilot.app.theme = theme
        await pilot.app.workers.wait_for_complete()
        await pilot.press(mode)
        await settle(pilot)
        for field in pilot.app.screen.query(Input):
            field.cursor_blink = False
        await pilot.press(*keys)
        if modal:  # it is opened by a worker that waits for its answer
            await until(pilot, lambda: isinstance(pilot.app.screen, ModalScreen))
        else:
            await pilot.app.workers.wait_for_complete()
        await settle(pilot)

    return before


async def until(pilot: Any, condition: Callable[[], bool]) -> None:
    """Wait for the app, as long as it takes; only a hang is too long."""
    for _ in range(LOOKS):
        if condition():
            return
        await pilot.pause()
    raise AssertionError("the app did not get there")


async def settle(pilot: Any) -> None:
    """Wait until the screen has nothing left to draw: what a picture shows then is final."""
    before = None
    for _ in range(LOOKS):
        pilot.app.clear_notifications()  # they go by themselves, and not at the same moment
        await pilot.pause()
        screen = pilot.app.screen
        if isinstance(screen, LiveScreen) and pilot.app.state.session is not None:
            await screen.sync()
            await pilot.pause()
            if screen._drawing_key != screen._drawing_inputs():
                continue
        frame = screen._compositor.render_strips()
        if frame == before:
            return
        before = frame
    raise AssertionError("the screen does not settle")


@pytest.mark.parametrize(
    ("size", "theme"), [(SMALL, DARK), (MIDDLE, LIGHT), (LARGE, DARK)], ids=["80", "120", "200"]
)
def test_doctor(
    snap_compare: Compare, make_app: MakeApp, size: tuple[int, int], theme: str
) -> None:
    assert snap_compare(make_app(), terminal_size=size, run_before=shown("1", theme))


def test_doctor_without_an_accelerator(snap_compare: Compare, make_app: MakeApp) -> None:
    app = make_app(LINUX, mps=False)
    assert snap_compare(app, terminal_size=MIDDLE, run_before=shown("1", ANSI))


def test_doctor_with_a_faulty_op(snap_compare: Compare, make_app: MakeApp) -> None:
    before = shown("1", LIGHT, "o", "slash")
    assert snap_compare(make_app(), terminal_size=MIDDLE, run_before=before)


@pytest.mark.parametrize(
    ("size", "theme"), [(SMALL, LIGHT), (MIDDLE, DARK), (LARGE, LIGHT)], ids=["80", "120", "200"]
)
def test_configure(
    snap_compare: Compare, make_app: MakeApp, size: tuple[int, int], theme: str
) -> None:
    assert snap_compare(make_app(), terminal_size=size, run_before=shown("2", theme))


def test_configure_with_all_fields(snap_compare: Compare, make_app: MakeApp) -> None:
    before = shown("2", ANSI, "ctrl+t", "tab")
    assert snap_compare(make_app(), terminal_size=MIDDLE, run_before=before)


def test_configure_with_a_wrong_field(snap_compare: Compare, make_app: MakeApp) -> None:
    keys = ("tab", "tab", "tab", "tab", "delete", "x")
    assert snap_compare(make_app(), terminal_size=SMALL, run_before=shown("2", DARK, *keys))


@pytest.mark.parametrize(
    ("kind", "size", "theme"),
    [
        ("running", SMALL, DARK),
        ("running", LARGE, LIGHT),
        ("paused", MIDDLE, LIGHT),
        ("diverged", MIDDLE, DARK),
        ("crashed", SMALL, ANSI),
        ("finished", MIDDLE, ANSI),
    ],
)
def test_live(
    snap_compare: Compare,
    make_app: MakeApp,
    make_runs: MakeRuns,
    kind: str,
    size: tuple[int, int],
    theme: str,
) -> None:
    make_runs(kind=kind)
    assert snap_compare(make_app(), terminal_size=size, run_before=shown("3", theme))


def test_live_without_runs(snap_compare: Compare, make_app: MakeApp) -> None:
    assert snap_compare(make_app(), terminal_size=SMALL, run_before=shown("3", DARK))


@pytest.mark.parametrize(("size", "theme"), [(SMALL, LIGHT), (MIDDLE, DARK)], ids=["80", "120"])
def test_results(
    snap_compare: Compare,
    make_app: MakeApp,
    make_runs: MakeRuns,
    size: tuple[int, int],
    theme: str,
) -> None:
    make_runs(kind="finished")
    assert snap_compare(make_app(), terminal_size=size, run_before=shown("4", theme))


def test_quitting_question(snap_compare: Compare, make_app: MakeApp, make_runs: MakeRuns) -> None:
    make_runs()
    assert snap_compare(
        make_app(), terminal_size=SMALL, run_before=shown("3", DARK, "q", modal=True)
    )


def test_help(snap_compare: Compare, make_app: MakeApp) -> None:
    before = shown("1", LIGHT, "question_mark", modal=True)
    assert snap_compare(make_app(), terminal_size=MIDDLE, run_before=before)


FAULT = "cpu,cpu@fault=neg-stride0"


def investigated(theme: str, investigating: ConstructedInvestigating) -> Callable[[Any], Any]:
    """Investigate from the Live screen, until it waits or is over."""

    async def before(pilot: Any) -> None:
        await shown("3", theme)(pilot)
        await pilot.press("i")
        await until(
            pilot,
            lambda: (
                isinstance(pilot.app.screen, InvestigateScreen)
                and investigating.has_reported.is_set()
            ),
        )
        if investigating.go_on.is_set():
            await pilot.app.workers.wait_for_complete()
        await settle(pilot)

    return before


@pytest.mark.parametrize(
    ("workload", "devices", "kind", "finding", "waits", "size", "theme"),
    [
        ("vae", FAULT, "diverged", CONSTRUCTED_VAE, True, SMALL, DARK),
        ("vae", FAULT, "diverged", CONSTRUCTED_VAE, False, MIDDLE, LIGHT),
        ("vae", FAULT, "diverged", CONSTRUCTED_VAE, False, LARGE, DARK),
        ("mnist", "cpu,mps", "finished", CONSTRUCTED_NOTHING, False, SMALL, ANSI),
    ],
    ids=["80", "120", "200", "nothing"],
)
def test_investigate(
    snap_compare: Compare,
    make_app: MakeApp,
    make_runs: MakeRuns,
    home: Path,
    monkeypatch: pytest.MonkeyPatch,
    workload: str,
    devices: str,
    kind: str,
    finding: Investigation,
    waits: bool,
    size: tuple[int, int],
    theme: str,
) -> None:
    for run in make_runs(workload, devices, kind):
        (run.path / "supervisor.json").unlink()  # nobody trains
    monkeypatch.chdir(home)  # a path on screen has to be the same each time
    faulty = finding is CONSTRUCTED_VAE
    messages = CONSTRUCTED_MESSAGES if faulty else CONSTRUCTED_MESSAGES[:1]
    rest = None if faulty else ()
    investigating = ConstructedInvestigating(finding, messages, rest, waits=waits, files=faulty)
    app = make_app(investigate=investigating, runs_dir=Path("runs"))
    app.state.wall_clock = datetime(
        2026, 11, 23, 8, 0, 0
    ).timestamp  # names the folder, in local time
    before = investigated(theme, investigating)
    assert snap_compare(app, terminal_size=size, run_before=before)


@pytest.mark.parametrize(
    ("size", "theme"), [(SMALL, LIGHT), (MIDDLE, DARK), (LARGE, ANSI)], ids=["80", "120", "200"]
)
def test_live_with_a_script(
    snap_compare: Compare, make_app: MakeApp, home: Path, size: tuple[int, int], theme: str
) -> None:
    (run,) = script_runs(RunStore(home / "runs"), M2, [script_events(NOW - 60)])
    run.worker_log.write_text("epoch 0: accuracy 0.910\nsaved checkpoint.pt\n\r 60 %|████▊   |")
    assert snap_compare(make_app(), terminal_size=size, run_before=shown("3", theme))


def test_live_with_ranks(snap_compare: Compare, make_app: MakeApp, home: Path) -> None:
    logs = [
        script_events(NOW - 60, device=f"cuda:{rank}", slowness=0.0019 * rank) for rank in range(2)
    ]
    script_runs(RunStore(home / "runs"), M2, logs, ranks=2)
    assert snap_compare(make_app(), terminal_size=MIDDLE, run_before=shown("3", DARK))

"""Apps: two on the same run, and one that stays open while runs start and stop for long."""

from __future__ import annotations

import asyncio
import os
import random
import time
from collections.abc import Callable
from pathlib import Path
from unittest import mock

import psutil

from mpstui.domain.config import make_config
from mpstui.domain.devices import parse_devices
from mpstui.runs.launch import launch
from mpstui.ui.app import MpstuiApp

from tests.ui.conftest import LINUX, ConstructedProbes  # isort: skip

from .tally import Tally
from .tiny_runs import PATIENCE, SETTINGS, TinyRun, kill_all

SIZE = (120, 40)
MOST_GROWTH = 1.1
"""Memory at the end as a multiple of that after the first minute."""


def apps(root: Path, count: int, seed: int) -> Tally:
    """Open two apps on one run; each of them pauses, resumes or stops it, and both see it.

    Args:
        root: A new folder.
        count: Runs.
        seed: Chooses who requests what.
    """
    tally = Tally("two apps")
    draws = random.Random(seed)
    for number in range(count):
        order = draws.choice(((0, 1), (1, 0), (1, 1)))
        tally.attempt(
            f"{order}",
            lambda: asyncio.run(_two_apps(root / str(number), order)),  # noqa: B023
        )
    return tally


def open_app(root: Path) -> MpstuiApp:
    """Return an app without the probes of this machine, which take long."""
    return MpstuiApp(runs_dir=root, probes=ConstructedProbes(LINUX, mps=False), start=launch)


async def _two_apps(root: Path, order: tuple[int, int]) -> None:
    tiny = TinyRun(root, steps=1_000_000)
    try:
        tiny.wait_for_step(1)
        pair = [open_app(root), open_app(root)]
        async with pair[0].run_test(size=SIZE) as first, pair[1].run_test(size=SIZE) as second:
            pilots = (first, second)
            for app, pilot in zip(pair, pilots, strict=True):
                await pilot.press("3")
                await until(_is_live(app))
            await pilots[order[0]].press("space")
            await until(lambda: all(_state(app) == "paused" for app in pair))
            await pilots[order[1]].press("space")
            await until(lambda: all(_state(app) == "training" for app in pair))
            await pilots[order[0]].press("s")
            await until(lambda: all(_state(app) == "stopped" for app in pair))
        tiny.wait_for_end()
    finally:
        kill_all(tiny.runs)


def _state(app: MpstuiApp) -> str:
    session = app.state.session
    return "" if session is None else session.views[0].history.state.value


def _is_live(app: MpstuiApp) -> Callable[[], bool]:
    return lambda: app.state.is_live


def _is_over(app: MpstuiApp) -> Callable[[], bool]:
    return lambda: not app.state.is_live


def _has_stepped(app: MpstuiApp) -> Callable[[], bool]:
    def stepped() -> bool:
        session = app.state.session
        return session is not None and (session.views[0].history.step > 0 or not session.live)

    return stepped


async def until(condition: Callable[[], bool]) -> None:
    """Let the app work until something holds.

    Raises:
        AssertionError: If it takes as long as only a hang does.
    """
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline, "never"
        await asyncio.sleep(0.1)


def soak(root: Path, minutes: float, seed: int) -> Tally:
    """Start and stop runs with the app open; its memory must not grow.

    Args:
        root: A new folder.
        minutes: How long; an hour says something.
        seed: Chooses how runs end.
    """
    tally = Tally("an app open for long")
    with mock.patch.dict(os.environ, {"MPSTUI_HOME": str(root / "home")}):
        tally.attempt(
            f"{minutes:g} minutes", lambda: asyncio.run(_soak(root, minutes, seed, tally))
        )
    return tally


async def _soak(root: Path, minutes: float, seed: int, tally: Tally) -> None:
    app, draws, process = open_app(root / "runs"), random.Random(seed), psutil.Process()
    began, runs, first, last = time.monotonic(), 0, 0, 0
    readings: list[str] = []
    async with app.run_test(size=SIZE) as pilot:
        await until(lambda: app.state.facts is not None)
        while time.monotonic() < began + 60 * minutes:
            end = draws.choice(("finish", "finish", "s", "k"))
            steps = 100 if end == "finish" else 1_000_000
            config = make_config({**SETTINGS, "steps": steps})
            app.start_runs(config, parse_devices("cpu@threads=1"))
            await until(_has_stepped(app))
            if end != "finish":
                await pilot.press(end)
                if end == "k":
                    await until(lambda: bool(app.screen.query("#kill")))
                    await pilot.click("#kill")
            await until(_is_over(app))
            for key in draws.sample("1234", 4):  # each screen is made when it is first shown
                await pilot.press(key)
                await pilot.pause()
            runs, last = runs + 1, process.memory_info().rss
            if not first and time.monotonic() > began + 60:
                first = last
            readings.append(f"{last / 2**20:.0f}")
    tally.note = (
        f"{runs} runs; {first / 2**20:.0f} MB after a minute, {last / 2**20:.0f} at the end; "
        f"after each run: {' '.join(readings)}"
    )
    assert last <= MOST_GROWTH * first, tally.note

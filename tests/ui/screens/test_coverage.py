from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from typing import Any

import pytest
from textual.widgets import Input, Static

from mpstui.coverage.client import CoverageProcess
from mpstui.domain.config import make_config
from mpstui.domain.coverage import CallSite, Coverage, OpUse, Support
from mpstui.domain.devices import parse_devices
from mpstui.domain.errors import FieldError, MpstuiError
from mpstui.runs.last_settings import save_last
from mpstui.runs.rundir import RunDir
from mpstui.ui.app import MpstuiApp
from mpstui.ui.screens.coverage import CoverageScreen

from tests.waiting import PATIENCE  # isort: skip

MakeApp = Callable[..., MpstuiApp]
MakeRuns = Callable[..., list[RunDir]]


def op(name: str, support: Support, reason: str = "") -> OpUse:
    use = CallSite(phase="forward", count=2, source="model.py:31", code="x = self.pool(x)")
    return OpUse(op=f"aten::{name}", support=support, reason=reason, uses=(use,))


ANSWER = Coverage(
    workload="mnist",
    torch="2.14.1",
    recorded_with="2.14.1",
    macos="14.0",
    ops=(
        op("relu", Support.NATIVE),
        op("adaptive_max_pool3d", Support.MISSING, "NotImplementedError"),
    ),
)


class Constructed(CoverageProcess):
    """Answers when it is let go; constructed, no step is recorded."""

    def __init__(self, answer: Coverage | Exception) -> None:
        self.go = threading.Event()
        self.stopped = False
        self._answer = answer

    def run(self, tell: Callable[[str], None]) -> Coverage:
        tell("recording a step")
        assert self.go.wait(PATIENCE)
        if isinstance(self._answer, Exception):
            raise self._answer
        return self._answer

    def stop(self) -> None:
        self.stopped = True
        self.go.set()


class Questions:
    """What the app asks, in its order, and what answers."""

    def __init__(self, *answers: Coverage | Exception) -> None:
        self.put: list[tuple[str, str]] = []
        self.covering = [Constructed(answer) for answer in answers]

    def __call__(self, workload: str, torch: str, values: Mapping[str, Any]) -> CoverageProcess:
        self.put.append((workload, torch))
        return self.covering[len(self.put) - 1]


def text(app: MpstuiApp, id: str) -> str:
    return str(app.screen.query_one(f"#{id}", Static).content)


async def opened(app: MpstuiApp, pilot: Any, *keys: str) -> None:
    await app.workers.wait_for_complete()
    for key in keys:
        await pilot.press(key)
        await pilot.pause()
    for _ in range(3000):
        if isinstance(app.screen, CoverageScreen) and "recording" in text(app, "verdict"):
            return
        await pilot.pause()
    raise AssertionError("the question was not put")


async def ended(app: MpstuiApp, pilot: Any) -> None:
    await app.workers.wait_for_complete()
    await pilot.pause()


async def test_doctor_asks_about_the_last_workload_and_shows_progress_then_verdict(
    make_app: MakeApp, home: object
) -> None:
    save_last(make_config({"workload": "vae"}), parse_devices("cpu"))
    app, questions = make_app(), Questions(ANSWER)
    app.start_coverage = questions
    async with app.run_test(size=(80, 24)) as pilot:
        await opened(app, pilot, "m")
        assert questions.put == [("vae", "")]
        assert text(app, "verdict") == "▸ recording a step …"
        questions.covering[0].go.set()
        await ended(app, pilot)
        assert text(app, "verdict") == f"✗ {ANSWER.verdict}"
        assert "✗ aten::adaptive_max_pool3d" in text(app, "ops")
        assert "model.py:31  x = self.pool(x)" in text(app, "ops")
        assert "aten::relu" not in text(app, "ops")
        assert "✓ 1 op native" in text(app, "ops")


async def test_native_ops_unfold_and_the_answer_is_copied(make_app: MakeApp) -> None:
    app, questions = make_app(), Questions(ANSWER)
    app.start_coverage = questions
    async with app.run_test(size=(120, 40)) as pilot:
        await opened(app, pilot, "m")
        await pilot.press("y")
        assert not app.clipboard
        questions.covering[0].go.set()
        await ended(app, pilot)
        await pilot.press("v")
        assert "✓ aten::relu" in text(app, "ops")
        await pilot.press("y")
        assert ANSWER.verdict in app.clipboard
        await pilot.press("v")
        assert "aten::relu" not in text(app, "ops")


async def test_configure_asks_about_the_workload_of_the_form(make_app: MakeApp) -> None:
    app, questions = make_app(), Questions(ANSWER)
    app.start_coverage = questions
    async with app.run_test(size=(120, 40)) as pilot:
        await app.workers.wait_for_complete()
        await pilot.press("2")
        for _ in range(3000):
            await pilot.pause()
            if app.screen.query("#plan") and "kernel for every op" in text(app, "plan"):
                break
        await opened(app, pilot, "ctrl+o")
        assert questions.put == [("mnist", "")]
        questions.covering[0].go.set()
        await ended(app, pilot)
        await pilot.press("escape")
        assert not isinstance(app.screen, CoverageScreen)


async def test_another_torch_can_be_typed_and_the_first_answer_comes_too_late(
    make_app: MakeApp,
) -> None:
    later = Coverage(workload="mnist", torch="2.15.0", recorded_with="2.14.1")
    app, questions = make_app(), Questions(ANSWER, later)
    app.start_coverage = questions
    async with app.run_test(size=(120, 40)) as pilot:
        await opened(app, pilot, "m")
        app.screen.query_one("#version", Input).focus()
        await pilot.press(*"2.15", "enter")
        assert questions.put == [("mnist", ""), ("mnist", "2.15")]
        assert questions.covering[0].stopped
        questions.covering[1].go.set()
        await ended(app, pilot)
        assert text(app, "verdict") == f"✓ {later.verdict}"


@pytest.mark.parametrize("error", [MpstuiError("data: cut short"), OSError("no memory")])
async def test_no_answer_is_told_as_none(make_app: MakeApp, error: Exception) -> None:
    app, questions = make_app(), Questions(error)
    app.start_coverage = questions
    async with app.run_test(size=(120, 40)) as pilot:
        await opened(app, pilot, "m")
        questions.covering[0].go.set()
        await ended(app, pilot)
        assert text(app, "verdict") == f"? cannot be determined: {error}"


async def test_a_workload_that_is_none_is_told_in_the_dialog(make_app: MakeApp) -> None:
    def refuse(workload: str, torch: str, values: Mapping[str, Any]) -> CoverageProcess:
        raise FieldError("workload", "'mnst' is not a choice", "mnist, vae")

    app = make_app()
    app.start_coverage = refuse
    async with app.run_test(size=(120, 40)) as pilot:
        await app.workers.wait_for_complete()
        await pilot.press("m")
        await pilot.pause()
        assert "'mnst' is not a choice" in text(app, "verdict")


async def test_closing_it_stops_what_is_asked(make_app: MakeApp) -> None:
    app, questions = make_app(), Questions(ANSWER)
    app.start_coverage = questions
    async with app.run_test(size=(120, 40)) as pilot:
        await opened(app, pilot, "m")
        await pilot.press("escape")
        await ended(app, pilot)
        assert questions.covering[0].stopped
        assert app.is_running

from __future__ import annotations

import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from textual.widgets import DataTable, OptionList, Static

from mpstui.doctor.probes import DeviceTrial
from mpstui.doctor.system import SystemProbes
from mpstui.domain.catalogue import CATALOGUE
from mpstui.domain.conditions import Conditions
from mpstui.domain.facts import TorchFacts
from mpstui.runs.rundir import RunDir
from mpstui.ui.app import MpstuiApp
from mpstui.ui.widgets.finding_list import FindingList

from tests.builders.machines import CONSTRUCTED  # isort: skip
from tests.waiting import PATIENCE  # isort: skip
from tests.ui.conftest import LINUX, ConstructedProbes  # isort: skip

MakeApp = Callable[..., MpstuiApp]
MakeRuns = Callable[..., list[RunDir]]


class SlowTorch(ConstructedProbes):
    """Torch answers when it is told to."""

    def __init__(self) -> None:
        super().__init__()
        self.go = threading.Event()

    def torch_facts(self) -> TorchFacts:
        assert self.go.wait(PATIENCE)
        return super().torch_facts()


def text_of(app: MpstuiApp, selector: str) -> str:
    return str(app.screen.query_one(selector, Static).content)


async def settled(app: MpstuiApp, pilot: Any) -> None:
    await app.workers.wait_for_complete()
    await pilot.pause()


async def test_findings_are_there_before_torch_has_answered(make_app: MakeApp) -> None:
    app = make_app()
    probes = SlowTorch()
    app.probing.probes = probes
    async with app.run_test(size=(120, 40)) as pilot:
        while app.state.facts is None:
            await pilot.pause()
        listed = app.screen.query_one("#findings", OptionList)
        assert listed.get_option("apple-silicon")
        assert app.screen.query_one("#devices", DataTable).row_count == 1
        probes.go.set()
        await settled(app, pilot)
        assert app.screen.query_one("#devices", DataTable).row_count == 4


async def test_the_cursor_starts_on_the_worst_finding_and_its_details_show(
    make_app: MakeApp,
) -> None:
    app = make_app(LINUX, mps=False)
    async with app.run_test(size=(120, 40)) as pilot:
        await settled(app, pilot)
        option = app.screen.query_one("#findings", OptionList).highlighted_option
        assert option is not None
        assert option.id == "accelerator"
        assert "no accelerator" in text_of(app, "#details")


async def test_a_device_row_tells_why_it_cannot_be_used(make_app: MakeApp) -> None:
    app = make_app(LINUX, mps=False)
    async with app.run_test(size=(120, 40)) as pilot:
        await settled(app, pilot)
        app.screen.query_one("#devices").focus()
        await pilot.press("down")
        await pilot.pause()
        assert "not in this torch build" in text_of(app, "#details")


async def test_copying_without_a_remedy_says_so(make_app: MakeApp) -> None:
    app = make_app()
    async with app.run_test(size=(120, 40)) as pilot:
        await settled(app, pilot)
        await pilot.press("y")
        await pilot.pause()
        assert [note.severity for note in app._notifications] == ["warning"]


async def test_modes_by_key_and_by_click(make_app: MakeApp) -> None:
    app = make_app()
    async with app.run_test(size=(120, 40)) as pilot:
        await settled(app, pilot)
        for key, mode in (("2", "configure"), ("3", "live"), ("4", "results"), ("1", "doctor")):
            await pilot.press(key)
            await pilot.pause()
            assert app.current_mode == mode
        await pilot.click("#tab-configure")
        await pilot.pause()
        assert app.current_mode == "configure"


def listed_ids(app: MpstuiApp) -> list[str]:
    listed = app.screen.query_one(FindingList)
    options = (listed.get_option_at_index(place) for place in range(listed.option_count))
    return [option.id for option in options if option.id]


async def test_the_filter_keeps_what_needs_attention_and_gives_the_rest_back(
    make_app: MakeApp,
) -> None:
    app = make_app(LINUX, mps=False)
    async with app.run_test(size=(120, 40)) as pilot:
        await settled(app, pilot)
        everything = listed_ids(app)
        await pilot.press("slash")
        assert listed_ids(app) == ["accelerator"]
        assert app.screen.query_one(FindingList).current_finding is not None
        await pilot.press("slash")
        assert listed_ids(app) == everything


async def test_the_filter_on_a_healthy_machine_says_that_nothing_needs_attention(
    make_app: MakeApp,
) -> None:
    app = make_app()
    async with app.run_test(size=(120, 40)) as pilot:
        await settled(app, pilot)
        await pilot.press("slash")
        only = app.screen.query_one(FindingList).get_option_at_index(0)
        assert "Nothing needs attention" in str(only.prompt)


async def test_checking_ops_adds_a_finding_for_every_known_fault_and_tells_the_faulty_ones(
    make_app: MakeApp,
) -> None:
    app = make_app()
    async with app.run_test(size=(120, 40)) as pilot:
        await settled(app, pilot)
        before = len(listed_ids(app))
        await pilot.press("o")
        await settled(app, pilot)
        assert len(listed_ids(app)) == before + len(CATALOGUE)
        finding = app.screen.query_one(FindingList).findings["topk-16"]
        assert finding.status.value == "fail"
        assert [note.message for note in app._notifications] == ["mps: topk-16"]


async def test_ops_are_not_checked_while_a_run_is_under_way(
    make_app: MakeApp, make_runs: MakeRuns
) -> None:
    make_runs()
    app = make_app()
    async with app.run_test(size=(120, 40)) as pilot:
        await settled(app, pilot)
        app.state.recall()
        await pilot.press("o")
        await settled(app, pilot)
        assert app.state.facts is not None
        assert app.state.facts.ops == ()
        assert any("under way" in note.message for note in app._notifications)


async def test_enter_asks_again_for_the_finding_under_the_cursor_alone(make_app: MakeApp) -> None:
    app = make_app(LINUX, mps=False)
    asked = []

    class Counting(ConstructedProbes):
        def conditions(self) -> Conditions:
            asked.append("conditions")
            return super().conditions()

        def torch_facts(self) -> TorchFacts:
            asked.append("torch")
            return super().torch_facts()

    app.probing.probes = Counting(LINUX, mps=False)
    async with app.run_test(size=(120, 40)) as pilot:
        await settled(app, pilot)
        asked.clear()
        listed = app.screen.query_one(FindingList)
        listed.highlighted = listed.get_option_index("memory")
        await pilot.press("enter")
        await settled(app, pilot)
        assert asked == ["conditions"]


async def test_the_report_is_written_and_copied(make_app: MakeApp, home: Path) -> None:
    app = make_app()
    async with app.run_test(size=(120, 40)) as pilot:
        await settled(app, pilot)
        await pilot.press("e")
        await pilot.pause()
        (written,) = home.glob("doctor-*.md")
        assert written.read_text(encoding="utf-8").startswith("### mpstui doctor")
        assert app.clipboard == written.read_text(encoding="utf-8")


async def test_a_remedy_is_copied_as_commands(make_app: MakeApp) -> None:
    app = make_app()
    app.probing.probes = CONSTRUCTED["M1 under Rosetta"][0]
    async with app.run_test(size=(80, 24)) as pilot:
        await settled(app, pilot)
        await pilot.press("y")
        assert app.clipboard.startswith("uv venv --python cpython-3.12-macos-aarch64-none")


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no signals to name")
@pytest.mark.parametrize(
    ("deed", "limit", "status", "words"),
    [
        ("os.abort()", PATIENCE, "fail", "SIGABRT"),
        ("threading.Event().wait()", 1.0, "unknown", "not decided: no answer within"),
        ("raise RuntimeError('no such GPU')", PATIENCE, "fail", "no such GPU"),
    ],
)
async def test_a_device_that_aborts_hangs_or_raises_is_a_finding_and_the_screen_stays_alive(
    make_app: MakeApp, deed: str, limit: float, status: str, words: str
) -> None:
    command = (sys.executable, "-c", f"import os, threading; {deed}")

    class Deadly(ConstructedProbes):
        def use(self, device: str) -> DeviceTrial:
            return SystemProbes(command, use_timeout=limit).use(device)

    app = make_app()
    app.probing.probes = Deadly()
    async with app.run_test(size=(120, 40)) as pilot:
        await settled(app, pilot)
        found = app.screen.query_one(FindingList).findings
        assert found["device:mps"].status.value == status
        assert words in found["device:mps"].summary
        await pilot.press("2", "1", "down")
        assert app.current_mode == "doctor"

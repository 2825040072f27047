from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

from textual.widgets import DataTable, OptionList, Static

from mpstui.domain.machine import TorchFacts
from mpstui.ui.app import MpstuiApp

from tests.ui.conftest import LINUX, ConstructedProbes  # isort: skip

MakeApp = Callable[..., MpstuiApp]


class SlowTorch(ConstructedProbes):
    """Torch answers when it is told to."""

    def __init__(self) -> None:
        super().__init__()
        self.go = threading.Event()

    def torch_facts(self) -> TorchFacts:
        assert self.go.wait(10)
        return super().torch_facts()


def text_of(app: MpstuiApp, selector: str) -> str:
    return str(app.screen.query_one(selector, Static).content)


async def settled(app: MpstuiApp, pilot: Any) -> None:
    await app.workers.wait_for_complete()
    await pilot.pause()


async def test_findings_are_there_before_torch_has_answered(make_app: MakeApp) -> None:
    app = make_app()
    probes = SlowTorch()
    app._probes = probes
    async with app.run_test(size=(120, 40)) as pilot:
        while app.facts is None:
            await pilot.pause()
        listed = app.screen.query_one("#findings", OptionList)
        assert listed.get_option("apple-silicon")
        assert app.screen.query_one("#devices", DataTable).row_count == 1
        probes.go.set()
        await settled(app, pilot)
        assert app.screen.query_one("#devices", DataTable).row_count == 3


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

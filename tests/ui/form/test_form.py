"""The form on the screen: fold, help, device picker, estimate, keys, contrast."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from textual.color import Color
from textual.css.stylesheet import Stylesheet
from textual.dom import DOMNode
from textual.widgets import Button, Input, Label, Select, Static

from mpstui.domain.config import make_config
from mpstui.domain.devices import parse_devices
from mpstui.domain.facts import DoctorFacts
from mpstui.runs.last_settings import save_last
from mpstui.runs.rundir import RunDir
from mpstui.runs.store import RunStore
from mpstui.ui.app import MpstuiApp
from mpstui.ui.form.estimate import UNKNOWN
from mpstui.ui.form.help_text import NO_FIELD
from mpstui.ui.widgets.form import ConfigForm
from mpstui.ui.widgets.form.controls import Tick
from mpstui.ui.widgets.form.device_picker import DevicePicker
from mpstui.ui.widgets.form.field_help import FieldFact, FieldHelp
from mpstui.ui.widgets.form.fold import Fold
from mpstui.ui.widgets.form.form import FOLDED
from mpstui.ui.widgets.form.row import FieldRow

from tests.ui.conftest import LINUX, M2  # isort: skip
from tests.ui.form.test_estimate import measured, summary  # isort: skip
from tests.ui.screens.test_configure import open_form, retype, shown  # isort: skip

MakeApp = Callable[..., MpstuiApp]

SMALL, MIDDLE = (80, 24), (120, 40)


def text(app: MpstuiApp, id: str) -> str:
    return str(app.screen.query_one(f"#{id}", Static).content)


def facts(app: MpstuiApp) -> dict[str, str]:
    rows = [fact.query(Static) for fact in app.screen.query(FieldFact) if fact.display]
    return {str(row[0].content): str(row[1].content) for row in rows}


def fold(app: MpstuiApp) -> Fold:
    return app.screen.query_one(Fold)


def tick(app: MpstuiApp, device: str) -> Tick:
    ticks = app.screen.query_one(DevicePicker).query(Tick)
    return next(tick for tick in ticks if tick.name == device)


async def test_five_fields_are_shown_and_the_others_folded(make_app: MakeApp) -> None:
    app = make_app()
    async with app.run_test(size=SMALL) as pilot:
        await open_form(app, pilot)
        for name in ("workload", "devices", "batch_size", "epochs", "steps"):
            row = app.screen.query_one(f"#row-{name}")
            assert app.screen.query_one("#form-pane").region.contains_region(row.region), name
        assert not any(app.screen.query_one(f"#{name}").region for name in FOLDED)
        assert str(fold(app).render()) == f"▶ {len(FOLDED)} more: all at their defaults"


@pytest.mark.parametrize("way", ["ctrl+t", "enter", "space", "click"])
async def test_the_fold_opens_and_stays_open_for_the_session(make_app: MakeApp, way: str) -> None:
    app = make_app()
    async with app.run_test(size=MIDDLE) as pilot:
        await open_form(app, pilot)
        if way == "click":
            await pilot.click("#fold")
        else:
            fold(app).focus()
            await pilot.press(way)
        await pilot.pause()
        assert all(app.screen.query_one(f"#{name}").region for name in FOLDED)
        app.set_focus(None)
        await pilot.press("1", "2")
        await pilot.pause()
        assert fold(app).open
        app.screen.query_one("#seed").focus()
        await pilot.press("ctrl+t")
        await pilot.pause()
        assert not app.screen.query_one("#seed").region
        assert app.focused is fold(app)


async def test_the_fold_names_what_is_changed_and_opens_for_what_is_wrong(
    make_app: MakeApp, home: Path
) -> None:
    save_last(make_config({"workload": "mnist", "lr": 0.5, "seed": 7}), parse_devices("cpu"))
    app = make_app()
    async with app.run_test(size=MIDDLE) as pilot:
        await open_form(app, pilot)
        line = f"▶ {len(FOLDED)} more · 2 changed: learning rate, seed"
        assert str(fold(app).render()) == line
        app.screen.query_one("#seed", Input).value = "01"  # another spelling of the default
        await pilot.pause()
        assert fold(app).changed == ("Learning rate",)
        app.screen.query_one("#gamma", Input).value = "2"
        await pilot.pause()
        assert fold(app).open


@pytest.mark.parametrize("size", [SMALL, MIDDLE])
async def test_the_help_is_of_the_field_that_has_the_focus(
    make_app: MakeApp, size: tuple[int, int]
) -> None:
    app = make_app()
    async with app.run_test(size=size) as pilot:
        await open_form(app, pilot)
        pane = app.screen.query_one(FieldHelp)
        app.screen.query_one("#batch_size").focus()
        await pilot.pause()
        assert pane.border_title == "Batch size"
        assert text(app, "about").startswith("How many samples")
        assert facts(app)["Allowed"] == "whole numbers from 1 to 60,000"
        assert facts(app)["Default"] == "64"
        assert facts(app)["Flag"] == "--batch-size"
        assert pane.virtual_size.height <= pane.size.height  # all of it is seen
        await retype(app, pilot, "batch_size", "0")
        assert "0 is too small; allowed: whole numbers" in text(app, "problem")
        assert "Allowed" not in facts(app)
        app.screen.query_one("#workload", Select).value = "vae"
        app.screen.query_one("#epochs").focus()
        await pilot.pause()
        assert facts(app)["Default"] == "10"
        await pilot.press("escape")
        await pilot.pause()
        assert app.focused is None
        assert pane.border_title == NO_FIELD.title


async def test_ticks_and_typed_specs_stay_in_step(make_app: MakeApp) -> None:
    app = make_app()
    async with app.run_test(size=MIDDLE) as pilot:
        await open_form(app, pilot)
        assert [str(tick.render()) for tick in app.screen.query_one(DevicePicker).query(Tick)] == [
            "[x] cpu",
            "[x] mps",
        ]
        tick(app, "mps").focus()
        await pilot.press("space")
        await pilot.pause()
        assert shown(app, "devices") == "cpu"
        assert text(app, "command").startswith("mpstui train --device cpu ")
        await retype(app, pilot, "devices", "mps,cpu@threads=1")
        assert tick(app, "cpu").value
        assert tick(app, "mps").value
        await pilot.click(tick(app, "cpu"))
        await pilot.pause()
        assert shown(app, "devices") == "mps"
        await pilot.click(tick(app, "cpu"))  # what was typed for it is not lost
        await pilot.pause()
        assert shown(app, "devices") == "cpu@threads=1,mps"
        await retype(app, pilot, "devices", "")
        assert not tick(app, "cpu").value
        assert app.screen.query_one("#start", Button).disabled


async def test_why_a_device_is_not_to_be_had_stands_in_its_help(make_app: MakeApp) -> None:
    app = make_app(LINUX, mps=False)
    async with app.run_test(size=SMALL) as pilot:
        await open_form(app, pilot)
        app.screen.query_one("#devices").focus()
        await pilot.pause()
        assert facts(app)["Here"] == "cpu"
        assert facts(app)["Not here"].startswith("mps, cuda, xpu: not in this torch build")


async def test_while_torch_is_asked_it_says_so_and_nothing_jumps(make_app: MakeApp) -> None:
    app = make_app()
    async with app.run_test(size=SMALL) as pilot:
        await open_form(app, pilot)
        before = app.state.facts
        places = {row.id: row.region for row in app.screen.query("FieldRow")}
        app.state.set_facts(DoctorFacts(machine=M2), frozenset())
        await pilot.pause()
        note = app.screen.query_one("#row-devices .note", Static)
        assert "asking torch" in str(note.content)
        assert tick(app, "mps").value
        assert not app.screen.query_one("#start", Button).disabled
        assert before is not None
        app.state.set_facts(before, frozenset())
        await pilot.pause()
        assert {row.id: row.region for row in app.screen.query("FieldRow")} == places


async def test_enter_goes_through_the_fields_to_the_button(make_app: MakeApp) -> None:
    app = make_app()
    async with app.run_test(size=MIDDLE) as pilot:
        await open_form(app, pilot)
        app.screen.query_one("#workload").focus()
        passed = []
        for _ in range(6):
            await pilot.press("enter")
            await pilot.pause()
            passed.append(app.focused.id or app.focused.name if app.focused else None)
        assert passed == ["cpu", "mps", "devices", "batch_size", "epochs", "steps"]


def make_past(home: Path, devices: str, seconds: Sequence[float]) -> None:
    config = make_config({"workload": "mnist"})
    specs = parse_devices(devices)
    runs: list[RunDir] = RunStore(home / "runs").create(config, specs, M2, datetime(2026, 11, 23))
    for run, median in zip(runs, seconds, strict=True):
        device = run.config().device
        run.write_summary(
            summary(run.id, machine=M2.name, device=device, epoch_seconds=measured(median))
        )


async def test_the_estimate_rests_on_the_last_run_here(make_app: MakeApp, home: Path) -> None:
    make_past(home, "cpu,mps", (45.0, 10.0))
    app = make_app()
    async with app.run_test(size=MIDDLE) as pilot:
        await open_form(app, pilot)
        await app.workers.wait_for_complete()
        await pilot.pause()
        assert text(app, "verdict").startswith("trains about 4 min: 3 min on cpu, 40 s on mps")
        assert "mps 10 s an epoch, 2026-11-" in text(app, "plan")
        await retype(app, pilot, "batch_size", "128")
        assert text(app, "verdict") == f"— {UNKNOWN}"
        await retype(app, pilot, "batch_size", "64")
        await retype(app, pilot, "devices", "cpu")
        await retype(app, pilot, "epochs", "1")
        assert text(app, "verdict").startswith("trains about 45 s on cpu")


async def test_without_a_run_like_it_nothing_is_promised(make_app: MakeApp) -> None:
    app = make_app()
    async with app.run_test(size=SMALL) as pilot:
        await open_form(app, pilot)
        await app.workers.wait_for_complete()
        await pilot.pause()
        assert text(app, "verdict") == f"— {UNKNOWN}"


async def test_runs_that_end_meanwhile_count_when_the_screen_is_back(
    make_app: MakeApp, home: Path
) -> None:
    app = make_app()
    async with app.run_test(size=MIDDLE) as pilot:
        await open_form(app, pilot)
        await app.workers.wait_for_complete()
        make_past(home, "cpu,mps", (45.0, 10.0))
        app.set_focus(None)
        await pilot.press("1", "2")
        await app.workers.wait_for_complete()
        await pilot.pause()
        assert text(app, "verdict").startswith("trains about")


@pytest.mark.parametrize("size", [SMALL, MIDDLE, (200, 60)])
@pytest.mark.parametrize("workload", ["mnist", "own"])
async def test_button_verdict_and_command_are_always_on_the_screen(
    make_app: MakeApp, size: tuple[int, int], workload: str
) -> None:
    app = make_app()
    async with app.run_test(size=size) as pilot:
        form: ConfigForm = await open_form(app, pilot)
        app.screen.query_one("#workload", Select).value = workload
        form.toggle_fold()
        await pilot.pause()
        for name in ("start", "verdict", "command"):
            region = app.screen.query_one(f"#{name}").region
            assert region.height, name
            assert app.screen.region.contains_region(region), name


async def test_fields_are_as_wide_as_their_values(make_app: MakeApp) -> None:
    app = make_app()
    async with app.run_test(size=MIDDLE) as pilot:
        form = await open_form(app, pilot)
        form.toggle_fold()
        await pilot.pause()
        widths = {name: app.screen.query_one(f"#{name}").size.width for name in (*FOLDED, "steps")}
        assert widths["lr"] == 10
        assert widths["steps"] > len(str(10**9))
        assert widths["seed"] > len(str(2**63))
        assert widths["data_dir"] > 50


def ratio(one: Color, other: Color) -> float:
    """WCAG 2.1's contrast ratio, 1 to 21."""
    light, dark = sorted((_luminance(one), _luminance(other)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


def _luminance(color: Color) -> float:
    parts = [
        part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4
        for part in color.normalized
    ]
    return 0.2126 * parts[0] + 0.7152 * parts[1] + 0.0722 * parts[2]


@pytest.mark.parametrize("theme", ["textual-dark", "textual-light"])
async def test_ticks_and_fold_keep_their_contrast(make_app: MakeApp, theme: str) -> None:
    app = make_app()
    async with app.run_test(size=MIDDLE) as pilot:
        app.theme = theme
        form: Any = await open_form(app, pilot)
        form.toggle_fold()
        await pilot.pause()
        for widget in (*app.screen.query(Tick), fold(app)):
            for focused in (False, True):
                app.set_focus(widget if focused else None)
                await pilot.pause()
                (line,) = widget.render_lines(widget.size.region)
                for segment in line:
                    if segment.text.strip():
                        assert segment.style is not None
                        ink, ground = segment.style.color, segment.style.bgcolor
                        assert ink is not None
                        assert ground is not None
                        colours = Color.from_rich_color(ink), Color.from_rich_color(ground)
                        assert ratio(*colours) >= 4.5, (widget.name, focused)


async def test_pane_and_row_show_the_focus_and_a_move_does_not_style_the_pane_again(
    make_app: MakeApp, monkeypatch: pytest.MonkeyPatch
) -> None:
    app = make_app()
    async with app.run_test(size=MIDDLE) as pilot:
        await open_form(app, pilot)
        pane, plan = app.screen.query_one("#form-pane"), app.screen.query_one("#plan-pane")

        def bold() -> list[str]:
            rows = app.screen.query(FieldRow)
            return [row.entry for row in rows if row.query_one(Label).styles.text_style.bold]

        app.set_focus(None)
        await pilot.pause()
        outside = pane.styles.border_top
        assert bold() == []
        app.screen.query_one("#epochs").focus()
        await pilot.pause()
        assert plan.styles.border_top == outside != pane.styles.border_top
        assert bold() == ["epochs"]
        styled = set[DOMNode]()
        update = Stylesheet.update_nodes

        def recorded(self: Stylesheet, nodes: Iterable[DOMNode], animate: bool = False) -> None:
            styled.update(nodes := list(nodes))
            update(self, nodes, animate)

        monkeypatch.setattr(Stylesheet, "update_nodes", recorded)
        app.screen.query_one("#steps").focus()
        await pilot.pause()
        assert bold() == ["steps"]
        assert styled & set(app.screen.query("#row-steps"))
        assert not styled & {pane, app.screen.query_one("#row-devices")}
        app.set_focus(None)
        await pilot.pause()
        assert (pane.styles.border_top, bold()) == (outside, [])

"""The settings of a custom workload's class as rows of the form."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from textual.widgets import Checkbox, Input, Select, Static

from mpstui.domain.config import default_config
from mpstui.domain.devices import parse_devices
from mpstui.runs.last_settings import load_last
from mpstui.runs.rundir import RunDir
from mpstui.ui.app import MpstuiApp
from mpstui.ui.form.check import SETTING, FormResult, check
from mpstui.ui.form.command import command_line
from mpstui.ui.form.help_text import NO_FIELD, help_of
from mpstui.ui.widgets.form import ConfigForm
from mpstui.ui.widgets.form.field_help import FieldHelp
from mpstui.ui.widgets.form.setting_rows import SettingRows

from tests.ui.screens.test_configure import open_form, retype, shown  # isort: skip

MakeApp = Callable[..., MpstuiApp]

MINE = '''\
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal


@dataclass
class Mine:
    width: int = 64  # Width of the hidden layer. More is slower.
    mode: Literal["a", "b"] = "a"
    flip: bool = False
    root: Path = Path("data")
    bits: int = 1 << 3
    sizes: list[int] = field(default_factory=list)
    depth: int | None = 2
    lr: float = 0.02
    """The step size."""

    def model(self): ...
    def objective(self, model, images, labels): ...


class Other:
    def __init__(self, need, width: int = 8):
        """:param need: What it needs."""

    def model(self): ...
    def objective(self, model, images, labels): ...
'''


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "mine.py"
    path.write_text(MINE)
    return path


def entries(workload: str, devices: str = "cpu", **settings: str) -> dict[str, Any]:
    config = default_config()
    values = {name: getattr(config, name) for name in config.__struct_fields__}
    return {**values, "workload": workload, "devices": devices, "settings": settings}


def outcome(workload: str, devices: str = "cpu", **settings: str) -> FormResult:
    return check(entries(workload, devices, **settings), None)


def test_only_what_differs_from_the_file_is_set(file: Path) -> None:
    result = outcome(f"{file}:Mine", width="128", mode="a", flip="true", depth="none", bits="")
    assert result.problems == {}
    assert result.config is not None
    assert result.config.settings == {"width": 128, "flip": True, "depth": None}
    line = command_line(result.config, result.specs, result.own)
    assert line.endswith("--set width=128 --set flip=true --set depth=none")


def test_a_wrong_setting_is_a_problem_of_its_row(file: Path) -> None:
    result = outcome(f"{file}:Mine", width="wide", sizes="3")
    assert result.config is None
    assert list(result.problems) == [f"{SETTING}width", f"{SETTING}sizes"]
    assert result.problems[f"{SETTING}width"].problem == "'wide' is not a whole number"


def test_a_required_setting_is_a_problem_until_it_is_set(file: Path) -> None:
    absent = outcome(f"{file}:Other").problems[f"{SETTING}need"]
    assert absent.allowed.startswith("--set need=VALUE")
    assert outcome(f"{file}:Other", need="3").problems == {}
    specs = "cpu@set.need=1,cpu@set.need=2"
    assert outcome(f"{file}:Other", specs).problems == {}
    assert list(outcome(f"{file}:Other", f"cpu,{specs}").problems) == [f"{SETTING}need"]


@pytest.mark.parametrize("spec", ["cpu@set.width=wide", "cpu@set.widht=3", "cpu@set.lr=0"])
def test_settings_in_a_device_spec_are_checked(file: Path, spec: str) -> None:
    assert list(outcome(f"{file}:Mine", spec).problems) == ["devices"]


def test_a_default_of_the_class_that_the_run_refuses_is_a_problem_of_the_file(file: Path) -> None:
    file.write_text(MINE.replace("lr: float = 0.02", "lr: float = -1"))
    problem = outcome(f"{file}:Mine").problems["workload"]
    assert problem.problem == "Mine's default of lr: -1 is too small"


def test_help_has_the_users_text(file: Path) -> None:
    own = outcome(f"{file}:Mine").own
    help = help_of(f"{SETTING}width", f"{file}:Mine", None, own)
    assert (help.title, help.about) == ("width", "Width of the hidden layer. More is slower.")
    assert dict(help.rows) == {
        "Allowed": "whole numbers",
        "Default": "64",
        "Type": "int",
        "Flag": "--set width=N",
    }
    assert help_of(f"{SETTING}away", f"{file}:Mine", None, own) == NO_FIELD


def control(app: MpstuiApp, name: str) -> Any:
    return next(
        widget
        for kind in (Input, Select, Checkbox)
        for widget in app.screen.query_one(SettingRows).query(kind)
        if widget.name == name
    )


def note(app: MpstuiApp, name: str) -> str:
    row = app.screen.query_one(SettingRows).row_of(name)
    return str(row.query_one(".note", Static).content)


def names(app: MpstuiApp) -> list[str]:
    rows = app.screen.query_one(SettingRows).children
    return [getattr(row, "entry", "").removeprefix(SETTING) for row in rows]


async def choose(app: MpstuiApp, pilot: Any, workload: str) -> ConfigForm:
    form = await open_form(app, pilot)
    app.screen.query_one("#workload", Select).value = "own"
    await pilot.pause()
    await retype(app, pilot, "own", workload)
    await pilot.pause()
    await pilot.pause()
    return form


def command(app: MpstuiApp) -> str:
    return str(app.screen.query_one("#command", Static).content)


async def test_each_setting_is_a_row_with_a_control_of_its_type(
    make_app: MakeApp, file: Path
) -> None:
    app = make_app()
    async with app.run_test(size=(120, 40)) as pilot:
        form = await choose(app, pilot, f"{file}:Mine")
        assert names(app) == ["width", "mode", "flip", "root", "bits", "sizes", "depth"]
        kinds = [type(control(app, name)).__mro__ for name in names(app)]
        expected = [Input, Select, Checkbox, Input, Input, Input, Input]
        assert all(kind in mro for kind, mro in zip(expected, kinds, strict=True))
        assert control(app, "bits").placeholder == "1 << 3"
        assert control(app, "sizes").disabled
        notes = [note(app, name) for name in ("width", "mode", "flip", "sizes")]
        assert notes == [
            *("Width of the hidden layer", "a, b", "default: no"),
            "list[int]: only set in the file",
        ]
        assert shown(app, "lr") == "0.02"  # one row for the run's setting and the class's
        assert form.outcome.config is not None
        assert form.outcome.config.lr == 0.02
        assert "--set" not in command(app)
        assert "--lr" not in command(app)


async def test_a_typed_setting_is_checked_shown_in_the_command_and_explained(
    make_app: MakeApp, file: Path
) -> None:
    app = make_app()
    async with app.run_test(size=(120, 40)) as pilot:
        form = await choose(app, pilot, f"{file}:Mine")
        control(app, "width").focus()
        await pilot.press(*"1x")
        assert note(app, "width").startswith("✗ '1x' is not a whole number; allowed: whole")
        assert form.outcome.config is None
        assert app.screen.query_one(FieldHelp).border_title == "width"
        await pilot.press("backspace", *"28")
        assert form.outcome.problems == {}
        assert "--set width=128" in command(app)
        control(app, "flip").toggle()
        control(app, "mode").value = "b"
        await pilot.pause()
        assert command(app).endswith("--set width=128 --set mode=b --set flip=true")
        control(app, "mode").value = "a"
        await pilot.pause()
        assert "mode" not in command(app)


async def test_rows_follow_the_class_and_the_file_and_keep_what_was_typed(
    make_app: MakeApp, file: Path
) -> None:
    app = make_app()
    async with app.run_test(size=(120, 40)) as pilot:
        form = await choose(app, pilot, f"{file}:Mine")
        control(app, "width").focus()
        await pilot.press(*"128")
        await retype(app, pilot, "own", f"{file}:Other")
        await pilot.pause()
        assert names(app) == ["need", "width"]
        assert control(app, "width").value == "128"
        assert shown(app, "lr") == "0.001"
        assert note(app, "need").startswith("✗ Other needs a value")
        file.write_text("class Other(:\n")
        form.recheck()
        await pilot.pause()
        assert names(app) == []
        assert "workload" in form.outcome.problems
        file.write_text(MINE.replace("need, width", "need='x', more=1, width"))
        form.recheck()
        await pilot.pause()
        assert names(app) == ["need", "more", "width"]
        assert control(app, "width").value == "128"
        app.screen.query_one("#workload", Select).value = "vae"
        await pilot.pause()
        await pilot.pause()
        assert names(app) == []
        assert form.outcome.config is not None
        assert form.outcome.config.settings == {}


async def test_settings_are_started_and_restored(
    make_app: MakeApp, file: Path, started: list[Sequence[RunDir]]
) -> None:
    app = make_app()
    async with app.run_test(size=(120, 40)) as pilot:
        await choose(app, pilot, f"{file}:Mine")
        control(app, "width").value = "128"
        control(app, "mode").value = "b"
        await pilot.pause()
        await pilot.press("ctrl+r")
        await pilot.pause()
    run = started[0][0]
    assert run.config().settings == {"width": 128, "mode": "b"}
    assert run.config().lr == 0.02
    last = load_last()
    assert last is not None
    assert last[0].settings == {"width": 128, "mode": "b"}
    again = make_app()
    async with again.run_test(size=(120, 40)) as pilot:
        form = await open_form(again, pilot)
        await pilot.pause()
        assert control(again, "width").value == "128"
        assert control(again, "mode").value == "b"
        await pilot.press("ctrl+n")
        await pilot.pause()
        await pilot.pause()
        assert control(again, "width").value == ""
        assert form.outcome.config is not None
        assert form.outcome.config.settings == {}


def test_devices_of_a_form_may_have_settings_of_their_own(file: Path) -> None:
    result = outcome(f"{file}:Mine", "cpu@set.width=8,cpu@set.width=16")
    assert result.specs == parse_devices("cpu@set.width=8,cpu@set.width=16")


async def test_the_users_choice_of_a_custom_class_leads_to_its_path(make_app: MakeApp) -> None:
    app = make_app()
    async with app.run_test(size=(120, 40)) as pilot:
        await pilot.press("2")
        app.screen.query_one("#workload", Select).focus()
        await pilot.press("space", "end", "enter")
        await pilot.pause()
        await pilot.press(*"a.py")
        assert app.screen.query_one("#own", Input).value == "a.py"

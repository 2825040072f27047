from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from textual.events import Paste
from textual.widgets import Button, Checkbox, Input, Select, Static

from mpstui.domain.config import FIELDS, make_config
from mpstui.runs.last_settings import load_last
from mpstui.runs.mnist_files import FILE_PARTS
from mpstui.runs.rundir import RunDir
from mpstui.ui.app import MpstuiApp
from mpstui.ui.form.command import command_line
from mpstui.ui.widgets.form import ConfigForm
from mpstui.ui.widgets.form.fold import Fold
from mpstui.ui.widgets.form.form import FOLDED

from tests.ui.conftest import LINUX  # isort: skip

MakeApp = Callable[..., MpstuiApp]

NET = "class Net:\n    def model(self): ...\n    def objective(self): ...\n"


async def open_form(app: MpstuiApp, pilot: Any) -> ConfigForm:
    await app.workers.wait_for_complete()
    await pilot.press("2")
    for _ in range(200):  # until the form is there and has looked at itself
        await pilot.pause()
        if app.screen.query(ConfigForm) and app.screen.query("#verdict").first(Static).content:
            break
    return app.screen.query_one(ConfigForm)


def note(app: MpstuiApp, name: str) -> str:
    return str(app.screen.query_one(f"#row-{name} .note", Static).content)


def shown(app: MpstuiApp, name: str) -> str:
    return app.screen.query_one(f"#{name}", Input).value


LONG = 20
"""Characters from which a text is pasted, as a user pastes a path."""


async def retype(app: MpstuiApp, pilot: Any, name: str, text: str) -> None:
    if name in FOLDED:
        app.screen.query_one(Fold).open = True
        await pilot.pause()
    field = app.screen.query_one(f"#{name}", Input)
    field.focus()
    await pilot.press("home", "shift+end", "delete")
    if len(text) < LONG:
        await pilot.press(*text)
    else:  # a path: each key would check the whole form
        field.post_message(Paste(text))
    await pilot.pause()


async def test_every_field_has_a_row(make_app: MakeApp) -> None:
    app = make_app()
    async with app.run_test(size=(120, 40)) as pilot:
        await open_form(app, pilot)
        for field in FIELDS:
            assert app.screen.query_one(f"#row-{field.name}")


async def test_devices_default_to_cpu_and_the_accelerator(make_app: MakeApp) -> None:
    app = make_app()
    async with app.run_test(size=(120, 40)) as pilot:
        await open_form(app, pilot)
        assert shown(app, "devices") == "cpu,mps"


async def test_without_an_accelerator_the_form_says_so(make_app: MakeApp) -> None:
    app = make_app(LINUX, mps=False)
    async with app.run_test(size=(120, 40)) as pilot:
        await open_form(app, pilot)
        assert shown(app, "devices") == "cpu"
        assert "no accelerator" in note(app, "devices")


async def test_a_bad_value_is_told_beside_its_field_and_stops_the_start(
    make_app: MakeApp, started: list[Sequence[RunDir]]
) -> None:
    app = make_app()
    async with app.run_test(size=(120, 40)) as pilot:
        await open_form(app, pilot)
        await retype(app, pilot, "batch_size", "0")
        assert "too small" in note(app, "batch_size")
        assert "60,000" in note(app, "batch_size")
        assert app.screen.query_one("#start", Button).disabled
        await pilot.press("ctrl+r")
        await pilot.pause()
        assert not started
        await retype(app, pilot, "batch_size", "128")
        assert "too small" not in note(app, "batch_size")
        assert not app.screen.query_one("#start", Button).disabled


async def test_a_device_that_is_not_there_is_refused_with_the_doctors_reason(
    make_app: MakeApp,
) -> None:
    app = make_app(LINUX, mps=False)
    async with app.run_test(size=(120, 40)) as pilot:
        await open_form(app, pilot)
        await retype(app, pilot, "devices", "mps")
        assert "not in this torch build" in note(app, "devices")


async def test_a_data_folder_is_looked_into_while_it_is_typed(
    make_app: MakeApp, tmp_path: Path
) -> None:
    (tmp_path / "notes.txt").touch()
    app = make_app()
    async with app.run_test(size=(120, 40)) as pilot:
        await open_form(app, pilot)
        await retype(app, pilot, "data_dir", str(tmp_path / "none"))
        assert "does not exist" in note(app, "data_dir")
        assert app.screen.query_one("#start", Button).disabled
        await retype(app, pilot, "data_dir", str(tmp_path))
        assert "notes.txt" in note(app, "data_dir")
        for part in FILE_PARTS.values():
            (tmp_path / part).touch()
        await retype(app, pilot, "data_dir", str(tmp_path))
        assert not app.screen.query_one("#start", Button).disabled
        app.screen.query_one("#dataset", Select).value = "embedded"
        await pilot.pause()
        assert "reads no folder" in note(app, "data_dir")


async def test_a_fault_of_a_file_is_looked_for_in_it(make_app: MakeApp, tmp_path: Path) -> None:
    path = tmp_path / "faults.py"
    path.write_text("class Off: ...")
    app = make_app()
    async with app.run_test(size=(120, 40)) as pilot:
        await open_form(app, pilot)
        await retype(app, pilot, "devices", f"cpu@fault={path}:On")
        assert "has no class On; allowed: Off" in note(app, "devices")


async def test_a_new_workload_brings_its_defaults_but_keeps_what_was_typed(
    make_app: MakeApp,
) -> None:
    app = make_app()
    async with app.run_test(size=(120, 40)) as pilot:
        await open_form(app, pilot)
        await retype(app, pilot, "epochs", "7")
        app.screen.query_one("#workload", Select).value = "vae"
        await pilot.pause()
        assert shown(app, "batch_size") == "128"
        assert shown(app, "lr") == "0.001"
        assert shown(app, "epochs") == "7"


@pytest.mark.slow
async def test_an_own_workload_is_typed_checked_and_comes_back(
    make_app: MakeApp, started: list[Sequence[RunDir]], tmp_path: Path
) -> None:
    path = tmp_path / "my nets.py"
    app = make_app()
    async with app.run_test(size=(120, 40)) as pilot:
        await open_form(app, pilot)
        assert not app.screen.query_one("#row-own").display
        app.screen.query_one("#workload", Select).value = "own"
        await pilot.pause()
        assert app.screen.query_one("#row-own").display
        assert shown(app, "lr") == "0.001"
        assert "a file and a class are needed" in note(app, "own")
        await retype(app, pilot, "own", f"{path}:Net")
        assert "No such file" in note(app, "own")
        assert app.screen.query_one("#start", Button).disabled
        path.write_text("class Nets: ...")
        await retype(app, pilot, "lr", "0.25")
        assert "has no class Net; allowed: Nets" in note(app, "own")
        path.write_text(NET)
        await retype(app, pilot, "lr", "0.5")
        assert note(app, "own") == "a class of your own file"
        command = str(app.screen.query_one("#command", Static).content)
        assert f"--workload '{path}:Net' --lr 0.5" in command
        await pilot.press("ctrl+r")
        await pilot.pause()
    (runs,) = started
    assert runs[0].workload.read_text() == NET
    again = make_app()
    async with again.run_test(size=(120, 40)) as pilot:
        await open_form(again, pilot)
        assert shown(again, "own") == f"{path}:Net"
        await pilot.press("ctrl+n")
        await pilot.pause()
        assert (shown(again, "own"), shown(again, "lr")) == (f"{path}:Net", "0.001")


async def test_starting_creates_the_runs_and_the_config_comes_back(
    make_app: MakeApp, started: list[Sequence[RunDir]], home: Path
) -> None:
    app = make_app()
    async with app.run_test(size=(120, 40)) as pilot:
        await open_form(app, pilot)
        await retype(app, pilot, "lr", "0.5")
        app.screen.query_one("#dry_run", Checkbox).toggle()
        await pilot.press("ctrl+r")
        for _ in range(200):
            await pilot.pause()
            if app.current_mode == "live":
                break
        assert app.current_mode == "live"
    assert [run.config().device for run in started[0]] == ["cpu", "mps"]
    assert all(run.config().lr == 0.5 and run.config().dry_run for run in started[0])
    assert load_last() is not None
    again = make_app()
    async with again.run_test(size=(120, 40)) as pilot:
        await open_form(again, pilot)
        assert shown(again, "lr") == "0.5"
        assert shown(again, "devices") == "cpu,mps"
        await pilot.press("ctrl+n")
        await pilot.pause()
        assert shown(again, "lr") == "1.0"


async def test_a_broken_last_config_is_told_and_the_form_still_works(
    make_app: MakeApp, home: Path
) -> None:
    home.mkdir(parents=True, exist_ok=True)
    (home / "last.toml").write_text("batch_size = 'many'")
    app = make_app()
    async with app.run_test(size=(120, 40)) as pilot:
        await open_form(app, pilot)
        assert any("last.toml" in note.message for note in app._notifications)
        assert shown(app, "batch_size") == "64"


def test_the_command_line_asks_for_the_same() -> None:
    from mpstui.cli.arguments import config_of
    from mpstui.cli.parser import build_parser
    from mpstui.domain.devices import parse_devices

    config = make_config(
        {"workload": "vae", "lr": 0.0003, "save_model": True, "steps": 12, "data_dir": "a b"}
    )
    line = command_line(config, parse_devices("cpu,cpu@threads=1"))
    import shlex

    arguments = build_parser().parse_args(shlex.split(line)[1:])
    assert config_of(arguments) == config
    assert arguments.devices == "cpu,cpu@threads=1"

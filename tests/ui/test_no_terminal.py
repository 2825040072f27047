"""Where the app cannot draw."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from textual.drivers.headless_driver import HeadlessDriver

from mpstui.__main__ import main
from mpstui.ui.app import MpstuiApp


@pytest.mark.parametrize("command", [[], ["demo"]])
def test_without_a_terminal_the_app_says_so(
    command: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)  # else the demo prints lines
    assert main(command) == 2
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 1
    assert "needs a terminal" in lines[0]


def test_a_script_runs_without_the_app_where_it_cannot_draw(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("MPSTUI_HOME", str(tmp_path / "home"))
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    (tmp_path / "script.py").write_text("raise SystemExit(3)")
    assert main(["run", str(tmp_path / "script.py")]) == 3
    assert "no optimizer step was seen" in capsys.readouterr().out


def test_a_terminal_that_cannot_be_drawn_on_ends_the_app(
    make_app: Callable[..., MpstuiApp], capsys: pytest.CaptureFixture[str]
) -> None:
    class Broken(HeadlessDriver):
        def start_application_mode(self) -> None:
            raise OSError(5, "Input/output error")

    app = make_app()
    app.driver_class = Broken
    app.run()
    assert app.return_code == 1
    assert "Input/output error" in capsys.readouterr().err

"""Where the app cannot draw."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from mpstui.__main__ import main


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

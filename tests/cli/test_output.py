"""What others wrote reaches no terminal as control characters; and every stdout will do."""

from __future__ import annotations

import io
import json
import os
import sys
from pathlib import Path

import pytest

from mpstui.__main__ import main
from mpstui.cli.output import clean, prepare_streams, print_document, print_line
from tests.builders.hostile import CONTROL, HOSTILE, hostile_runs
from tests.full_disk import full_disk

FORMATS = ("table", "markdown", "csv", "json")


@pytest.fixture(scope="module")
def hostile(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("hostile") / "runs"
    hostile_runs(folder)
    return folder


def commands(ids: list[str]) -> list[list[str]]:
    of_all = [["runs"], ["runs", "--json"], ["runs", "--state", HOSTILE], ["runs", "show", HOSTILE]]
    of_all += [["runs", "compare", *ids, "--format", name] for name in FORMATS]
    of_all += [["runs", "export", *ids, "--format", name] for name in ("markdown", "csv", "json")]
    for id in ids:
        of_all += [["runs", "show", id], ["runs", "show", id, "--json"], ["runs", "note", id]]
        of_all += [["watch", id]]
    return [*of_all, ["runs", "delete", *ids], ["runs", "restore"], ["runs", "restore", *ids]]


def test_no_command_prints_the_control_characters_of_a_run(
    hostile: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    ids = [path.name for path in sorted(hostile.iterdir())]
    has_markup = 0
    for command in commands(ids):
        main([*command, "--runs-dir", str(hostile)])
        out, err = capsys.readouterr()
        assert not CONTROL.search(out + err), command
        has_markup += "[/b]" in out + err
        if "json" in command or "--json" in command:
            assert json.loads(out or err), command
    assert has_markup > 20  # the texts were there


@pytest.mark.skipif(sys.platform == "win32", reason="names are Unicode there")
def test_a_name_that_is_not_utf_8_is_listed(
    hostile: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source = sorted(hostile.iterdir())[0]
    (tmp_path / "runs").mkdir()
    source.rename(tmp_path / "runs" / b"20260101-000000-vae-\xff".decode(errors="surrogateescape"))
    for command in (["runs"], ["runs", "--json"], ["runs", "show", "20260101"]):
        assert main([*command, "--runs-dir", str(tmp_path / "runs")]) == 0
        assert "20260101-000000-vae-" in capsys.readouterr().out


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "utf-8"])
def test_what_an_encoding_lacks_is_replaced_and_json_keeps_it(
    encoding: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    written = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(written, encoding=encoding))
    monkeypatch.setattr(sys, "stderr", io.TextIOWrapper(io.BytesIO(), encoding=encoding))
    prepare_streams()
    value = "— é 😀 \x1b[0m \x9b \udcff"
    print_line(value)
    print_line(value, sys.stderr)
    print_document(json.dumps(value[:-1], ensure_ascii=False), is_json=True)
    line, document = written.getvalue().decode(encoding).splitlines()
    assert not CONTROL.search(line)
    assert json.loads(document) == value[:-1]


def test_lines_and_tabs_stay() -> None:
    assert clean("a\tb\r\nc\n") == "a\tb\nc\n"


@pytest.mark.parametrize(
    ("command", "file"),
    [
        (["train", "--device", "cpu", "--dataset", "embedded"], "runs"),
        (["compare", "--devices", "cpu,cpu@threads=1", "--dataset", "embedded"], "runs"),
        (["run", "script.py"], "runs"),
        (["new", "mine.py"], "mine.py"),
        (["investigate", "--device", "cpu", "--dataset", "embedded"], "investigations"),
        (["runs", "note", "vae-fdbb-1", "a note"], "note.md"),
        (["runs", "export", "vae-fdbb-1", "--out", "out.md"], "out.md"),
    ],
)
def test_a_full_disk_is_one_sentence(
    command: list[str],
    file: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("MPSTUI_HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)
    (tmp_path / "script.py").write_text("")
    hostile_runs(tmp_path / "home" / "runs")
    with full_disk():
        code = main(command)
    lines = capsys.readouterr().err.strip().splitlines()
    assert code in (1, 2)
    assert lines[-1].startswith("mpstui: ")
    assert file in lines[-1]
    assert "too large" in lines[-1]


def test_a_folder_without_permission_is_one_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def refuse(path: Path) -> None:
        raise PermissionError(13, "Permission denied", str(path))

    (tmp_path / "runs").mkdir()
    monkeypatch.setattr(os, "listdir", refuse)
    assert main(["runs", "--runs-dir", str(tmp_path / "runs")]) == 1
    assert capsys.readouterr().err == (
        f"mpstui: Unreadable run: {tmp_path / 'runs'}: Permission denied; "
        "allowed: a folder that can be read\n"
    )

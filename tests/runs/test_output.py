from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mpstui.runs.output import MAX_LINE, OutputReader


def written(tmp_path: Path, *parts: str) -> tuple[list[str], str]:
    path, reader = tmp_path / "worker.log", OutputReader(tmp_path / "worker.log")
    lines: list[str] = []
    for part in parts:
        with path.open("a", encoding="utf-8", newline="") as file:
            file.write(part)
        lines += reader.read()
    return lines, reader.unfinished


@pytest.mark.parametrize(
    ("parts", "lines", "unfinished"),
    [
        (["one\ntwo\nth"], ["one", "two"], "th"),
        (["\r10 %", "\r20 %"], [], "20 %"),
        (["\r10 %\r100 %\n", "done\n"], ["100 %", "done"], ""),
        (["windows\r\nline\r\n"], ["windows", "line"], ""),
        (["\x1b[32mgreen\x1b[0m\n"], ["green"], ""),
        (["\x1b]0;title\x07text\n"], ["text"], ""),
        (["a\tb\n"], ["a       b"], ""),
    ],
)
def test_output_is_shown_as_on_a_terminal(
    tmp_path: Path, parts: list[str], lines: list[str], unfinished: str
) -> None:
    assert written(tmp_path, *parts) == (lines, unfinished)


def test_a_character_that_is_cut_between_two_reads_is_whole(tmp_path: Path) -> None:
    path = tmp_path / "worker.log"
    reader = OutputReader(path)
    data = "é\n".encode()
    path.write_bytes(data[:1])
    assert reader.read() == []
    path.write_bytes(data)
    assert reader.read() == ["é"]


def test_a_bar_that_is_rewritten_for_hours_stays_small(tmp_path: Path) -> None:
    path = tmp_path / "worker.log"
    path.write_text("".join(f"\r{n:6} %" for n in range(2 * MAX_LINE)), newline="")
    reader = OutputReader(path)
    assert reader.read() == []
    assert reader.unfinished == f"{2 * MAX_LINE - 1:6} %"
    assert len(reader._rest) <= MAX_LINE


def test_no_file_is_no_output(tmp_path: Path) -> None:
    assert OutputReader(tmp_path / "nothing").read() == []


@given(st.lists(st.text(max_size=30), max_size=8))
def test_no_text_of_a_script_raises_or_keeps_a_control_character(parts: list[str]) -> None:
    import tempfile

    texts = [part.encode("utf-8", "replace").decode() for part in parts]
    with tempfile.TemporaryDirectory() as folder:
        lines, unfinished = written(Path(folder), *texts)
    assert not any("\x1b" in line or "\r" in line for line in [*lines, unfinished])

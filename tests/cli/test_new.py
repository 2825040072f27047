"""``mpstui new`` writes a file that trains, and never over another."""

from __future__ import annotations

from pathlib import Path

import pytest

from mpstui.cli.new import new
from mpstui.cli.parser import build_parser
from mpstui.domain.class_path import ClassPath
from mpstui.domain.errors import FieldError
from mpstui.domain.zoo import ZOO
from mpstui.runs.class_check import check_class
from mpstui.runs.class_source import WORKLOAD


@pytest.mark.parametrize("source", [None, *ZOO])
def test_it_writes_a_workload_and_says_how_to_train_it(
    source: str | None, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "mine.py"
    assert new(file, source) == 0
    line = capsys.readouterr().out
    command = line.strip().rpartition(" ")[2]
    assert line.startswith(f"wrote {file}; train it: mpstui train --workload ")
    path, _, name = command.rpartition(":")
    assert Path(path) == file
    check_class(WORKLOAD, ClassPath(path, name))
    if source is None:
        assert f"mpstui train --workload {command}" in file.read_text()


def test_it_replaces_no_file_and_writes_only_python(tmp_path: Path) -> None:
    file = tmp_path / "mine.py"
    file.write_text("kept")
    with pytest.raises(FieldError, match=r"file: .*mine\.py exists; allowed: a new file"):
        new(file, None)
    assert file.read_text() == "kept"
    with pytest.raises(FieldError, match=r"does not end in \.py"):
        new(tmp_path / "mine.txt", None)
    with pytest.raises(FieldError, match="No such file or directory"):
        new(tmp_path / "nowhere" / "mine.py", None)


def test_settings_in_a_workloads_name_are_settings() -> None:
    line = ["train", "--set", "lr=0.1", "--workload", "torchvision:resnet18@size=64,classes=5"]
    arguments = build_parser().parse_args(line)
    assert arguments.workload == "torchvision:resnet18"
    assert sorted(arguments.sets) == ["classes=5", "lr=0.1", "size=64"]
    assert build_parser().parse_args(["train", "--workload", "vae"]).sets == []

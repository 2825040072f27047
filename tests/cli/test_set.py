"""``--set NAME=VALUE`` on the command line."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from mpstui.__main__ import main
from mpstui.cli import train as module
from mpstui.cli.set_arguments import apply_sets, parse_sets, specs_with_sets, workload_values
from mpstui.domain.devices import parse_devices
from mpstui.domain.errors import FieldError
from mpstui.runs.own_settings import own_settings
from mpstui.runs.store import RunStore

MINE = """\
from dataclasses import dataclass

from torch import nn


@dataclass
class Mine:
    width: int = 8
    lr: float = 0.02
    flip: bool = False

    def model(self):
        print(f"created with {self.width!r}, {self.lr!r}, {self.flip!r}")
        return nn.Sequential(nn.Flatten(), nn.Linear(784, self.width), nn.Linear(self.width, 10))

    def objective(self, model, images, labels):
        return nn.functional.cross_entropy(model(images), labels)


class Required(Mine):
    def __init__(self, depth):
        self.width = depth
        self.lr = 1
        self.flip = None
"""
TINY = ["--dataset", "embedded", "--steps", "2", "--autotune", "off"]


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("MPSTUI_HOME", str(tmp_path))
    return tmp_path


@pytest.fixture
def class_path(tmp_path: Path) -> str:
    path = tmp_path / "mine.py"
    path.write_text(MINE)
    return f"{path}:Mine"


@pytest.mark.parametrize(
    ("command", "words"),
    [
        (["train", "--set", "width=abc"], "width: 'abc' is not a whole number; allowed: whole"),
        (["train", "--set", "widht=3"], "widht: Mine has no such setting; allowed: width, flip"),
        (["train", "--set", "width"], "'width' is no name and value"),
        (["train", "--set", "=3"], "is no name and value"),
        (["train", "--set", "width=1", "--set", "width=2"], "one; mpstui compare takes several"),
        (["train", "--set", "lr=1", "--lr", "2"], "lr: --lr and --set both set it"),
        (["train", "--set", "workload=vae"], "allowed: --workload"),
        (["compare", "--set", "width=1", "--set", "width=01"], "width: 1 is listed twice"),
        (["compare", "--set", "seed=1", "--set", "seed=x"], "seed: 'x' is not a whole number"),
        (["compare", "--set", "mode=turns", "--set", "mode=together"], "cannot differ in it"),
        (["compare", "--devices", "cpu@set.width=x"], "width: 'x' is not a whole number"),
        (["investigate", "--device", "cpu", "--set", "width=x"], "'x' is not a whole number"),
        (["investigate", "--from", "run", "--set", "width=1"], "a run keeps its own settings"),
        (["sweep", "--devices", "cpu", "--set", "width=x"], "'x' is not a whole number"),
        (["doctor", "--for", "mps", "--set", "width=x"], "'x' is not a whole number"),
    ],
)
def test_a_wrong_setting_is_bad_usage_and_starts_nothing(
    command: list[str], words: str, class_path: str, home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([command[0], "--workload", class_path, *command[1:]]) == 2
    out, error = capsys.readouterr()
    assert out == ""
    assert words in error
    assert not (home / "runs").exists()


def test_a_required_setting_is_a_sentence_before_anything_starts(
    class_path: str, home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    workload = class_path.replace("Mine", "Required")
    for command in (["train", "--device", "cpu"], ["sweep", "--devices", "cpu"], ["compare"]):
        assert main([*command, "--workload", workload]) == 2
        error = capsys.readouterr().err
        assert "depth: Required needs a value" in error
        assert "allowed: --set depth=N" in error or "allowed: --set depth=VALUE" in error
    assert not (home / "runs").exists()


def test_a_name_goes_to_the_class_or_else_to_the_run(class_path: str) -> None:
    own = own_settings(class_path)
    values = apply_sets(parse_sets(["width=3", "lr=0.5", "batch-size=32"]), {}, own)
    assert values == {"settings": {"width": 3}, "lr": 0.5, "batch_size": 32}
    assert workload_values("mnist", ["lr=0.01"]) == {"workload": "mnist", "lr": 0.01}
    with pytest.raises(FieldError, match="the workload has no such setting; allowed: lr"):
        workload_values("mnist", ["l=0.01"])


def test_several_values_make_a_run_for_each_on_each_device(class_path: str) -> None:
    sets = {"lr": ["1e-3", "0.1"], "flip": ["true", "false"]}
    specs = specs_with_sets(parse_devices("cpu,mps"), sets, own_settings(class_path))
    assert [str(spec) for spec in specs[:3]] == [
        "cpu@set.flip=true@set.lr=0.001",
        "mps@set.flip=true@set.lr=0.001",
        "cpu@set.flip=false@set.lr=0.001",
    ]
    assert len(specs) == 8


def test_comparing_settings_takes_the_one_best_device(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    calls: list[Any] = []

    def stop(config: Any, specs: Any, *rest: Any) -> Any:
        calls.append([str(spec) for spec in specs])
        raise FieldError("test", "stops here", "nothing")

    class Facts:
        trainable = staticmethod(lambda: ("cpu", "mps"))

        def __init__(self, ask: object) -> None:
            """Probe nothing."""

    monkeypatch.setattr(module, "start", stop)
    monkeypatch.setattr(module, "LazyFacts", Facts)
    main(["compare", "--set", "lr=1", "--set", "lr=2"])
    main(["compare", "--set", "lr=1"])
    main(["compare", "--set", "lr=1", "--set", "lr=2", "--devices", "cpu"])
    assert calls == [
        ["mps@set.lr=1.0", "mps@set.lr=2.0"],
        ["cpu", "mps"],
        ["cpu@set.lr=1.0", "cpu@set.lr=2.0"],
    ]
    capsys.readouterr()


def test_the_class_is_created_with_what_was_set(
    class_path: str, home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    flags = ["--device", "cpu", "--workload", class_path, "--set", "width=3", "--set", "flip=true"]
    assert main(["train", *TINY, *flags, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["settings"] == {"width": 3, "flip": True}
    (run,) = RunStore(home / "runs").all()
    assert "created with 3, 0.02, True" in run.worker_log.read_text()
    assert run.config().lr == 0.02


def test_comparing_settings_raises_no_alarm_and_labels_the_runs(
    class_path: str, home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    flags = ["--workload", class_path, "--devices", "cpu", "--set", "lr=1e-6", "--set", "lr=1e2"]
    steps = ["--steps", "60", "--batch-size", "16"]
    assert main(["compare", *TINY[:2], *TINY[4:], *steps, *flags]) == 0
    out, lines = capsys.readouterr()
    assert "cpu lr=1e-06  " in lines
    first, second = out.splitlines()[1:3]
    assert "cpu lr=1e-06" in first
    assert "cpu lr=100.0" in second
    assert "diverged" not in out
    ids = [run.id.partition("-mine-")[2][5:] for run in reversed(RunStore(home / "runs").all())]
    assert ids == ["1-cpu-lr-1e-06", "2-cpu-lr-100-0"]

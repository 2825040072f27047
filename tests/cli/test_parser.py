from __future__ import annotations

import json
import os
import subprocess
import sys
from datetime import datetime
from pathlib import Path

import pytest

from mpstui.__main__ import main
from mpstui.cli import lazy_facts as facts_module
from mpstui.cli import train as train_module
from mpstui.cli.arguments import config_of
from mpstui.cli.parser import build_parser
from mpstui.domain.config import FIELDS, make_config
from mpstui.domain.devices import parse_devices
from mpstui.domain.errors import FieldError
from mpstui.domain.facts import DeviceFact, DoctorFacts
from mpstui.domain.fields import Flag
from mpstui.domain.machine import Machine
from mpstui.processes.command import child_environment
from mpstui.runs.store import RunStore
from mpstui.telemetry.machine import read_machine
from tests.builders.machines import torch

VALUES = {
    "workload": "vae",
    "dataset": "embedded",
    "data_dir": "/data",
    "batch_size": "32",
    "test_batch_size": "50",
    "epochs": "2",
    "steps": "7",
    "lr": "0.5",
    "gamma": "0.9",
    "seed": "3",
    "test_every": "2",
    "log_interval": "5",
    "pipeline": "reference",
    "precision": "bf16",
    "autotune": "again",
    "mode": "together",
    "step_check": "off",
    "on_alarm": "pause",
}


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("MPSTUI_HOME", str(tmp_path))
    return tmp_path


def test_every_field_has_its_flag() -> None:
    flags = [field.name for field in FIELDS if isinstance(field, Flag)]
    assert set(VALUES) | set(flags) == {field.name for field in FIELDS}
    line = ["compare", *(f"--{name.replace('_', '-')}" for name in flags)]
    for name, value in VALUES.items():
        line += [f"--{name.replace('_', '-')}", value]
    config = config_of(build_parser().parse_args(line))
    by_name = {field.name: field for field in FIELDS}
    for name, value in VALUES.items():
        assert getattr(config, name) == by_name[name].parse(value), name
    assert all(getattr(config, name) is True for name in flags)


def test_what_is_left_out_is_the_workloads_default() -> None:
    for workload in ("mnist", "vae"):
        arguments = build_parser().parse_args(["train", "--workload", workload])
        assert config_of(arguments) == make_config({"workload": workload})
    assert config_of(build_parser().parse_args(["train", "--steps", ""])).steps is None


def test_an_own_class_is_named_by_file_or_module(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (home / "nets").mkdir()
    (home / "nets" / "small.py").touch()
    monkeypatch.chdir(home)
    for workload in ("nets/small.py:Small", "nets.small:Small", " ./nets/small.py:Small"):
        arguments = build_parser().parse_args(["train", "--workload", workload])
        assert config_of(arguments).workload == f"{home / 'nets' / 'small.py'}:Small"
    arguments = build_parser().parse_args(["train", "--workload", "nets.none:Small"])
    with pytest.raises(FieldError, match=rf"workload: nets\.none is not found in {home}"):
        config_of(arguments)


def test_tf32_can_be_asked_for_by_its_flag() -> None:
    arguments = build_parser().parse_args(["train", "--device", "cuda", "--precision", "tf32"])
    assert config_of(arguments).precision == "tf32"


@pytest.mark.parametrize(
    ("line", "words"),
    [
        (["train", "--device", "cpu@cores=2"], "option 'cores' is unknown; allowed: @threads="),
        (["train", "--device", "cpu", "--steps", "many"], "steps: 'many' is not a whole number"),
        (["train", "--device", "mps", "--precision", "tf32"], "precision: mps has no TF32"),
        (["compare", "--devices", ","], "devices: none is named"),
        (["compare", "--devices", "cpu", "--mode", "lockstep"], "mode: 'lockstep'"),
    ],
)
def test_a_bad_value_is_named_before_torch_is_asked(
    line: list[str],
    words: str,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(facts_module, "ask_torch", None)
    assert main(line) == 2
    assert words in capsys.readouterr().err


def test_argparse_refuses_what_it_does_not_know(capsys: pytest.CaptureFixture[str]) -> None:
    for line in (["train", "--colour", "red"], ["compare", "--format", "xml"], ["dance"]):
        with pytest.raises(SystemExit) as caught:
            main(line)
        assert caught.value.code == 2
    assert "xml" in capsys.readouterr().err


def some_runs(folder: Path, devices: str = "cpu") -> list[str]:
    specs = parse_devices(devices)
    now = datetime(2026, 1, 2, 3, 4, 5)
    return [run.id for run in RunStore(folder).create(make_config({}), specs, read_machine(), now)]


def test_runs_are_listed_from_the_folder_that_is_named_anywhere(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    ids = some_runs(tmp_path / "mine", "cpu,cpu@threads=1")
    where = ["--runs-dir", str(tmp_path / "mine")]
    for line in ([*where, "runs", "--json"], ["runs", "--json", *where]):
        assert main(line) == 0
        listed = json.loads(capsys.readouterr().out)["runs"]
        assert sorted(run["run_id"] for run in listed) == sorted(ids)
    for line in (["runs", *where, "--json", "show", ids[0]], ["runs", "show", ids[0], *where]):
        assert main(line) == 0
        out = capsys.readouterr().out
        if "--json" in line:
            assert json.loads(out)["run_id"] == ids[0]
        else:
            assert out.startswith(f"{ids[0]}\n")
            assert "1970" not in out


def test_an_ambiguous_id_lists_the_runs(capsys: pytest.CaptureFixture[str], home: Path) -> None:
    ids = some_runs(home / "runs", "cpu,cpu@threads=1")
    assert main(["runs", "show", "mnist"]) == 2
    error = capsys.readouterr().err
    assert all(each in error for each in ids)


def test_a_broken_run_does_not_hide_the_others(
    capsys: pytest.CaptureFixture[str], home: Path
) -> None:
    fine, broken = some_runs(home / "runs")[0], home / "runs" / "20270101-000000-x"
    broken.mkdir()
    (broken / "config.toml").write_text("epochs = 0")
    assert main(["runs"]) == 0
    out, error = capsys.readouterr()
    assert fine in out
    assert "1970" not in out
    (row,) = [line for line in out.splitlines() if line.startswith(broken.name)]
    assert "unreadable" in row
    assert "epochs: 0 is too small" in row
    assert error == ""
    assert main(["runs", "show", broken.name]) == 1


def test_a_runs_folder_that_is_a_file_is_bad_usage(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").touch()
    line = ["train", "--device", "cpu", "--runs-dir", str(tmp_path / "file")]
    assert main(line) == 2
    assert "runs_dir" in capsys.readouterr().err


def test_a_supervisor_that_cannot_start_is_told_and_not_waited_for(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        "mpstui.runs.launch.module_command", lambda *_: [sys.executable, "-c", "raise SystemExit"]
    )
    assert main(["train", "--device", "cpu", "--json"]) == 1
    out, error = capsys.readouterr()
    assert json.loads(out)["state"] == "crashed"
    assert "exited without a message at step 0" in error


def facts(machine: Machine, *devices: str) -> DoctorFacts:
    known = tuple(
        DeviceFact(device=device, built=True, available=True, usable=None) for device in devices
    )
    return DoctorFacts(machine=machine, torch=torch(devices=known), torch_state="known")


@pytest.mark.parametrize(
    ("devices", "train", "compare"),
    [
        (("cpu",), "cpu", ["cpu"]),
        (("cpu", "mps"), "mps", ["cpu", "mps"]),
        (("cpu", "cuda:0", "cuda:1"), "cuda:0", ["cpu", "cuda:0"]),
    ],
)
def test_the_default_device_is_the_first_accelerator(
    monkeypatch: pytest.MonkeyPatch, devices: tuple[str, ...], train: str, compare: list[str]
) -> None:
    asked: list[list[str]] = []

    def start(config: object, specs: list[object], *_: object) -> None:
        asked.append([str(spec) for spec in specs])
        raise KeyError

    machine = read_machine()
    monkeypatch.setattr(facts_module, "ask_torch", lambda *_, **__: facts(machine, *devices))
    monkeypatch.setattr(train_module, "start", start)
    for command in ("train", "compare"):
        with pytest.raises(KeyError):
            main([command])
    assert asked == [[train], compare]


@pytest.mark.parametrize("command", ["train", "compare"])
def test_without_torchs_answer_no_device_is_chosen_for_the_user(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    home: Path,
    command: str,
) -> None:
    silent = DoctorFacts(machine=read_machine(), torch_state="undecided", torch_error="no answer")
    monkeypatch.setattr(facts_module, "ask_torch", lambda *_, **__: silent)
    assert main([command]) == 2
    assert "the available ones are unknown: no answer. Name one" in capsys.readouterr().err
    assert not (home / "runs").exists()


def test_a_device_that_is_not_there_is_refused(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], home: Path
) -> None:
    machine = read_machine()
    monkeypatch.setattr(facts_module, "ask_torch", lambda *_, **__: facts(machine, "cpu", "cuda:0"))
    assert main(["train", "--device", "cuda:7"]) == 2
    assert "cuda:7" in capsys.readouterr().err
    assert not (home / "runs").exists()


@pytest.mark.skipif(sys.platform == "win32", reason="its pipes break otherwise")
def test_a_reader_that_leaves_early_is_no_error(home: Path) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    buffered = {
        key: value for key, value in child_environment().items() if key != "PYTHONUNBUFFERED"
    }
    command = [sys.executable, "-m", "mpstui", "runs"]
    with os.fdopen(writing, "wb") as pipe:
        done = subprocess.run(command, stdout=pipe, stderr=subprocess.PIPE, env=buffered)
    assert (done.returncode, done.stderr) == (0, b"")

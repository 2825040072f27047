from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import pytest

from mpstui.__main__ import main
from mpstui.runs.launch import PrewarmedSupervisor
from mpstui.runs.rundir import RunDir

TINY = ["--dataset", "embedded", "--batch-size", "16"]


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("MPSTUI_HOME", str(tmp_path))
    return tmp_path


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["train", "--device", "cpu", "--batch-size", "0"], "batch_size: 0 is too small"),
        (["train", "--device", "cpu", "--lr", "x"], "lr: 'x' is not a number"),
        (["train", "--device", "tpu"], "'tpu' names no device"),
        (["train", "--device", "cpu", "--precision", "tf32"], "TF32"),
        (["compare", "--devices", "cpu,cpu"], "twice"),
        (["runs", "show", "nothing"], "'nothing'"),
    ],
)
def test_bad_usage_exits_2_and_names_what_is_wrong(
    arguments: list[str], words: str, capsys: pytest.CaptureFixture[str], home: Path
) -> None:
    assert main(arguments) == 2
    out, error = capsys.readouterr()
    assert out == ""
    assert words in error
    assert not (home / "runs").exists()


def test_no_runs_is_said_and_is_an_empty_list_in_json(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["runs"]) == 0
    assert "no runs" in capsys.readouterr().out
    assert main(["runs", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {"runs": [], "unreadable": [], "troubles": {}}


def test_one_process_answers_for_the_devices_and_trains(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delattr("mpstui.cli.lazy_facts.SystemProbes")  # no second process imports torch
    take, took = PrewarmedSupervisor.take, list[bool]()

    def taking(warm: PrewarmedSupervisor, runs: Sequence[RunDir]) -> object:
        supervisor = take(warm, runs)
        took.append(supervisor is not None)
        return supervisor

    monkeypatch.setattr(PrewarmedSupervisor, "take", taking)
    assert main(["train", "--steps", "2", *TINY]) == 0
    assert main(["train", "--steps", "2", "--device", "cpu", *TINY]) == 0  # needs no probe
    assert capsys.readouterr().out.count("\nTrain Epoch: 1 [") == 2
    assert took == [True, False]


def test_train_prints_one_json_document_and_is_listed_and_shown(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main(["train", "--device", "cpu", "--steps", "12", *TINY, "--json"]) == 0
    out, error = capsys.readouterr()
    run = json.loads(out)
    assert (run["state"], run["steps"]) == ("finished", 12)
    assert "Train Epoch: 1 [160/60000 (0%)]" in error
    assert main(["runs"]) == 0
    assert run["run_id"] in capsys.readouterr().out
    assert main(["runs", "show", run["run_id"]]) == 0
    assert "batch_size = 16" in capsys.readouterr().out


INTERRUPTED = """
from torch import nn
from interrupted_net import make
HIDDEN = open("hidden.txt").read()

class Mine:
    calls = 0
    def model(self): return make(int(HIDDEN))
    def objective(self, model, x, y):
        self.calls += model.training
        if self.calls > 5:
            raise KeyboardInterrupt
        return nn.functional.cross_entropy(model(x), y)
"""
NET = """
from torch import nn
def make(hidden): return nn.Sequential(nn.Flatten(), nn.Linear(784, hidden))
"""


def test_a_run_of_a_file_with_modules_that_interrupts_itself_fails_with_its_line(
    capsys: pytest.CaptureFixture[str], home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (home / "nets").mkdir()
    (home / "nets" / "interrupted.py").write_text(INTERRUPTED)
    (home / "nets" / "interrupted_net.py").write_text(NET)
    (home / "hidden.txt").write_text("10")
    monkeypatch.chdir(home)
    own = ["--workload", "nets.interrupted:Mine", "--runs-dir", "some runs", "--autotune", "off"]
    assert main(["train", "--device", "cpu", "--steps", "12", *TINY, *own]) == 1
    (run,) = (home / "some runs").iterdir()
    place = "KeyboardInterrupt (interrupted.py:12, in objective)"
    lines = capsys.readouterr().out.splitlines()
    assert f"failed after step 5: {place}; full traceback: {run / 'worker.log'}" in lines
    assert f'File "{home / "nets" / "interrupted.py"}", line 12' in (run / "worker.log").read_text()


def test_compare_puts_the_table_on_stdout_alone(capsys: pytest.CaptureFixture[str]) -> None:
    devices = "cpu@threads=1,cpu"
    assert main(["compare", "--devices", devices, "--steps", "12", *TINY, "--format", "csv"]) == 0
    out, error = capsys.readouterr()
    lines = out.splitlines()
    assert lines[0].startswith("machine,memory,device")
    assert [line.split(",")[2] for line in lines[1:3]] == ["cpu@threads=1", "cpu"]
    assert "time_cost" in error


def test_a_step_that_differs_from_the_cpus_is_an_alarm(capsys: pytest.CaptureFixture[str]) -> None:
    devices = ["--devices", "cpu@threads=1,cpu@fault=neg-stride0", "--workload", "vae"]
    arguments = ["compare", *devices, "--steps", "12", *TINY, "--on-alarm", "stop"]
    assert main([*arguments, "--format", "json"]) == 0
    out, lines = capsys.readouterr()
    sound, faulty = json.loads(out)["runs"]
    assert (sound["state"], sound["alarm"], sound["failed_step"]) == ("finished", "", None)
    assert any(note.startswith("step agrees with cpu: loss ") for note in sound["notes"])
    assert faulty["state"] == "stopped"
    assert faulty["steps"] <= 1
    assert faulty["failed_step"]["phase"] == "backward"
    assert faulty["alarm"].startswith("step differs from cpu: gradients ")
    assert faulty["message"] == f"alarm: {faulty['alarm']}"
    assert f"ALARM: {faulty['alarm']}" in lines


def test_without_the_step_check_nothing_is_compared(capsys: pytest.CaptureFixture[str]) -> None:
    devices = ["--devices", "cpu@threads=1,cpu@fault=neg-stride0", "--workload", "vae"]
    arguments = ["compare", *devices, "--steps", "2", *TINY, "--step-check", "off"]
    assert main([*arguments, "--format", "json"]) == 0
    out, lines = capsys.readouterr()
    assert [run["failed_step"] for run in json.loads(out)["runs"]] == [None, None]
    assert "agrees with cpu" not in lines + out and "differs from cpu" not in lines + out


@pytest.mark.slow
def test_a_run_that_leaves_the_course_is_stopped_where_that_was_asked_for(
    capsys: pytest.CaptureFixture[str],
) -> None:
    arguments = ["compare", "--workload", "vae", "--dataset", "embedded", "--steps", "1500"]
    devices = [
        "--devices",
        "cpu,cpu@fault=neg-stride0",
        "--on-alarm",
        "stop",
        "--step-check",
        "off",
    ]
    assert main([*arguments, *devices, "--format", "json"]) == 0
    out, lines = capsys.readouterr()
    sound, faulty = json.loads(out)["runs"]
    assert (sound["state"], sound["parted_at"]) == ("finished", None)
    assert faulty["state"] == "stopped"
    assert "alarm: diverged from cpu at step" in faulty["message"]
    assert faulty["parted_at"] <= 40
    assert faulty["steps"] < 1500
    assert any("SIMULATED fault neg-stride0" in note for note in faulty["notes"])
    assert "ALARM: diverged from cpu at step" in lines

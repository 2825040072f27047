"""The program's own commands on the simulated device, in processes of their own."""

from __future__ import annotations

import importlib.metadata
import json
from pathlib import Path
from typing import Any

import pytest

from mpstui.doctor.system import SystemProbes
from mpstui.kernel_tables.tables import kernel_table

from . import Fault, scripts
from .conftest import RunProgram, RunPython, Simulate

from tests.custom_workloads import stripes  # isort: skip

pytestmark = pytest.mark.slow

SMALL = ("--dataset", "embedded", "--json")
VAE = ("--workload", "vae", "--dataset", "embedded")
NEG_DOES_NOTHING = Fault("aten::neg", "scale", factor=0.0)


def train(program: RunProgram, *arguments: str, status: int = 0) -> Any:
    return json.loads(program("train", "--device", "mps", *arguments, *SMALL, status=status).stdout)


def test_the_doctor_finds_it_usable(program: RunProgram) -> None:
    report = json.loads(program("doctor", "--format", "json").stdout)
    (finding,) = [each for each in report["findings"] if each["id"] == "device:mps"]
    assert finding["status"] == "ok"
    assert "Simulated MPS device" in finding["summary"]
    table = kernel_table(importlib.metadata.version("torch"))
    assert table.native | table.fallback <= set(report["torch"]["mps_kernels"])


def test_the_doctor_says_that_no_device_is_there(program: RunProgram, simulate: Simulate) -> None:
    simulate(available=False)
    report = json.loads(program("doctor", "--format", "json").stdout)
    (mps,) = [fact for fact in report["devices"] if fact["device"] == "mps"]
    assert (mps["built"], mps["available"], mps["usable"]) == (True, False, False)
    error = program("train", "--device", "mps", "--steps", "2", status=2).stderr
    assert "torch finds no MPS device" in error


def test_a_device_that_hangs_is_no_answer(simulate: Simulate) -> None:
    simulate(faults=(Fault("aten::linear", "hang"),))
    trial = SystemProbes(use_timeout=15).use("mps")
    assert (trial.usable, trial.reason) == (
        None,
        "no answer within 15 s; mpstui ended the process",
    )


def test_every_op_is_sound_there(program: RunProgram) -> None:
    report = json.loads(program("doctor", "--ops", "--format", "json").stdout)
    (run,) = [run for run in report["ops"] if run["device"] == "mps"]
    assert run["error"] == ""
    assert [row for row in run["known"] if row["status"] == "faulty"] == []
    assert [row for row in run["everyday_odd"] if row["status"] == "faulty"] == []
    assert run["everyday_sound"] > 1900


def test_a_wrong_op_fails_the_op_check(program: RunProgram, simulate: Simulate) -> None:
    simulate(faults=(Fault("aten::topk", "scale", factor=0.5),))
    arguments = ("doctor", "--ops", "--only", "topk-16", "--format", "json")
    report = json.loads(program(*arguments, status=1).stdout)
    (finding,) = report["findings"]
    assert (finding["id"], finding["status"]) == ("topk-16", "fail")
    assert "mps faulty" in finding["summary"]


def test_a_default_run_trains(program: RunProgram) -> None:
    summary = train(program, "--steps", "12")
    assert (summary["state"], summary["steps"]) == ("finished", 12)
    assert "Simulated" in summary["device_name"]
    assert summary["pipeline"] == "resident"
    assert summary["joules_per_epoch"] > 0


def test_data_that_the_device_has_no_room_for_stay_on_the_host(
    program: RunProgram, simulate: Simulate
) -> None:
    simulate(recommended=30_000_000)
    summary = train(program, "--steps", "2")
    assert summary["state"] == "finished"
    assert any("the data stay on the host" in note for note in summary["notes"])


@pytest.mark.parametrize("option", ["pipeline=streamed", "pipeline=reference"])
def test_other_pipelines_take_the_same_steps(program: RunProgram, option: str) -> None:
    options = ("--steps", "4", *SMALL)
    other = json.loads(program("train", "--device", f"mps@{option}", *options).stdout)
    assert other["train_loss"] == pytest.approx(train(program, "--steps", "4")["train_loss"])


@pytest.mark.parametrize("precision", ["bf16", "fp16"])
def test_half_precisions_train(program: RunProgram, precision: str) -> None:
    summary = train(program, *VAE[:2], "--precision", precision, "--steps", "6")
    assert (summary["state"], summary["precision"]) == ("finished", precision)
    assert 250 < summary["train_loss"] < 560


def test_a_run_is_resumed_with_the_devices_random_state(
    python: RunPython, program: RunProgram
) -> None:
    arguments = ("--steps", "4", "--json")
    resumed = json.loads(
        program("train", "--resume", python(scripts.stopped_run), *arguments).stdout
    )
    whole = train(program, *VAE[:2], "--batch-size", "20000", "--epochs", "2", "--steps", "4")
    assert (resumed["state"], resumed["steps"]) == ("finished", 4)
    assert any("resumed from" in note for note in resumed["notes"])
    assert resumed["test_loss"] == pytest.approx(whole["test_loss"], rel=1e-6)


def test_a_custom_workload_trains_on_its_own_data(program: RunProgram) -> None:
    workload = f"{Path(stripes.__file__)}:Stripes"
    arguments = ("train", "--device", "mps", "--workload", workload, "--steps", "3", "--json")
    summary = json.loads(program(*arguments).stdout)
    assert (summary["state"], summary["steps"]) == ("finished", 3)


@pytest.mark.parametrize("mode", ["turns", "together"])
def test_a_comparison_starts_equal_and_keeps_its_course(program: RunProgram, mode: str) -> None:
    arguments = ("compare", "--devices", "cpu,mps", *VAE, "--steps", "20", "--mode", mode)
    runs = json.loads(program(*arguments, "--format", "json").stdout)["runs"]
    assert [run["state"] for run in runs] == ["finished"] * 2
    assert [run["alarm"] for run in runs] == ["", ""]
    checked = [note for note in runs[1]["notes"] if " agrees with cpu: loss " in note]
    assert [note.split()[0] for note in checked] == ["step", "test"]
    on_cpu, on_device = (run["train_loss"] for run in runs)
    assert on_device == pytest.approx(on_cpu, rel=0.05)  # each device draws its own noise


def test_a_faulty_op_raises_the_alarm_and_is_found(program: RunProgram, simulate: Simulate) -> None:
    simulate(faults=(NEG_DOES_NOTHING,))
    arguments = ("compare", "--devices", "cpu,mps", *VAE, "--steps", "100")
    sound, faulty = json.loads(program(*arguments, "--format", "json").stdout)["runs"]
    assert sound["parted_at"] is None
    assert faulty["parted_at"] <= 60
    assert (faulty["failed_step"]["step"], faulty["failed_step"]["phase"]) == (1, "backward")
    words = program("investigate", "--from", faulty["run_id"], status=1).stdout
    assert "faulty op" in words
    assert "aten.neg.default in backward is wrong on mps" in words


def test_a_healthy_device_is_not_accused(program: RunProgram) -> None:
    words = program("investigate", *VAE[:2], "--device", "mps", "--steps", "2").stdout
    assert "agree with the CPU, op by op" in words


def test_a_sweep_measures_both(program: RunProgram) -> None:
    arguments = ("--batch-sizes", "16,32", "--workload", "vae", "--seconds", "0.05", "--json")
    report = json.loads(program("sweep", "--devices", "cpu,mps", *arguments).stdout)
    assert "mps" in json.dumps(report)


def test_an_abort_is_told_with_its_signal_and_metals_last_words(
    program: RunProgram, simulate: Simulate
) -> None:
    simulate(faults=(Fault("aten::linear", "abort", from_call=40),))
    summary = train(program, *VAE[:2], "--steps", "30", status=1)
    assert summary["state"] == "crashed"
    assert "SIGABRT" in summary["message"]


def test_memory_that_runs_out_and_errors_that_come_late_are_told_in_torchs_words(
    program: RunProgram, simulate: Simulate
) -> None:
    simulate(limit=9_000_000)
    summary = train(program, *VAE[:2], "--steps", "4", status=1)
    assert "MPS backend out of memory" in summary["message"]
    simulate(faults=(Fault("aten::linear", "fail later", from_call=40),))
    summary = train(program, *VAE[:2], "--steps", "30", status=1)
    assert "AcceleratorError" in summary["message"]


def test_an_op_without_a_kernel_ends_the_run_or_falls_back(
    program: RunProgram, simulate: Simulate, monkeypatch: pytest.MonkeyPatch
) -> None:
    simulate(without=("exp", "exp.out", "exp_"))
    summary = train(program, *VAE[:2], "--steps", "3", status=1)
    assert "'aten::exp" in summary["message"]
    assert "is not currently implemented for the MPS device" in summary["message"]
    monkeypatch.setenv("PYTORCH_ENABLE_MPS_FALLBACK", "1")
    assert train(program, *VAE[:2], "--steps", "3")["state"] == "finished"

"""What an investigation ends with, whatever is wrong: small real trainings on the CPU."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import psutil
import pytest

from mpstui.domain.config import make_config
from mpstui.domain.investigation import Investigation, ProgressMessage, Stage, Verdict
from mpstui.investigate.isolate import OpIsolator, ReproRun
from mpstui.investigate.progress import ProgressReporter
from mpstui.investigate.request import InvestigationFolder, InvestigationRequest
from mpstui.investigate.search import Search, format_ranges
from mpstui.investigate.start import BEGINNING, Start
from mpstui.investigate.twin import build
from mpstui.runs.rundir import Dataset

FAULTS = Path(__file__).with_name("faults.py")


def investigate(folder: Path, bad_step: int | None = None, **asked: Any) -> Investigation:
    told: list[ProgressMessage] = []
    config = make_config({"workload": "vae", "device": "cpu", **asked})
    twin = build(config, Dataset(source="embedded"), folder)
    request = InvestigationRequest(config=config, steps=3)
    finding = Search(twin, request, InvestigationFolder(folder), ProgressReporter(told.append)).run(
        Start((BEGINNING,), bad_step)
    )
    assert {each.stage for each in told} >= {Stage.LOCKSTEP, Stage.OPS}
    return finding


def with_fault(name: str, folder: Path, **asked: Any) -> Investigation:
    return investigate(folder, device=f"cpu@fault={FAULTS}:{name}", **asked)


def test_a_right_training_has_nothing_to_find(tmp_path: Path) -> None:
    found = investigate(tmp_path)
    assert found.verdict is Verdict.NOTHING
    assert (found.steps_checked, found.op, found.repro) == (3, None, "")
    assert found.ops_checked > 300
    assert not found.unreferenced
    ours, cpu = found.curves
    both = list(zip(ours.losses, cpu.losses, strict=False))  # each stops when its time is up
    assert both and all(mine == other for mine, other in both)
    assert 540 < (ours.losses[0] or 0) < 560  # per sample, as the log has it


def test_a_write_out_of_bounds_names_the_op_and_what_it_wrote_into(tmp_path: Path) -> None:
    found = with_fault("OutOfBounds", tmp_path)
    assert (found.verdict, found.kind) == (Verdict.FAULTY_OP, "writes out of bounds")
    assert found.op is not None
    assert (found.op.op, found.op.phase) == ("aten.relu.default", "forward")
    assert found.op.where == "fc1.bias"
    assert "relu(self.fc1(" in found.op.code


def test_another_op_than_the_model_calls_is_no_faulty_op(tmp_path: Path) -> None:
    found = with_fault("OtherOp", tmp_path)
    assert found.verdict is Verdict.OTHER_OPS
    assert found.op is not None
    assert found.op.op == "aten.exp.default"
    assert "aten.tanh.default" in found.summary
    assert "torch.exp(" in found.op.code


def test_a_kernel_that_is_wrong_in_the_reference_too_is_found_by_the_replica(
    tmp_path: Path,
) -> None:
    found = with_fault("Kernel", tmp_path)
    assert found.verdict is Verdict.FAULTY_OP
    assert found.op is not None
    assert (found.op.op, found.op.phase) == ("aten.neg.default", "backward")
    assert "divergence" in found.op.code
    assert found.evidence[0].outcome == "wrong 3 of 3 times"
    left = [child.cmdline() for child in psutil.Process().children()]
    assert not any("mpstui.investigate.repro.replay" in words for words in left)


def test_what_is_wrong_only_unwatched_is_a_race(tmp_path: Path) -> None:
    found = with_fault("Race", tmp_path)
    assert found.verdict is Verdict.RACE
    assert found.lockstep is not None
    assert found.lockstep.phase == "backward"
    outcomes = ["right 5 of 5 times", "wrong 5 of 5 times"]
    assert [each.outcome for each in found.evidence] == outcomes


def test_an_error_that_the_cpu_does_not_raise_names_the_op_that_raised_it(tmp_path: Path) -> None:
    found = with_fault("Raises", tmp_path)
    assert (found.verdict, found.kind) == (Verdict.FAULTY_OP, "raises an error")
    assert found.op is not None
    assert (found.op.op, found.op.phase) == ("aten.threshold_backward.default", "backward")
    assert found.op.values == "RuntimeError: command buffer exited with error status 5"
    assert "relu(" in found.op.code


def test_an_op_that_raises_earlier_the_next_time_is_named_all_the_same(tmp_path: Path) -> None:
    found = with_fault("RaisesEarlier", tmp_path)
    assert found.kind == "raises an error"
    assert found.op is not None
    assert (found.op.op, found.op.phase) == ("aten.relu.default", "forward")


def test_a_nan_that_the_loss_refuses_is_put_on_the_op_that_made_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(OpIsolator, "_write_script", lambda *_: ReproRun(note="none: a test"))
    found = with_fault("NanInExp", tmp_path)
    assert found.verdict is Verdict.FAULTY_OP
    assert found.op is not None
    assert (found.op.op, found.op.error) == ("aten.exp.default", None)
    assert "not finite" in found.op.values


def test_wrong_indices_are_put_on_the_op_that_gave_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(OpIsolator, "_write_script", lambda *_: ReproRun(note="none: a test"))
    found = with_fault("PoolIndices", tmp_path, workload="mnist", batch_size=8)
    assert found.op is not None
    assert (found.op.op, found.op.phase) == ("aten.max_pool2d_with_indices.default", "forward")
    assert found.op.where == "output 2"


@pytest.mark.parametrize(
    ("steps", "words"),
    [([], "steps none"), ([4], "step 4"), ([1, 2, 3], "steps 1–3"), ([9, 1, 2], "steps 1–2 and 9")],
)
def test_steps_are_told_as_ranges(steps: list[int], words: str) -> None:
    assert format_ranges(steps) == words


def test_bf16_is_a_setting_and_no_fault(tmp_path: Path) -> None:
    found = investigate(tmp_path, precision="bf16")
    assert found.verdict is Verdict.LOWER_PRECISION
    assert "bf16 autocast" in found.summary
    assert "--precision float32" in found.remedy


def test_fp16s_scaler_is_a_part_of_what_is_investigated(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        OpIsolator, "_write_script", lambda *_: ReproRun(note="not written in this test")
    )
    right = investigate(tmp_path, precision="fp16", workload="mnist", batch_size=8)
    assert right.verdict in (Verdict.LOWER_PRECISION, Verdict.NOTHING)
    found = with_fault("UnscalesHalf", tmp_path, precision="fp16", workload="mnist", batch_size=8)
    assert found.verdict is Verdict.FAULTY_OP
    assert found.op is not None
    assert "non_finite_check_and_unscale" in found.op.op
    assert found.op.phase == "backward"


def test_a_rate_that_is_too_high_diverges_on_the_cpu_too(tmp_path: Path) -> None:
    found = investigate(tmp_path, bad_step=12, lr=3.0)
    assert found.verdict is Verdict.DIVERGES_ON_CPU
    assert not found.verdict.blames_device
    tried = {each.tried: each.outcome for each in found.evidence}
    assert tried["the batch at that step"] == "every value is finite"
    assert any(each.startswith("the same steps on the CPU, learning rate ÷ ") for each in tried)


def test_a_bad_step_that_the_cpu_takes_well_is_not_put_on_it(tmp_path: Path) -> None:
    assert investigate(tmp_path, bad_step=5).verdict is Verdict.NOTHING

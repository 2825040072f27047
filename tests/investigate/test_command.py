"""``mpstui investigate`` as the user runs it: real processes, the article's story, and an abort."""

from __future__ import annotations

import json
import subprocess
import sys
from datetime import datetime
from pathlib import Path

import msgspec
import pytest

from mpstui.__main__ import main
from mpstui.cli.investigate import as_text
from mpstui.doctor.report import without_names
from mpstui.domain.config import make_config
from mpstui.domain.investigation import Investigation, ProgressMessage, Stage, Verdict
from mpstui.investigate import client
from mpstui.investigate.client import InvestigationClient, create_folder
from mpstui.investigate.request import InvestigationFolder, InvestigationRequest
from mpstui.processes.command import child_environment

UNDER_WAY = b'[1,3,"forward","aten.relu.default"]\n'
RETURNED = b'[1,3,"forward","aten.relu.default",true]\n'
FAULTS = Path(__file__).with_name("faults.py")


@pytest.mark.slow
def test_the_articles_story_from_its_run_to_the_op_at_fault(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "found"
    asked = ["--workload", "vae", "--device", "cpu@fault=neg-stride0", "--out", str(out)]
    assert main(["investigate", *asked, "--json"]) == 1
    finding = msgspec.json.decode(capsys.readouterr().out, type=Investigation)
    assert (finding.verdict, finding.kind) == (Verdict.FAULTY_OP, "wrong result")
    op = finding.op
    assert op is not None
    assert (op.op, op.phase, op.step) == ("aten.neg.default", "backward", 1)
    assert op.source.startswith("vae.py:")
    assert "divergence = -0.5 * torch.sum(" in op.code
    assert op.symptom == "the result is the input"
    assert finding.known == ("neg-stride0",)
    assert {each.tried: each.outcome for each in finding.evidence} == {
        "the same call alone": "wrong 3 of 3 times",
        "with contiguous inputs": "right 3 of 3 times: the memory layout makes it wrong",
        "in a fresh process": "wrong 3 of 3 times",
    }
    assert "exit status 1 with the fault, 0 without" in finding.repro_note
    ours, cpu = finding.curves
    assert max(loss or 0 for loss in ours.losses) > max(loss or 0 for loss in cpu.losses)
    text = (out / "report.md").read_text(encoding="utf-8")
    assert "SIMULATED" in text and "aten.neg.default" in text
    assert (out / "repro.py").read_text(encoding="utf-8").strip() in text
    assert text == without_names(text)
    assert InvestigationFolder(out).finding() == finding
    assert not (out / "state.pt").exists()


@pytest.mark.slow
def test_a_fault_that_ends_the_process_names_the_op_that_was_begun(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "mpstui", "investigate", "--workload", "vae", "--json"]
    command += ["--device", f"cpu@fault={FAULTS}:Abort", "--out", str(tmp_path)]
    answer = subprocess.run(
        command, env=child_environment(), capture_output=True, text=True, timeout=600
    )
    assert answer.returncode == 1, answer.stderr
    finding = msgspec.json.decode(answer.stdout, type=Investigation)
    assert (finding.verdict, finding.kind) == (Verdict.FAULTY_OP, "aborts the process")
    assert finding.op is not None
    assert (finding.op.op, finding.op.phase) == ("aten.sigmoid_backward.default", "backward")
    assert "torch.sigmoid(" in finding.op.code
    assert "SIGABRT" in finding.evidence[0].outcome
    assert "with the fault, 0 without" in finding.repro_note


@pytest.mark.slow
def test_a_process_that_ends_in_the_evaluation_says_so_and_accuses_nothing(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "mpstui", "investigate", "--workload", "vae", "--json"]
    command += ["--device", f"cpu@fault={FAULTS}:AbortsInEvaluation", "--steps", "1"]
    command += ["--out", str(tmp_path)]
    answer = subprocess.run(command, env=child_environment(), capture_output=True, text=True)
    finding = msgspec.json.decode(answer.stdout, type=Investigation)
    assert (finding.verdict, finding.op) == (Verdict.INCOMPLETE, None)
    assert "SIGABRT" in finding.summary
    assert "of the evaluation, aten.relu.default" in finding.summary


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        (["--workload", "vae"], "device: none is named"),
        (["--device", "cpu", "--steps", "0"], "steps: 0 is out of range"),
        (["--device", "cpu@fault=nowhere.py:X"], "fault=nowhere.py: No such file"),
        (["--device", "cpu@fault=nothing"], "neg-stride0"),
        (["--device", "cpu", "--lr", "x"], "lr: 'x' is not a number"),
        (["--from", "nobody"], "no run in"),
    ],
)
def test_what_cannot_be_is_bad_usage(
    asked: list[str],
    said: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("MPSTUI_HOME", str(tmp_path / "home"))
    assert main(["investigate", *asked]) == 2
    assert said in capsys.readouterr().err
    assert not (tmp_path / "home" / "investigations").exists()


def worker(script: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Put a script in the worker's place."""
    monkeypatch.setattr(
        client, "module_command", lambda _, *asked: [sys.executable, "-c", script, *asked]
    )


def test_a_worker_that_dies_at_once_is_told_and_not_asked_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    worker("import os; os.abort()", monkeypatch)
    folder = create_folder(_request(), _now(), tmp_path)
    finding = InvestigationClient(folder).run(lambda told: None)
    assert finding.verdict is Verdict.INCOMPLETE
    assert "SIGABRT" in finding.error


def test_one_that_dies_in_an_op_is_followed_by_one_that_is_told_how(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    worker(
        "import os, pathlib, sys\n"
        "folder = pathlib.Path(sys.argv[1])\n"
        "if len(sys.argv) > 2: (folder / 'how').write_text(sys.argv[3]); sys.exit()\n"
        f"(folder / 'begun.bin').write_bytes({UNDER_WAY!r})\n"
        'print(\'{"stage":"ops","text":"op 3"}\', flush=True)\n'
        "os.abort()",
        monkeypatch,
    )
    folder = create_folder(_request(), _now(), tmp_path)
    told: list[ProgressMessage] = []
    InvestigationClient(folder).run(told.append)
    assert told == [ProgressMessage(stage=Stage.OPS, text="op 3")]
    assert "SIGABRT" in (tmp_path / "how").read_text()


def test_one_that_dies_between_two_ops_names_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    worker(
        "import os, pathlib, sys\n"
        f"(pathlib.Path(sys.argv[1]) / 'begun.bin').write_bytes({RETURNED!r})\n"
        "os.abort()",
        monkeypatch,
    )
    finding = InvestigationClient(create_folder(_request(), _now(), tmp_path)).run(
        lambda told: None
    )
    assert (finding.verdict, finding.op) == (Verdict.INCOMPLETE, None)
    assert "SIGABRT" in finding.error


SILENT = (
    "import pathlib, sys, threading\n"
    "folder = pathlib.Path(sys.argv[1])\n"
    "if len(sys.argv) > 2: (folder / 'how').write_text(repr(sys.argv[3])); sys.exit()\n"
    "(folder / 'begun.bin').write_bytes({begun!r})\n"
    "threading.Event().wait()"
)


def test_a_model_that_takes_long_between_two_ops_is_too_slow(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    worker(SILENT.format(begun=RETURNED), monkeypatch)
    folder = create_folder(_request(), _now(), tmp_path)
    finding = InvestigationClient(folder, patience=0.3).run(lambda told: None)
    assert (finding.verdict, finding.kind, finding.op) == (Verdict.INCOMPLETE, "too slow", None)
    assert "no op ran for more than 0.3 s. The last one, op 3, aten.relu.default" in finding.summary
    assert as_text(finding, folder).startswith("not completed: too slow\n")
    assert not (tmp_path / "how").exists()


def test_an_op_that_takes_long_is_tried_alone_before_anything_is_said_of_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    worker(SILENT.format(begun=UNDER_WAY), monkeypatch)
    folder = create_folder(_request(), _now(), tmp_path)
    finding = InvestigationClient(folder, patience=0.3).run(lambda told: None)
    assert (finding.verdict, finding.kind, finding.op) == (Verdict.INCOMPLETE, "too slow", None)
    assert (tmp_path / "how").read_text() == "''"  # the second worker is told of no death


def test_a_sign_of_life_is_not_passed_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    line = '{"stage":"ops","alive":true}'
    worker(f"print({line!r}, flush=True); raise SystemExit(3)", monkeypatch)
    told: list[ProgressMessage] = []
    finding = InvestigationClient(create_folder(_request(), _now(), tmp_path)).run(told.append)
    assert told == []
    assert "status 3" in finding.error


def test_an_earlier_finding_does_not_stand_for_a_new_one(tmp_path: Path) -> None:
    for name in ("investigation.json", "report.md", "repro.py"):
        (tmp_path / name).write_text("old")
    folder = create_folder(_request(), _now(), tmp_path)
    assert folder.finding() is None
    assert not folder.report.exists() and not folder.repro.exists()
    assert json.loads((tmp_path / "request.json").read_text())["config"]["workload"] == "vae"


def _request() -> InvestigationRequest:
    return InvestigationRequest(config=make_config({"workload": "vae", "device": "cpu"}))


def _now() -> datetime:
    return datetime(2026, 11, 24, 14, 0, 0)

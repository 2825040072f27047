"""``mpstui check``, from the command line to the files."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from mpstui.__main__ import main

SCRIPTS = Path(__file__).parents[1] / "investigate" / "scripts"


def run(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str]:
    status = main(["check", *arguments])
    return status, capsys.readouterr().out


@pytest.mark.slow
def test_a_wrong_op_gets_a_repro_and_a_report(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    options = ("--json", "--simulate", "neg-stride0", "--runs-dir", str(tmp_path / "runs"))
    status, out = run(capsys, *options, str(SCRIPTS / "small_vae.py"))
    finding = json.loads(out)
    assert (status, finding["verdict"]) == (1, "faulty op")
    assert finding["op"]["symptom"] == "the result is the input"
    (folder,) = (tmp_path / "investigations").iterdir()
    assert "SIMULATED" in (folder / "report.md").read_text("utf-8")
    assert "torch.ops.aten.neg.default" in (folder / "repro.py").read_text("utf-8")
    assert not list(folder.glob("*.pt")) and not list(folder.glob("*.bin"))


def test_a_right_script_ends_with_0(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    options = ("--steps", "1", "--runs-dir", str(tmp_path / "runs"))
    status, out = run(capsys, *options, str(SCRIPTS / "small_vae.py"), "--steps", "2")
    assert (status, out.splitlines()[0]) == (0, "nothing found")
    assert "step 1 of small_vae.py agrees" in out


def test_an_early_end_is_no_finding(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    options = ("--from-step", "9", "--runs-dir", str(tmp_path / "runs"))
    status, out = run(capsys, *options, str(SCRIPTS / "small_vae.py"))
    assert status == 3
    assert "ended after only 4 optimizer steps" in out


@pytest.mark.parametrize(
    "options",
    [("--steps", "0"), ("--from-step", "-1"), ("--simulate", "no-such"), ("--for", "cuda")],
)
def test_bad_usage_ends_with_2(options: tuple[str, str]) -> None:
    assert main(["check", *options, str(SCRIPTS / "small_vae.py")]) == 2


def test_the_ops_of_a_script_are_looked_up_for_mps(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    script = tmp_path / "doubles.py"
    script.write_text(
        "import torch\n"
        'device = "mps" if torch.backends.mps.is_available() else "cpu"\n'
        "model = torch.nn.Linear(2, 1).to(device)\n"
        "optimizer = torch.optim.SGD(model.parameters(), lr=0.1)\n"
        "for step in range(2):\n"
        "    loss = model(torch.ones(1, 2).to(device)).sum()\n"
        "    loss.double().backward()\n"
        "    optimizer.step()\n"
    )
    status, out = run(capsys, "--for", "mps", str(script))
    assert status == 1
    assert "float64" in out and "doubles.py:7" in out
    assert "does not choose MPS" not in out

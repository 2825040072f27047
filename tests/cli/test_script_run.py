"""``mpstui run`` and ``mpstui compare -- SCRIPT``, with small scripts in processes of their own."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from mpstui.__main__ import main
from mpstui.cli.compare_script import parse_device_arguments
from mpstui.domain.devices import parse_devices
from mpstui.domain.errors import FieldError
from mpstui.runs.rundir import RunDir
from mpstui.runs.script_command import script_command, words_of
from mpstui.runs.store import RunStore
from mpstui.runs.torchrun import torchrun_command

LINEAR = """
import argparse, os, sys, torch
parser = argparse.ArgumentParser()
parser.add_argument("--device", default=os.environ.get("MPSTUI_DEVICE", "cpu"))
parser.add_argument("--seed", type=int)
parser.add_argument("--exit", type=int, default=0)
arguments = parser.parse_args()
if arguments.seed is not None:
    torch.manual_seed(arguments.seed)
model = torch.nn.Linear(8, 1).to(arguments.device)
optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
for step in range(60):
    optimizer.zero_grad()
    loss = (-model(torch.randn(16, 8, device=arguments.device))).exp().mean()
    loss.backward()
    optimizer.step()
    print("LOSS", loss.item())
sys.exit(arguments.exit)
"""


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("MPSTUI_HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)
    (tmp_path / "linear.py").write_text(LINEAR)
    return tmp_path


def runs(home: Path) -> list[RunDir]:
    return RunStore(home / "home" / "runs").all()


def test_json_is_alone_on_stdout_and_the_losses_are_those_that_were_printed(
    home: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    assert main(["run", "--json", "linear.py", "--seed", "3", "--exit", "3"]) == 3
    out, error = capfd.readouterr()
    document = json.loads(out)
    (run,) = runs(home)
    assert document["run_id"] == run.id
    assert document["path"] == str(run.path)
    assert (document["status"], document["steps"]) == ("failed", 60)
    assert document["series"]["loss"]["points"] == 60
    printed = [line.split()[1] for line in error.splitlines() if line.startswith("LOSS")]
    assert main(["runs", "export", run.id, "--format", "csv"]) == 0
    header, *rows = (line.split(",") for line in capfd.readouterr().out.splitlines())
    assert [row[header.index("loss")] for row in rows] == printed
    assert [row[header.index("step")] for row in rows] == [str(n) for n in range(1, 61)]
    assert main(["runs", "show", run.id]) == 0
    text = capfd.readouterr().out
    assert f"command: {home / 'linear.py'} --seed 3 --exit 3" in text
    assert "the script exited with 3" in text


@pytest.mark.slow
def test_a_comparison_starts_from_the_same_weights_unless_the_script_seeds_itself(
    home: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    devices = ["--devices", "cpu,cpu@fault=neg-stride0"]
    assert main(["compare", *devices, "--json", "--", "linear.py", "--device", "{device}"]) == 0
    first, second = json.loads(capfd.readouterr().out)["runs"]
    for part in ("weights", "batch"):
        assert first["start"][part] == second["start"][part]
    assert (first["device"], second["device"]) == ("cpu", "cpu@fault=neg-stride0")
    assert first["alarm"] == ""
    assert any("SIMULATED" in note for note in second["notes"])

    arguments = ["--with", "cpu=--seed 1", "--with", "cpu@threads=1=--seed 2"]
    devices = ["--devices", "cpu,cpu@threads=1"]
    assert main(["compare", *devices, *arguments, "--", "linear.py"]) == 0
    out = capfd.readouterr().out
    assert "cpu@threads=1: not the same start: first weights differ" in out
    assert "diverged" not in out


@pytest.mark.slow
def test_a_comparison_under_a_simulated_fault_raises_the_alarm(
    capfd: pytest.CaptureFixture[str],
) -> None:
    vae = str(Path(__file__).parents[1] / "recording" / "scripts" / "vae.py")
    devices = ["--devices", "cpu,cpu@fault=neg-stride0"]
    assert main(["compare", *devices, "--json", "--", vae, "--epochs", "4"]) == 0
    out, lines = capfd.readouterr()
    sound, faulty = json.loads(out)["runs"]
    assert (sound["alarm"], sound["start"]["weights"]) == ("", faulty["start"]["weights"])
    assert faulty["alarm"].startswith("diverged from cpu at step ")
    assert "ALARM: diverged from cpu" in lines


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["run"], "script: no script"),
        (["run", "nothing.py"], "nothing.py does not exist"),
        (["run", "-m", "a b"], "'a b' is not a module's name"),
        (["run", "--nproc", "0", "linear.py"], "--nproc: 0 is too few"),
        (["compare", "--lr", "1", "--", "linear.py"], "lr: a script has its own settings"),
        (["compare", "--with", "cpu=x"], "--with: there is no script"),
        (
            ["compare", "--devices", "cpu,cpu@precision=bf16", "--", "linear.py"],
            "precision is a setting of mpstui's own loop",
        ),
    ],
)
def test_bad_usage_exits_2_and_creates_nothing(
    arguments: list[str], words: str, home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(arguments) == 2
    assert words in capsys.readouterr().err
    assert not (home / "home").exists()


def test_arguments_for_one_device_are_split_as_a_shell_does() -> None:
    specs = parse_devices("cpu,cpu@threads=1")
    texts = ["cpu=--no-accel --name 'two words'", "cpu@threads=1=-v"]
    expected = {"cpu": ["--no-accel", "--name", "two words"], "cpu@threads=1": ["-v"]}
    assert parse_device_arguments(texts, specs) == expected
    with pytest.raises(FieldError, match="'mps=-v' names no device"):
        parse_device_arguments(["mps=-v"], specs)
    with pytest.raises(FieldError, match="No closing quotation"):
        parse_device_arguments(["cpu='x"], specs)


def test_a_command_is_described_as_it_was_typed(home: Path) -> None:
    command = script_command(*words_of(["linear.py", "--seed", "a b"]))
    assert str(command) == f"{home / 'linear.py'} --seed 'a b'"
    assert (command.name, command.folder) == ("linear.py", str(home))
    module = script_command(*words_of(["-m", "package.train", "-x"]))
    assert str(module) == "-m package.train -x"
    (home / "folder").mkdir()
    (home / "folder" / "__main__.py").write_text("")
    assert script_command("folder", None, []).script.title == "__main__.py"


def test_ranks_are_started_by_torchs_own_launcher(home: Path) -> None:
    command = script_command("linear.py", None, ["--exit", "0"])
    words = torchrun_command(2, command)
    assert words[:3] == [sys.executable, "-m", "torch.distributed.run"]
    assert words[-4:] == ["mpstui.record", str(home / "linear.py"), "--exit", "0"]

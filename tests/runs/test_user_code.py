"""Errors in the user's code end a run with their line; a mended file takes it up again."""

from __future__ import annotations

import sys
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import asdict

from mpstui.domain.config import make_config
from mpstui.domain.devices import parse_device
from mpstui.domain.errors import FieldError
from mpstui.domain.events import (
    AnyEvent,
    PreparationAdvanced,
    RunFailed,
    RunFinished,
    RunStarted,
    StepsCompleted,
)
from mpstui.engine.event_recorder import EventRecorder
from mpstui.engine.gate import Gate
from mpstui.engine.worker import train_run
from mpstui.engine.workloads import find_workload
from mpstui.runs.log import LogReader, LogWriter
from mpstui.runs.resume import resume_run
from mpstui.runs.rundir import RunDir
from mpstui.runs.store import RunStore
from mpstui.telemetry.machine import read_machine

pytestmark = pytest.mark.usefixtures("one_thread")

NOW = datetime(2026, 11, 23, 7, 0, 0)
LATER = datetime(2026, 11, 24, 7, 0, 0)

HEAD = """import sys
import torch
from torch import nn
from torch.utils.data import TensorDataset

class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.layer, self.calls = nn.Linear(4, 3), 0

    def forward(self, x):
        self.calls += self.training
        if self.calls > 4:
            trouble()
        return self.layer(x)

class Mine:
    def model(self):
        return Net()

    def objective(self, model, x, y):
        return nn.functional.cross_entropy(model(x), y)

    def datasets(self):
        x = torch.randn(40, 4)
        return (TensorDataset(x, torch.arange(40) % 3),) * 2

"""
LINE = HEAD.count("\n") + 2


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.setattr(sys, "argv", ["mpstui", "train", "--hidden"])
    return tmp_path


def create(folder: Path, text: str, **values: object) -> RunDir:
    (folder / "my_model.py").write_text(text)
    settings = {"workload": "my_model.py:Mine", "batch_size": 8, "steps": 6, "autotune": "off"}
    config = make_config({**settings, **values})
    store = RunStore(folder / "runs")
    (run,) = store.create(config, [parse_device("cpu@threads=1")], read_machine(), NOW)
    return run


def train(run: RunDir, stop: bool = False) -> list[AnyEvent]:
    """Train; return the events. With ``stop``, it ends after its first steps."""
    gate = Gate()
    with LogWriter(run.events) as log:
        recorder = EventRecorder(run, log)
        record = recorder.record

        def record_and_stop(event: Any) -> None:
            record(event)
            if stop and isinstance(event, StepsCompleted):
                gate.stop("enough")

        recorder.record = record_and_stop  # type: ignore[method-assign]
        train_run(run, gate, recorder)
    return list(LogReader(run.events).read())


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ("raise ValueError('my own trouble\\nand more')", "ValueError: my own trouble"),
        ("sys.exit(3)", "SystemExit: 3"),
        ("raise KeyboardInterrupt", "KeyboardInterrupt"),
    ],
)
def test_an_error_in_training_has_the_users_line(
    folder: Path, capfd: pytest.CaptureFixture[str], body: str, message: str
) -> None:
    run = create(folder, f"{HEAD}def trouble():\n    {body}\n")
    events = train(run)
    last = events[-1]
    assert isinstance(last, RunFailed)
    place = f"(my_model.py:{LINE}, in trouble)"
    assert last.error == f"{message} {place}; full traceback: {run.worker_log}"
    assert last.step == 4
    steps = [event for event in events if isinstance(event, StepsCompleted)]
    assert sum(len(event.losses) // 4 for event in steps) == 4
    assert f'File "{folder / "my_model.py"}", line {LINE}, in trouble' in capfd.readouterr().err
    summary = run.summary()
    assert summary is not None
    assert summary.state == "failed"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "import torch\nimport not_there",
            "ModuleNotFoundError: No module named 'not_there' {}:2)",
        ),
        (
            "def find():\n    return {}['missing']\n\nfind()",
            "KeyError: 'missing' {}:2, in find)",
        ),
        ("import torch\n\nx = = 1", "SyntaxError: invalid syntax {}:3)"),
        ("import sys\nsys.exit('no data')", "SystemExit: no data {}:2)"),
        ("raise KeyboardInterrupt", "KeyboardInterrupt {}:1)"),
        (
            f"{HEAD}    def __init__(self):\n        1 / 0",
            f"division by zero {{}}:{LINE}, in __init",
        ),
        (
            HEAD.replace("x = torch.randn(40, 4)", "sys.exit(3)"),
            "Mine.datasets: SystemExit: 3 {}:25, in datasets)",
        ),
        (
            f"{HEAD}class Items:\n    def __len__(self): return 5\n"
            "    def __getitem__(self, index):\n        sys.exit(3)\n"
            "class Mine(Mine):\n    def datasets(self): return Items(), Items()\n",
            f"item 0 of the training set: SystemExit: 3 {{}}:{LINE + 2}, in __getitem__)",
        ),
        (
            f"{HEAD}class Items:\n    def __len__(self): return 5\n"
            "    def __getitem__(self, index):\n        raise OSError(f'no picture {index}')\n"
            "del Mine.datasets\nclass Mine(Mine):\n    def loaders(self):\n"
            "        load = torch.utils.data.DataLoader\n"
            "        return load(Items(), num_workers=1), load(Items())\n",
            f"batch 0: OSError: no picture 0 {{}}:{LINE + 2}, in __getitem__)",
        ),
        (
            HEAD.replace("return nn", "raise KeyboardInterrupt  # "),
            "Mine.objective: KeyboardInterrupt {}:22, in objective)",
        ),
        (
            HEAD.replace("return Net()", "return Net(5)"),
            "positional argument but 2 were given {}:19, in model)",
        ),
    ],
)
def test_an_error_before_training_has_the_users_line(folder: Path, text: str, message: str) -> None:
    run = create(folder, text)
    last = train(run)[-1]
    assert isinstance(last, RunFailed)
    assert message.format("(my_model.py") in last.error
    assert last.error.endswith(f"; full traceback: {run.worker_log}")
    assert last.step == 0
    assert "\n" not in last.error


def test_a_file_sees_the_arguments_of_a_bare_script(folder: Path) -> None:
    parser = (
        "import argparse\nparser = argparse.ArgumentParser()\n"
        "parser.add_argument('--hidden', type=int, default=32)\n"
        "HIDDEN = parser.parse_args().hidden\n"
    )
    (folder / "args.py").write_text(f"{parser}{HEAD}")
    workload = find_workload(make_config({"workload": "args.py:Mine"}), folder)
    assert vars(sys.modules[type(workload).__module__])["HIDDEN"] == 32
    assert sys.argv == ["mpstui", "train", "--hidden"]  # without a run's folder


@pytest.fixture
def stopped(folder: Path, monkeypatch: pytest.MonkeyPatch) -> RunDir:
    """A run with a snapshot."""
    monkeypatch.setattr("mpstui.engine.loop.WARMUP_STEPS", 2)  # so many steps to the first flush
    run = create(folder, f"{HEAD}def trouble(): 1 / 0")
    train(run, stop=True)
    assert run.snapshots()
    return run


def resume(run: RunDir, **changes: Any) -> RunDir:
    return resume_run(RunStore(run.path.parent), run, changes, read_machine(), LATER)


def test_a_mended_file_resumes_a_run(folder: Path, stopped: RunDir) -> None:
    assert isinstance(train(resume(stopped, steps=20))[-1], RunFailed)
    (folder / "mended.py").write_text(f"{HEAD}def trouble(): ...")
    run = resume(stopped, workload=f"{folder / 'mended.py'}:Mine", steps=20)
    events = train(run)
    assert isinstance(events[-1], RunFinished)
    note = f"the workload file was replaced: {folder / 'mended.py'}:Mine"
    assert note in [event.stage for event in events if isinstance(event, PreparationAdvanced)]
    (started,) = [event for event in events if isinstance(event, RunStarted)]
    assert started.notes[-1] == note
    assert run.workload.read_text().endswith("def trouble(): ...")
    assert stopped.workload.read_text().endswith("def trouble(): 1 / 0")
    again = resume(run, epochs=2)  # goes on with the mended file, and needs no other note
    assert again.config().workload == f"{folder / 'mended.py'}:Mine"
    assert isinstance(train(again)[-1], RunFinished)


def test_a_mended_file_works_in_the_folder_of_the_run(
    folder: Path, stopped: RunDir, monkeypatch: pytest.MonkeyPatch
) -> None:
    (folder / "words.txt").write_text("some words")
    (folder / "else").mkdir()
    (folder / "else" / "mended.py").write_text(
        f"from mended_net import trouble\nopen('words.txt').close()\n{HEAD}"
    )
    (folder / "else" / "mended_net.py").write_text("def trouble(): ...")
    monkeypatch.chdir(folder / "else")
    run = resume(stopped, workload="mended.py:Mine")
    assert run.config().workload == f"{folder / 'else' / 'mended.py'}:Mine"
    assert (run.path / "workload_modules" / "mended_net.py").is_file()
    monkeypatch.chdir("/")
    assert isinstance(train(run)[-1], RunFinished)
    assert Path.cwd() == folder


def test_a_mended_file_with_another_model_is_refused_with_the_keys(
    folder: Path, stopped: RunDir
) -> None:
    other = HEAD.replace("self.layer", "self.other")
    (folder / "mended.py").write_text(f"{other}def trouble(): ...")
    last = train(resume(stopped, workload=f"{folder / 'mended.py'}:Mine"))[-1]
    assert isinstance(last, RunFailed)
    assert f"the snapshot of {stopped.id} does not fit {folder / 'mended.py'}:Mine" in last.error
    assert 'Missing key(s) in state_dict: "other.weight", "other.bias"' in last.error
    assert 'Unexpected key(s) in state_dict: "layer.weight", "layer.bias"' in last.error
    assert "allowed: " in last.error


def test_only_a_file_of_the_users_replaces_one(folder: Path, stopped: RunDir) -> None:
    with pytest.raises(FieldError, match="workload: a resumed run keeps its own; allowed: --step"):
        resume(stopped, workload="mnist")
    with pytest.raises(FieldError, match=r"none\.py: No such file"):
        resume(stopped, workload="none.py:Mine")
    with pytest.raises(FieldError, match=r"lr: .*; --workload FILE:CLASS, a mended file"):
        resume(stopped, lr=0.5)
    assert [run.id for run in RunStore(folder / "runs").all()] == [stopped.id]


def test_a_run_of_an_earlier_version_is_resumed_by_its_copy(folder: Path, stopped: RunDir) -> None:
    """It has a relative path, and no description of its code."""
    (stopped.path / "workload.json").unlink()
    stopped.write_config(make_config({**asdict(stopped.config()), "workload": "my_model.py:Mine"}))
    (folder / "my_model.py").unlink()
    assert isinstance(train(resume(stopped, steps=4))[-1], RunFinished)

"""Faults from the user's file: found, refused in words, and at work in a run."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest
import torch

from mpstui.domain.config import make_config
from mpstui.domain.errors import FieldError
from mpstui.domain.events import RunFailed, RunStarted, StepsCompleted
from mpstui.engine.event_recorder import EventRecorder
from mpstui.engine.gate import Gate
from mpstui.engine.loop import Loop
from mpstui.engine.set_up import set_up
from mpstui.engine.worker import train_run
from mpstui.faults.library import FAULTS, NegStride0
from mpstui.faults.load import load_fault
from mpstui.runs.log import LogReader, LogWriter
from mpstui.runs.rundir import Dataset, RunDir

PATCHING = """
import torch

class Patching:
    def __init__(self):
        torch.argmax = torch.Tensor.argmax = lambda x, dim: torch.tensor(-1)
        torch.nn.functional.softmax = None.__class__
    def __enter__(self): return self
    def __exit__(self, *error): return None

class HalfMade(Patching):
    def __init__(self):
        super().__init__()
        raise ValueError("half made")
"""

COUNTING = """
from __future__ import annotations
from dataclasses import dataclass, field

@dataclass
class Counting:
    entered: int = 0
    where: str = "here"

    def __enter__(self) -> None:
        self.entered += 1

    def __exit__(self, *_: object) -> None:
        pass

class Nothing:
    pass

class Demanding(Counting):
    def __init__(self, must):
        pass

function = len
"""

TENFOLD = """
from torch.utils._python_dispatch import TorchDispatchMode

class Tenfold(TorchDispatchMode):
    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        result = func(*args, **(kwargs or {}))
        return result * 10 if "binary_cross_entropy.default" in str(func) else result
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "my faults.py"
    path.write_text(COUNTING)
    return path


@pytest.mark.parametrize("name", sorted(FAULTS))
def test_the_catalogues_faults_go_by_their_names(name: str) -> None:
    assert type(load_fault(name, None)) is FAULTS[name]


def test_a_class_of_a_file_is_made(file: Path) -> None:
    fault: Any = load_fault(f"{file}:Counting", None)
    assert type(fault).__name__ == "Counting"
    assert fault.entered == 0
    with fault, fault:
        pass
    assert fault.entered == 2
    assert sorted(path.name for path in file.parent.iterdir()) == ["my faults.py"]


def test_a_path_is_relative_to_the_current_folder(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(file.parent)
    assert type(load_fault("my faults.py:Counting", None)).__name__ == "Counting"


def test_the_copy_in_the_runs_folder_wins(file: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    run.mkdir()
    assert load_fault(f"{file}:Counting", run).where == "here"  # type: ignore[attr-defined]
    (run / "fault.py").write_text(COUNTING.replace('"here"', '"copied"'))
    assert load_fault(f"{file}:Counting", run).where == "copied"  # type: ignore[attr-defined]
    file.unlink()
    assert load_fault(f"{file}:Counting", run).where == "copied"  # type: ignore[attr-defined]
    assert isinstance(load_fault("neg-stride0", run), NegStride0)


@pytest.mark.parametrize(
    ("content", "name", "problem", "allowed"),
    [
        (None, "Counting", "No such file", "an existing Python file"),
        ("x = = 1", "Counting", "SyntaxError: invalid syntax", "without an error"),
        ("import nowhere_at_all", "A", "ModuleNotFoundError: No module named 'nowhere", "without"),
        ("1 / 0", "A", "ZeroDivisionError: division by zero", "without an error"),
        ("raise SystemExit(3)", "A", "SystemExit: 3", "without an error"),
        ("raise ValueError('a\\nb')", "A", "ValueError: a", "without an error"),
        ("\0", "A", "null bytes", "without an error"),
        (COUNTING, "Missing", "has no class Missing", "Counting, Nothing, Demanding"),
        (COUNTING, "function", "has no class function", "Counting"),
        ("", "A", "has no class A", "a file with a class with __enter__"),
        (COUNTING, "Nothing", ":Nothing is no context manager", "__enter__ and __exit__"),
        (COUNTING, "Demanding", ":Demanding: TypeError", "without an error"),
    ],
)
def test_what_is_wrong_with_a_file_is_named(
    tmp_path: Path, content: str | None, name: str, problem: str, allowed: str
) -> None:
    path = tmp_path / "faults.py"
    if content is not None:
        path.write_text(content)
    with pytest.raises(FieldError) as caught:
        load_fault(f"{path}:{name}", None)
    assert caught.value.field == "device"
    assert str(path) in caught.value.problem
    assert problem in caught.value.problem
    assert allowed in caught.value.allowed
    assert "\n" not in str(caught.value)


def test_an_unknown_name_is_told_all_names() -> None:
    with pytest.raises(FieldError, match=r"allowed: .*neg-stride0.*or path/to/file\.py:Class"):
        load_fault("neg", None)


def run_of(tmp_path: Path, spec: str) -> RunDir:
    run = RunDir(tmp_path / "run")
    run.path.mkdir()
    asked = {"workload": "vae", "batch_size": 16, "test_batch_size": 1000, "steps": 3}
    run.write_config(make_config({**asked, "device": spec}))
    run.write_dataset(Dataset(source="embedded"))
    return run


def events_of(run: RunDir) -> list[Any]:
    with LogWriter(run.events) as log:
        train_run(run, Gate(), EventRecorder(run, log))
    return list(LogReader(run.events).read())


def test_what_a_fault_replaces_in_torch_is_replaced_only_inside_of_it(tmp_path: Path) -> None:
    path = tmp_path / "faults.py"
    path.write_text(PATCHING)
    fault = load_fault(f"{path}:Patching", None)
    x = torch.tensor([[1.0, 3.0]])

    def answers() -> list[int]:
        return [int(x.argmax(1)), int(torch.argmax(x, 1))]

    right, softmax = answers(), torch.nn.functional.softmax
    with fault:
        assert answers() == [-1, -1]
        with fault:
            assert answers() == [-1, -1]
        assert answers() == [-1, -1]
        assert torch.nn.functional.softmax is not softmax
    assert answers() == right == [1, 1]
    assert torch.nn.functional.softmax is softmax
    assert "argmax" not in vars(torch.Tensor)
    with pytest.raises(FieldError, match="ValueError: half made"):
        load_fault(f"{path}:HalfMade", None)
    assert answers() == right
    with pytest.raises(KeyError), copy.deepcopy(fault):
        assert answers() == [-1, -1]
        raise KeyError
    assert answers() == right


def test_a_fault_of_a_file_is_entered_at_each_step_and_test_and_said_to_be_simulated(
    tmp_path: Path, file: Path
) -> None:
    setup = set_up(
        make_config(
            {
                **{"workload": "vae", "steps": 3, "test_batch_size": 1000},
                "device": f"cpu@fault={file}:Counting",
            }
        ),
        Dataset(source="embedded"),
        tmp_path,
    )
    note = f"SIMULATED fault {file}:Counting: training goes wrong on purpose"
    assert note in setup.notes
    list(Loop(setup, Gate()).events())
    assert setup.fault.entered == 3 + 2  # type: ignore[attr-defined]


def test_a_fault_of_a_file_is_at_work_in_a_worker(tmp_path: Path) -> None:
    (tmp_path / "wrong.py").write_text(TENFOLD)
    run = run_of(tmp_path, f"cpu@threads=1@fault={tmp_path / 'wrong.py'}:Tenfold")
    events = events_of(run)
    (started,) = [event for event in events if isinstance(event, RunStarted)]
    assert any(note.startswith("SIMULATED fault ") for note in started.notes)
    first = next(event for event in events if isinstance(event, StepsCompleted)).losses[:4]
    assert 5000 < torch.frombuffer(bytearray(first), dtype=torch.float32).item() < 6000


def test_a_file_that_breaks_fails_the_run_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "wrong.py").write_text("1 / 0")
    failed = events_of(run_of(tmp_path, f"cpu@fault={tmp_path / 'wrong.py'}:A"))[-1]
    assert isinstance(failed, RunFailed)
    assert "wrong.py: ZeroDivisionError: division by zero (wrong.py:1); allowed: " in failed.error

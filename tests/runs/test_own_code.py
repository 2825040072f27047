"""The user's file, its modules and its folder are kept with a run, wherever it is taken up."""

from __future__ import annotations

import os
import shutil
import sys
import traceback
from datetime import datetime
from pathlib import Path

import pytest
import torch

from mpstui.backends import Backend
from mpstui.domain.config import make_config
from mpstui.domain.devices import parse_device
from mpstui.domain.errors import DataError, FieldError
from mpstui.engine.data.items import Items
from mpstui.engine.data.loader import Loader, LoaderSize
from mpstui.engine.workloads import find_workload
from mpstui.engine.workloads.own_data import load_own_data
from mpstui.investigate.client import create_folder
from mpstui.investigate.request import InvestigationRequest
from mpstui.runs import own_imports
from mpstui.runs.own_code import code_notes, code_of
from mpstui.runs.rundir import RunDir
from mpstui.runs.store import RunStore
from mpstui.runs.workload_path import absolute_workload
from mpstui.telemetry.machine import read_machine

NOW = datetime(2026, 11, 23, 7, 0, 0)

NET = """
from torch import nn
class Width:
    value = 3
def make():
    return nn.Linear(784, Width.value)
"""

WORKLOAD = """
class Mine:
    def model(self):
        return make()
    def objective(self, model, images, labels):
        return model(images.flatten(1)).mean()
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The user's folder, the current one; what loading changes is undone afterwards."""
    path = tmp_path / "user"
    path.mkdir()
    monkeypatch.chdir(path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.setattr(sys, "argv", list(sys.argv))
    return path


def write(folder: Path, files: dict[str, str]) -> None:
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)


def create(workload: str) -> RunDir:
    """Create a run in a relative folder of runs, as ``--runs-dir ../runs`` does."""
    config = make_config({"workload": absolute_workload(workload)})
    store = RunStore(Path("../runs"))
    (run,) = store.create(config, [parse_device("cpu")], read_machine(), NOW)
    return run


@pytest.mark.parametrize(
    ("files", "workload"),
    [
        (
            {"beside/mine.py": f"from net import make{WORKLOAD}", "beside/net.py": NET},
            "beside/mine.py:Mine",
        ),
        (
            {
                "pkg_one/__init__.py": "",
                "pkg_one/mine.py": f"from .net import make{WORKLOAD}",
                "pkg_one/net.py": NET,
            },
            "pkg_one/mine.py:Mine",
        ),
        (
            {
                "pkg_two/__init__.py": "",
                "pkg_two/mine.py": f"from pkg_two.net import make{WORKLOAD}",
                "pkg_two/net.py": NET,
            },
            "pkg_two.mine:Mine",
        ),
        (
            {
                "deep/__init__.py": "",
                "deep/nets/__init__.py": "from .inner import build as make",
                "deep/nets/inner.py": "from .. import parts\ndef build(): return parts.make()",
                "deep/parts.py": NET,
                "deep/work/__init__.py": "",
                "deep/work/mine.py": f"from ..nets import make{WORKLOAD}",
            },
            "deep/work/mine.py:Mine",
        ),
        (
            # Folders without __init__.py.
            {"plain/mine.py": f"from .parts.net import make{WORKLOAD}", "plain/parts/net.py": NET},
            "plain.mine:Mine",
        ),
        (
            # A module of the working directory.
            {"shared_net.py": NET, "trials/mine.py": f"from shared_net import make{WORKLOAD}"},
            "trials/mine.py:Mine",
        ),
        (
            # In a function, where it is imported later.
            {
                "late/net.py": NET,
                "late/mine.py": f"def make():\n    import net\n    return net.make(){WORKLOAD}",
            },
            "late/mine.py:Mine",
        ),
    ],
)
@pytest.mark.parametrize("change", ["deleted", "edited"])
def test_a_run_has_copies_of_the_modules_that_its_file_imports(
    folder: Path, files: dict[str, str], workload: str, change: str
) -> None:
    write(folder, files)
    run = create(workload)
    path, _, name = run.config().workload.rpartition(":")
    assert (os.path.isabs(path), name) == (True, "Mine")
    assert run.path.is_absolute()
    for file in list(files):
        if change == "edited":
            (folder / file).write_text("1 / 0")
        else:
            (folder / file).unlink()
    os.chdir(folder.parent)
    model = find_workload(run.config(), run.path).model()
    assert isinstance(model, torch.nn.Linear)
    assert model.out_features == 3
    assert Path.cwd() == folder
    assert sys.argv == [path]


def test_two_runs_with_modules_of_the_same_name_use_their_own(folder: Path) -> None:
    write(folder, {"mine.py": f"from width_net import make{WORKLOAD}", "width_net.py": NET})
    three = create("mine.py:Mine")
    write(folder, {"width_net.py": NET.replace("3", "5")})
    five = create("mine.py:Mine")
    widths = []
    for run in (three, five, three):
        model = find_workload(run.config(), run.path).model()
        assert isinstance(model, torch.nn.Linear)
        widths.append(model.out_features)
    assert widths == [3, 5, 3]


def test_relative_paths_in_the_users_code_work_from_anywhere(folder: Path) -> None:
    text = "WORDS = open('words.txt').read()\nBESIDE = __file__"
    write(folder, {"sub/mine.py": f"{text}{WORKLOAD}", "words.txt": "some words"})
    run = create("sub/mine.py:Mine")
    os.chdir(folder.parent)
    module = sys.modules[type(find_workload(run.config(), run.path)).__module__]
    assert vars(module)["WORDS"] == "some words"
    assert vars(module)["BESIDE"] == str(folder / "sub" / "mine.py")
    assert code_notes(run.path) == ()


def test_without_the_working_directory_the_run_says_so(folder: Path) -> None:
    write(folder, {"mine.py": f"from gone_net import make{WORKLOAD}", "gone_net.py": NET})
    run = create("mine.py:Mine")
    os.chdir(folder.parent)
    shutil.rmtree(folder)
    assert find_workload(run.config(), run.path).model() is not None
    assert Path.cwd() == folder.parent
    assert code_notes(run.path) == (
        f"the working directory {folder} is gone: the run works in another",
    )


def test_the_users_torch_and_installed_names_are_not_copied(folder: Path) -> None:
    files = {
        "mine.py": f"import json, numpy, torch\nfrom own_net import make{WORKLOAD}",
        "own_net.py": NET,
        **dict.fromkeys(("torch.py", "numpy.py", "json.py"), "1 / 0"),
    }
    write(folder, files)
    run = create("mine.py:Mine")
    code = code_of(run.path)
    assert code is not None
    assert [module.name for module in code.modules] == ["own_net"]
    assert find_workload(run.config(), run.path).model() is not None


def test_an_installed_file_uses_its_installed_modules(folder: Path) -> None:
    write(
        folder / "site-packages",
        {
            "installed_pkg/__init__.py": "",
            "installed_pkg/mine.py": f"from .net import make{WORKLOAD}",
            "installed_pkg/net.py": NET,
        },
    )
    run = create("site-packages/installed_pkg/mine.py:Mine")
    code = code_of(run.path)
    assert code is not None
    assert code.modules == ()
    assert find_workload(run.config(), run.path).model() is not None


def test_what_is_too_much_stays_in_place_with_a_note(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(own_imports, "MOST_MODULES", 1)
    files = {"first_part.py": "", "second_part.py": NET}
    imports = "import first_part\nfrom second_part import make"
    write(folder, {**files, "mine.py": f"{imports}{WORKLOAD}"})
    run = create("mine.py:Mine")
    (note,) = code_notes(run.path)
    assert "second_part and others stay where they are" in note
    assert find_workload(run.config(), run.path).model() is not None


def test_a_resumed_run_and_an_investigation_have_the_copies(folder: Path) -> None:
    write(folder, {"mine.py": f"from kept_net import make{WORKLOAD}", "kept_net.py": NET})
    run = create("mine.py:Mine")
    config = make_config({"workload": "mine.py:Mine", "device": "cpu"})
    investigation = create_folder(InvestigationRequest(config=config), NOW, folder / "out")
    write(folder, {"kept_net.py": "1 / 0", "mine.py": "1 / 0"})
    os.chdir(folder.parent)
    (again,) = RunStore(folder.parent / "runs").create(
        run.config(), [parse_device("cpu")], read_machine(), NOW, earlier=run
    )
    for path in (again.path, investigation.path):
        assert (path / "workload_modules" / "kept_net.py").read_text() == NET
        assert code_of(path) == code_of(run.path)
        assert find_workload(run.config(), path).model() is not None


def test_the_command_in_a_report_names_a_copy_that_works(folder: Path) -> None:
    write(folder, {"mine.py": f"from first_net import make{WORKLOAD}", "first_net.py": NET})
    run = create("mine.py:Mine")
    shutil.rmtree(folder)
    os.chdir(run.path)
    again = create("workload.py:Mine")
    assert code_of(again.path) == code_of(run.path)
    assert find_workload(again.config(), again.path).model() is not None


def test_tracebacks_name_the_original_and_show_the_line_that_runs(folder: Path) -> None:
    net = "def make():\n    raise ValueError('wrong width')  # as copied\n"
    write(folder, {"mine.py": f"from bad_net import make{WORKLOAD}", "bad_net.py": net})
    run = create("mine.py:Mine")
    write(folder, {"mine.py": "# edited", "bad_net.py": "# edited\n" * 9})
    workload = find_workload(run.config(), run.path)
    with pytest.raises(ValueError, match="wrong width") as caught:
        workload.model()
    text = "".join(traceback.format_exception(caught.value))
    assert f'File "{folder / "mine.py"}", line 4, in model\n    return make()\n' in text
    assert f'"{folder / "bad_net.py"}", line 2' in text
    assert "raise ValueError('wrong width')  # as copied" in text
    assert "edited" not in text


DATA = """
import torch
class Data:
    def __init__(self, last): self.last = last
    def __len__(self): return 8
    def __getitem__(self, index):
        if index == self.last:
            raise OSError("no such picture")
        return torch.full((3,), float(index)), index
"""

OWN_DATA = """
    def datasets(self):
        return Data(9), Data(5)
"""


def test_loading_processes_have_the_modules_and_name_the_line(folder: Path) -> None:
    text = f"from .data import Data\nfrom .net import make{WORKLOAD}{OWN_DATA}"
    files = {"loads/__init__.py": "", "loads/mine.py": text, "loads/data.py": DATA}
    write(folder, {**files, "loads/net.py": NET})
    run = create("loads/mine.py:Mine")
    shutil.rmtree(folder / "loads")
    items = load_own_data(find_workload(run.config(), run.path), run.config())
    assert isinstance(items, Items)
    loader = Loader(items, Backend(parse_device("cpu")), 4, LoaderSize(1))
    inputs, _ = next(loader.training(torch.arange(8), 4)).content
    assert inputs[:, 0].tolist() == [0, 1, 2, 3]
    line = r"item 5 of the test set: OSError: no such picture \(data\.py:8, in __getitem__\)"
    with pytest.raises(DataError, match=line):
        list(loader.test(1))


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("no_such.module:Mine", "no_such.module is not found in {folder}"),
        ("no_such:Mine", "no_such is not found in {folder}"),
    ],
)
def test_a_missing_module_is_refused_with_the_places(folder: Path, text: str, problem: str) -> None:
    with pytest.raises(FieldError) as caught:
        absolute_workload(text)
    assert caught.value.field == "workload"
    assert caught.value.problem.startswith(problem.format(folder=folder))


def test_a_workload_is_stored_with_its_absolute_path(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(folder, {"pkg/mine.py": "1 / 0", "pkg/part/__init__.py": "1 / 0"})
    assert absolute_workload("pkg.mine:A") == f"{folder}/pkg/mine.py:A"
    assert absolute_workload("pkg.part:A") == f"{folder}/pkg/part/__init__.py:A"
    assert absolute_workload("pkg/../pkg/mine.py:A") == f"{folder}/pkg/mine.py:A"
    monkeypatch.setenv("HOME", str(folder))
    assert absolute_workload("~/mine.py:A") == f"{folder}/mine.py:A"
    elsewhere = folder / "elsewhere"
    write(elsewhere, {"on_path.py": "1 / 0"})
    sys.path.append(str(elsewhere))
    assert absolute_workload("on_path:A") == f"{elsewhere}/on_path.py:A"
    for text in ("mnist", "torchvision:resnet18", "timm:x", "script:train.py", "no/path:A", ""):
        assert absolute_workload(text) == text


def test_a_plan_depends_on_the_modules_too(folder: Path) -> None:
    from mpstui.engine.autotune.key import workload_key
    from mpstui.engine.set_up import set_up
    from mpstui.runs.rundir import Dataset

    write(folder, {"mine.py": f"from plan_net import make{WORKLOAD}", "plan_net.py": NET})

    def key() -> str:
        run = create("mine.py:Mine")
        return workload_key(
            run.config(), set_up(run.config(), Dataset(source="embedded"), run.path)
        )

    first = key()
    assert key() == first
    write(folder, {"plan_net.py": f"{NET}# edited"})
    assert key() != first
    assert first.startswith(f"{folder / 'mine.py'}:Mine, ")

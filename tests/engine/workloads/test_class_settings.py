"""The instance of a custom workload's class: created with the run's settings, wherever it is."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import msgspec
import pytest
import torch

from mpstui.backends import Backend
from mpstui.domain.config import RunConfig, make_config
from mpstui.domain.devices import parse_device
from mpstui.domain.errors import FieldError
from mpstui.engine.autotune.key import workload_key
from mpstui.engine.data.items import Items
from mpstui.engine.data.loader import Loader, LoaderSize
from mpstui.engine.set_up import set_up
from mpstui.engine.sides import rebuild
from mpstui.engine.workloads import find_workload
from mpstui.engine.workloads.own_data import load_own_data
from mpstui.investigate.twin import build
from mpstui.runs.own_settings import class_arguments, own_settings
from mpstui.runs.rundir import Dataset

CPU = Backend(parse_device("cpu"))

MINE = """\
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Optional

import torch
from torch import nn


@dataclass
class Mine:
    width: int = 8
    x: float = 0.5
    mode: Literal["a", "b"] = "a"
    root: Path = Path("data")
    other: Optional[Path] = None
    lr: float = 0.02
    epochs: int = 2
    bits: int = 1 << 3

    def model(self):
        return nn.Sequential(nn.Flatten(), nn.Linear(784, self.width), nn.Linear(self.width, 10))

    def objective(self, model, images, labels):
        return nn.functional.cross_entropy(model(images), labels)


@dataclass
class Data(Mine):
    def datasets(self):
        return Numbers(self), Numbers(self)


class Numbers:
    def __init__(self, mine):
        self.mine = mine

    def __len__(self):
        return 20

    def __getitem__(self, index):
        return torch.full((self.mine.width,), float(index)), index


class Required(Mine):
    def __init__(self, depth):
        self.width = depth
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "mine.py"
    path.write_text(MINE)
    return path


def config_of(file: Path, name: str = "Mine", **values: Any) -> RunConfig:
    return make_config({"workload": f"{file}:{name}", "batch_size": 8, **values})


def created(file: Path, name: str = "Mine", **values: Any) -> Any:
    return find_workload(config_of(file, name, **values), file.parent)


def test_values_have_the_type_of_their_hint(file: Path) -> None:
    settings = {"width": 3, "x": 2, "mode": "b", "root": "~/a", "other": "b"}
    workload = created(file, settings=settings, lr=0.1, epochs=5)
    assert (workload.width, workload.x, workload.mode, workload.bits) == (3, 2.0, "b", 8)
    assert isinstance(workload.x, float)
    assert (workload.root, workload.other) == (Path("~/a").expanduser(), Path("b"))
    assert (workload.lr, workload.epochs) == (0.1, 5)  # the run's own


def test_what_is_not_set_has_the_default_of_the_file_and_none_is_a_value(file: Path) -> None:
    assert created(file, settings={}).root == Path("data")
    assert created(file, settings={"other": None}).other is None


@pytest.mark.parametrize(
    ("name", "settings", "problem"),
    [
        ("Mine", {"widht": 3}, "widht: Mine has no setting; allowed: width"),
        ("Mine", {"width": "abc"}, "width: 'abc' is not a whole number; allowed: whole numbers"),
        ("Mine", {"mode": "c"}, "mode: 'c' is not a choice; allowed: a, b"),
        ("Required", {}, "depth: Required needs a value, .*allowed: --set depth=VALUE"),
    ],
)
def test_a_wrong_setting_is_named(
    file: Path, name: str, settings: dict[str, Any], problem: str
) -> None:
    with pytest.raises(FieldError, match=problem):
        created(file, name, settings=settings)
    assert created(file, "Required", settings={"depth": 2}).width == 2


def test_an_error_of_the_class_is_the_users(file: Path) -> None:
    file.write_text(MINE.replace("self.width = depth", "raise ValueError('too deep')"))
    with pytest.raises(FieldError, match=r"mine.py:Required: ValueError: too deep"):
        created(file, "Required", settings={"depth": 2})


def test_every_rebuilt_copy_has_the_same_settings(file: Path) -> None:
    config = config_of(file, settings={"width": 3})
    dataset = Dataset(source="embedded")
    setup = set_up(config, dataset, file.parent)
    copy = rebuild(setup, CPU, "float32")
    twin = build(config, dataset, file.parent)
    models = (setup.model, copy.model, twin.device.model, twin.cpu.model)
    assert [model[1].weight.shape for model in models] == [(3, 784)] * 4  # type: ignore[index]


def test_the_processes_of_a_loader_have_the_settings_too(file: Path) -> None:
    workload = created(file, "Data", settings={"width": 3})
    items = load_own_data(workload, config_of(file, "Data", settings={"width": 3}))
    assert isinstance(items, Items)
    loader = Loader(items, CPU, 4, LoaderSize(2, 2))
    batches = list(loader.training(torch.arange(8), 4))
    assert "2 processes" in loader.note
    shapes = [tuple(batch[0].shape) for batch, _ in batches]
    assert shapes == [(4, 3), (4, 3)]


def test_a_plan_is_kept_for_its_settings(file: Path) -> None:
    (file.parent / "workload.py").write_text(MINE)
    setup: Any = SimpleNamespace(run_dir=file.parent)
    keys = {
        workload_key(config_of(file, settings=settings), setup)
        for settings in ({}, {"width": 3}, {"width": 4})
    }
    assert len(keys) == 3


def test_a_request_in_json_keeps_the_settings(file: Path) -> None:
    settings = {"width": 3, "x": 2.0, "mode": "b", "root": "a", "other": None}
    config = config_of(file, settings=settings)
    decoded = msgspec.json.decode(msgspec.json.encode(config), type=RunConfig)
    assert decoded == config
    own = own_settings(config.workload)
    assert class_arguments(own, decoded) == class_arguments(own, config)
    assert isinstance(decoded.settings["x"], float)

"""Methods that look like hooks are refused, unless the user's code uses them."""

from __future__ import annotations

from pathlib import Path

import pytest

from mpstui.domain.config import make_config
from mpstui.domain.errors import FieldError
from mpstui.engine.workloads import find_workload
from mpstui.engine.workloads.hooks import HOOKS, OTHERS, meant_hook

BASE = """from torch import nn

class Base:
    def model(self): return nn.Linear(784, 10)
    def objective(self, model, x, y): return model(x).sum()
"""


def check(folder: Path, text: str) -> None:
    (folder / "my_model.py").write_text(f"{BASE}{text}")
    find_workload(make_config({"workload": f"{folder / 'my_model.py'}:Mine"}), folder)


@pytest.mark.parametrize(
    ("text", "line", "name", "hook"),
    [
        (
            "class Mine(Base):\n    def scheduler(self, optimizer, config): ...",
            7,
            "scheduler",
            "schedulers(*optimizers)",
        ),
        (
            "def pad(batch): ...\nclass Mine(Base):\n    collate_fn = staticmethod(pad)",
            8,
            "collate_fn",
            "collate(items)",
        ),
        (
            "class Mine(Base):\n    def training_step(self, batch): ...",
            7,
            "training_step",
            "step(model, batch, optimizers)",
        ),
        (
            "class Mine(Base):\n    criterion = nn.MSELoss()",
            7,
            "criterion",
            "objective(model, batch)",
        ),
        (
            "class Mine(Base):\n    def optimzer(self, model): ...",
            7,
            "optimzer",
            "optimizer(model, config)",
        ),
        ("class Mine(Base):\n    def socre(self, model, batch): ...", 7, "socre", "score("),
        ("class Mine(Base):\n    normalize = (0.1, 0.3)", 7, "normalize", "normalise = (mean"),
        (
            "class Between(Base):\n    @classmethod\n    def dataset(cls): ...\n"
            "class Mine(Between): ...",
            8,
            "dataset",
            "datasets()",
        ),
    ],
)
def test_a_method_that_looks_like_a_hook_is_refused(
    tmp_path: Path, text: str, line: int, name: str, hook: str
) -> None:
    with pytest.raises(FieldError) as caught:
        check(tmp_path, text)
    assert caught.value.field == "workload"
    place = f"{tmp_path / 'my_model.py'}:{line}, Mine.{name} is no hook"
    assert caught.value.problem.startswith(place)
    assert caught.value.allowed.startswith(hook)


@pytest.mark.parametrize(
    "text",
    [
        # A helper of its own, also where a nested function or getattr uses it.
        "class Mine(Base):\n    def loss(self, out, y): ...\n"
        "    def objective(self, model, x, y): return self.loss(model(x), y)",
        "class Mine(Base):\n    def loss(self, out, y): ...\n"
        "    def objective(self, model, x, y):\n"
        "        def inner(): return self.loss(model(x), y)\n"
        "        return inner()",
        "class Mine(Base):\n    def loss_fn(self): ...\n    which = 'loss_fn'",
        "class Mine(Base):\n    def pad(self, items): ...\n    collate_fn = pad\n"
        "    collate = collate_fn",
        # A value is a setting.
        "class Mine(Base):\n    loss: str = 'mse'\n    scheduler = 'cosine'",
        "class Mine(Base):\n    def _scheduler(self): ...",
        # A method of a class from elsewhere.
        "class Mine(nn.Module):\n    model, objective = Base.model, Base.objective\n"
        "    def forward(self, x): ...",
        "class Mine(Base):\n    def datasets(self): ...\n    def collate(self, items): ...\n"
        "    def optimizers(self, model): ...\n    def schedulers(self, *optimizers): ...\n"
        "    def step(self, model, batch, optimizers): ...\n    def score(self, model, batch): ...",
    ],
)
def test_hooks_and_the_users_own_helpers_are_accepted(tmp_path: Path, text: str) -> None:
    check(tmp_path, text)


@pytest.mark.parametrize(
    ("first", "second"), [("optimizer", "optimizers"), ("datasets", "loaders")]
)
def test_hooks_that_exclude_each_other_are_refused(tmp_path: Path, first: str, second: str) -> None:
    with pytest.raises(FieldError) as caught:
        check(
            tmp_path,
            f"class Mine(Base):\n    def {first}(self): ...\n    def {second}(self): ...",
        )
    assert f"my_model.py:8, Mine.{second}" in caught.value.problem
    assert caught.value.allowed == f"{first} or {second}"


def test_a_method_of_a_module_beside_the_file_is_refused_with_its_own_line(tmp_path: Path) -> None:
    (tmp_path / "parts.py").write_text(f"{BASE}    def validation_step(self): ...\n")
    (tmp_path / "mine.py").write_text("from parts import Base\nclass Mine(Base): ...\n")
    with pytest.raises(FieldError, match=r"parts\.py:6, Mine\.validation_step is no hook"):
        find_workload(make_config({"workload": f"{tmp_path / 'mine.py'}:Mine"}), tmp_path)


def test_every_name_leads_to_a_hook_and_usual_names_to_none() -> None:
    assert set(OTHERS.values()) <= set(HOOKS)
    assert not set(OTHERS) & set(HOOKS)
    names = ("width", "encode", "decode", "sample", "mode", "nodes", "start", "setup", "augment")
    assert [name for name in names if meant_hook(name)] == []


def test_a_method_that_a_subclass_removes_does_not_exclude_another(tmp_path: Path) -> None:
    check(
        tmp_path,
        """
class WithSets(Base):
    def datasets(self): ...
class Mine(WithSets):
    def loaders(self): ...
    datasets = None
""",
    )

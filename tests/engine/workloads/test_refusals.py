"""What a workload may not return or raise: refused with file, line, method and what is allowed."""

from __future__ import annotations

from pathlib import Path

import pytest

from mpstui.domain.errors import DataError, FieldError
from mpstui.engine.gate import Gate
from mpstui.engine.loop import Loop
from mpstui.engine.workloads.check import check_contract
from tests.builders.shapes import ready

pytestmark = pytest.mark.usefixtures("one_thread")

BASE = """
import torch
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, Dataset, IterableDataset, TensorDataset


class Endless(IterableDataset):
    def __iter__(self):
        while True:
            yield torch.zeros(1, 28, 28), 0


class Sizes(Dataset):
    def __len__(self):
        return 40
    def __getitem__(self, index):
        return torch.zeros(1 + index % 3), 0


PAIRS = TensorDataset(torch.zeros(40, 1, 28, 28), torch.zeros(40, dtype=torch.int64))


class Base:
    def model(self):
        return nn.Sequential(nn.Flatten(), nn.Linear(784, 10))
    def objective(self, model, images, labels):
        return F.cross_entropy(model(images), labels)


class Mine(Base):
    {method}
        {body}
"""

OBJECTIVE = "def objective(self, model, images, labels):"
LOSS = "F.cross_entropy(model(images), labels)"
STEP = "def step(self, model, batch, optimizers):"
ONE = "allowed: a tensor with one element, such as a mean loss"
OPTIMIZER = "allowed: a torch.optim.Optimizer"


@pytest.mark.parametrize(
    ("method", "body", "message"),
    [
        (OBJECTIVE, f"return {LOSS}, 1", f"returns tuple of (a tensor of shape (), int); {ONE}"),
        (OBJECTIVE, f"return {{'loss': {LOSS}}}", f"returns a dict with 'loss'; {ONE}"),
        (OBJECTIVE, f"return {LOSS}.item()", f"returns float; {ONE}"),
        (OBJECTIVE, f"return {LOSS}.repeat(3)", f"returns a tensor of shape (3,); {ONE}"),
        (
            OBJECTIVE,
            f"return {LOSS}.detach()",
            "returns a tensor without a gradient; allowed: a value computed from the model's",
        ),
        (
            "def score(self, model, images, labels):",
            "return {'loss': model(images).mean(), 'accuracy': (torch.tensor(65), len(labels))}",
            'counts 65 correct answers among 64; allowed: {"loss": mean loss, "accuracy"',
        ),
        (STEP, "return [1.0, 2.0]", "returns list of (float, float); allowed: the loss, a tensor"),
        (STEP, "return 1.0, {'a': 'b'}", "allowed: the loss, a tensor with one element or a"),
        (STEP, "return None", "returns NoneType; allowed: the loss, a tensor with one element"),
        (
            "def optimizer(self, model):",
            "return [torch.optim.SGD(model.parameters())]",
            f"returns list of (SGD); {OPTIMIZER}; a workload with several has a method optimizers",
        ),
        ("def optimizers(self, model):", "return ()", f"returns tuple of (); {OPTIMIZER}, or"),
        ("def optimizers(self, model):", "return [1]", f"returns list of (int); {OPTIMIZER}, or"),
        (
            "def optimizer(self, model):",
            "return torch.optim.SGD([], lr=0.1)",
            ": ValueError: optimizer got an empty parameter list (mine.py:33, in optimizer); "
            "allowed: a method optimizer that raises no error",
        ),
        ("def model(self):", "return lambda x: x", "returns function; allowed: torch's Module"),
        (
            "def model(self):",
            "raise SystemExit(3)",
            ": SystemExit: 3 (mine.py:33, in model); allowed: a method model that raises no error",
        ),
        (
            OBJECTIVE,
            "raise SystemExit(3)",
            ": SystemExit: 3 (mine.py:33, in objective); allowed: a method objective that raises",
        ),
        (
            "def schedulers(self, optimizer):",
            "return torch.optim.lr_scheduler.StepLR(optimizer, 1)",
            'returns StepLR; allowed: {"step": [...]} or {"epoch": [...]}',
        ),
        (
            "def schedulers(self, optimizer):",
            "return {'step': torch.optim.lr_scheduler.ReduceLROnPlateau(optimizer)}",
            "returns step: ReduceLROnPlateau; allowed: ",
        ),
        (
            "def schedulers(self, optimizer):",
            "return {'batch': torch.optim.lr_scheduler.StepLR(optimizer, 1)}",
            "returns a dict with 'batch'; allowed: ",
        ),
    ],
)
def test_a_method_that_breaks_the_contract_is_refused(
    tmp_path: Path, method: str, body: str, message: str
) -> None:
    path = tmp_path / "mine.py"
    path.write_text(BASE.format(method=method, body=body))
    with pytest.raises(FieldError) as caught:
        check_contract(ready(f"{path}:Mine", tmp_path))
    hook = method.removeprefix("def ").partition("(")[0]
    place = f"workload: {path}:32, Mine.{hook}"
    assert str(caught.value).startswith(place)
    problem = str(caught.value).removeprefix(place)
    assert problem.lstrip().startswith(message) or message in problem


@pytest.mark.parametrize(
    ("method", "body", "message"),
    [
        (
            "datasets",
            "DataLoader(PAIRS), DataLoader(PAIRS)",
            ": the training set is a DataLoader; allowed: a Dataset, or the method loaders",
        ),
        (
            "datasets",
            "Endless(), PAIRS",
            ": the training data are a stream without a length; allowed: one with "
            "steps_per_epoch = N in the class, or --steps N",
        ),
        (
            "datasets",
            "Sizes(), Sizes()",
            ": items of the training set can't be combined to a batch: RuntimeError: stack expects",
        ),
        ("datasets", "PAIRS", " returns TensorDataset; allowed: two datasets, for training and"),
        ("loaders", "iter([]), [1]", ": the training loader is an iterator, which ends once"),
        ("loaders", "3, [1]", ": the training loader is int; allowed: a DataLoader, or another"),
        ("loaders", "1 / 0", ": ZeroDivisionError: division by zero (mine.py:33, in loaders)"),
    ],
)
def test_data_of_another_kind_are_refused(
    tmp_path: Path, method: str, body: str, message: str
) -> None:
    path = tmp_path / "mine.py"
    path.write_text(BASE.format(method=f"def {method}(self):", body=f"return {body}"))
    with pytest.raises(DataError) as caught:
        ready(f"{path}:Mine", tmp_path, steps=None)
    assert str(caught.value).startswith(f"{path}:32, Mine.{method}{message}")
    assert "allowed: " in str(caught.value)


def test_a_loader_without_batches_is_refused_when_it_is_read(tmp_path: Path) -> None:
    path = tmp_path / "mine.py"
    path.write_text(BASE.format(method="def loaders(self):", body="return [], []"))
    setup = ready(f"{path}:Mine", tmp_path, steps=2)
    with pytest.raises(DataError, match=r"mine\.py:32, Mine\.loaders: a loader is empty; allowed"):
        list(Loop(setup, Gate()).events())


def test_a_scaler_needs_a_step_of_its_own(tmp_path: Path) -> None:
    path = tmp_path / "mine.py"
    method = "def __init__(self):"
    path.write_text(BASE.format(method=method, body="self.scaler = torch.amp.GradScaler('cpu')"))
    with pytest.raises(FieldError, match="Mine has a GradScaler, which only its own step can use"):
        check_contract(ready(f"{path}:Mine", tmp_path))
    with pytest.raises(FieldError, match=r"precision: fp16 needs scaled gradients, and .*step"):
        path.write_text(BASE.format(method=STEP, body="return 1.0"))
        ready(f"{path}:Mine", tmp_path, precision="fp16")


def test_gamma_and_own_schedulers_exclude_each_other(tmp_path: Path) -> None:
    with pytest.raises(FieldError, match=r"gamma: 0\.5, and .*Cosine\.schedulers sets the learn"):
        ready("Cosine", tmp_path, gamma=0.5)

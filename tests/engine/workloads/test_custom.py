"""Workloads of the user's file: made, refused in words, trained, and fed."""

from __future__ import annotations

import pickle
import random
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.utils.data import Dataset, TensorDataset

from mpstui.backends import Backend
from mpstui.domain.config import make_config
from mpstui.domain.devices import parse_device
from mpstui.domain.errors import DataError, FieldError
from mpstui.domain.events import EvaluationCompleted, RunStarted, StepsCompleted
from mpstui.engine.data.items import TRAINING, BatchRequest, Items
from mpstui.engine.data.loader import Loader, LoaderSize
from mpstui.engine.data.seeding import seeded
from mpstui.engine.gate import Gate
from mpstui.engine.loop import Loop
from mpstui.engine.set_up import set_up
from mpstui.engine.setup import Setup
from mpstui.engine.workloads import Workload, find_workload
from mpstui.engine.workloads.own_data import load_own_data
from mpstui.processes.command import child_environment
from mpstui.runs.rundir import Dataset as Decided

CPU = Backend(parse_device("cpu"))
CONFIG = make_config({"workload": "mine.py:Plain"})
STRIPES = Path(__file__).parents[2] / "custom_workloads" / "stripes.py"

PLAIN = """
import torch
from torch import nn

class Plain:
    def model(self): return nn.Linear(784, 10)
    def objective(self, model, images, labels):
        return nn.functional.cross_entropy(model(images.flatten(1)), labels)
"""


pytestmark = pytest.mark.usefixtures("one_thread")


def ready(named: str, folder: Path, **values: Any) -> Setup:
    asked = {"workload": named, "batch_size": 16, "test_batch_size": 50, **values}
    return set_up(make_config(asked), Decided(source="embedded"), folder)


def losses(events: list[Any]) -> list[float]:
    told = b"".join(event.losses for event in events if isinstance(event, StepsCompleted))
    return np.frombuffer(told, "<f4").tolist()  # type: ignore[no-any-return]


def test_the_readmes_example_trains_on_its_own_data(tmp_path: Path) -> None:
    setup = ready(f"{STRIPES}:Stripes", tmp_path, lr=0.005, steps=60)
    events = list(Loop(setup, Gate()).events())
    told = losses(events)
    assert len(told) == 60
    assert np.mean(told[-10:]) < 0.7 * np.mean(told[:10])
    (started,) = [event for event in events if isinstance(event, RunStarted)]
    assert (started.train_samples, started.test_samples) == (50_000, 1_000)
    assert started.dataset == "custom data, 50,000 training and 1,000 test items"
    assert (started.epoch_samples, started.steps_per_epoch) == (50_000, 3125)  # its own set
    assert "custom Dataset: DataLoader with no processes" in started.notes
    (tested,) = [event for event in events if isinstance(event, EvaluationCompleted)]
    assert tested.samples == 1_000
    assert tested.correct is not None and tested.correct > 300  # of ten directions
    assert (
        losses(
            list(Loop(ready(f"{STRIPES}:Stripes", tmp_path, lr=0.005, steps=5), Gate()).events())
        )
        == told[:5]
    )


def test_without_data_of_its_own_it_trains_on_digits(tmp_path: Path) -> None:
    (tmp_path / "plain.py").write_text(PLAIN)
    events = list(Loop(ready(f"{tmp_path}/plain.py:Plain", tmp_path, steps=60), Gate()).events())
    assert np.mean(losses(events)[-10:]) < 0.8 * np.mean(losses(events)[:10])
    (started,) = [event for event in events if isinstance(event, RunStarted)]
    assert "embedded MNIST" in started.dataset


class Halves(Workload):
    """A workload that says nothing more than it must."""

    def model(self) -> nn.Module:
        return nn.Linear(4, 3)

    def objective(
        self, model: nn.Module, images: torch.Tensor, labels: torch.Tensor
    ) -> torch.Tensor:
        output = model(images)
        if labels.is_floating_point():
            return nn.functional.mse_loss(output, labels)
        return nn.functional.cross_entropy(output, labels)


def test_what_is_left_out_has_defaults() -> None:
    workload, config = Halves(), make_config({"workload": "a.py:Halves", "lr": 0.25})
    model = workload.model()
    optimizer = workload.optimizer(model, config)
    assert isinstance(optimizer, torch.optim.Adam)
    assert optimizer.param_groups[0]["lr"] == 0.25
    inputs, labels = torch.randn(6, 4), torch.tensor([0, 1, 2, 0, 1, 2])
    score = workload.score(model, inputs, labels)
    assert isinstance(score, Mapping)
    loss_sum, samples = score["loss"]
    assert samples == 6
    assert loss_sum.item() == pytest.approx(
        nn.functional.cross_entropy(model(inputs), labels, reduction="sum").item()
    )
    correct, answers = score["accuracy"]
    assert (correct.item(), answers) == ((model(inputs).argmax(1) == labels).sum().item(), 6)
    floats = workload.score(model, inputs, torch.randn(6, 3))
    assert isinstance(floats, Mapping) and list(floats) == ["loss"]
    assert not model._forward_hooks
    assert list(workload.pictures(model, inputs)) == []


@pytest.mark.parametrize(
    ("content", "name", "problem", "allowed"),
    [
        (None, "A", "No such file", "an existing Python file"),
        ("x = = 1", "A", "SyntaxError: invalid syntax", "without an error"),
        ("raise SystemExit(3)", "A", "SystemExit: 3", "without an error"),
        ("open('/nowhere/x')", "A", "FileNotFoundError: ", "without an error"),
        (PLAIN, "Missing", "has no class Missing", "Plain"),
        ("", "A", "has no class A", "a file with a class with the methods model and objective"),
        (
            "class A:\n  pass",
            "A",
            ":A lacks model and objective",
            "the methods model and objective, or model and step",
        ),
        ("class A:\n  def model(self): pass", "A", ":A lacks objective", "model and objective"),
    ],
)
def test_what_is_wrong_with_a_file_is_named(
    tmp_path: Path, content: str | None, name: str, problem: str, allowed: str
) -> None:
    path = tmp_path / "mine.py"
    if content is not None:
        path.write_text(content)
    with pytest.raises(FieldError) as caught:
        find_workload(make_config({"workload": f"{path}:{name}"}), tmp_path)
    assert caught.value.field == "workload"
    assert str(path) in caught.value.problem
    assert problem in caught.value.problem
    assert allowed in caught.value.allowed
    assert "\n" not in str(caught.value)


SETS = """
import torch
from torch.utils.data import IterableDataset

class Ends(IterableDataset):
    def __iter__(self): return iter([])

class Of:
    def __init__(self, *items): self.items = items
    def __len__(self): return len(self.items)
    def __getitem__(self, index): return self.items[index]

one = torch.zeros(3), 1
class Broken(Of):
    def __getitem__(self, index):
        if index == len(self) - 1: raise OSError("no such picture")
        return self.items[index]
"""


@pytest.mark.parametrize(
    ("returned", "problem"),
    [
        ("Of(one)", ".datasets returns Of; allowed: two datasets, for training and for the test"),
        ("[Of(one)] * 3", "returns list of (Of, Of, Of)"),
        ("1 / 0", ".datasets: ZeroDivisionError: division by zero"),
        ("(Of(one), 3)", "the test set is int; allowed: a Dataset with __getitem__ and __len__"),
        ("(Ends(), Of(one))", "the training data are a stream without a length"),
        ("(Of(one), Of())", "the test set is empty"),
        ("(Of(one), Of(object()))", "items of the test set can't be combined to a batch"),
        ("(Of(one, one + one), Of(one))", "items of the training set can't be combined to a batch"),
        (
            "(Of(one, (torch.zeros(4), 1)), Of(one))",
            "items of the training set can't be combined to a batch: RuntimeError: stack expects ",
        ),
        ("(Broken(one), Of(one))", "item 0 of the training set: OSError: no such picture"),
    ],
)
def test_what_is_wrong_with_its_data_is_named(tmp_path: Path, returned: str, problem: str) -> None:
    path = tmp_path / "mine.py"
    path.write_text(f"{SETS}{PLAIN}    def datasets(self): return {returned}")
    workload = find_workload(make_config({"workload": f"{path}:Plain"}), tmp_path)
    with pytest.raises(DataError) as caught:
        load_own_data(workload, CONFIG)
    line = path.read_text().count("\n") + 1
    assert str(caught.value).startswith(f"{path}:{line}, Plain.datasets")
    assert problem in str(caught.value)
    assert "allowed: " in str(caught.value)


class Noisy(Dataset[tuple[np.ndarray[Any, Any], float]]):
    """Draws from all three generators."""

    def __len__(self) -> int:
        return 40

    def __getitem__(self, index: int) -> tuple[np.ndarray[Any, Any], float]:
        return np.array([index, random.random(), np.random.rand()]), torch.rand(()).item()


ITEMS = Items(None, "noisy", Noisy(), TensorDataset(torch.randn(30, 3), torch.arange(30)))


def test_items_come_in_the_order_asked_for_as_float32() -> None:
    pipeline = Loader(ITEMS, CPU, 8)
    order = torch.randperm(40)[:20]
    batches = list(pipeline.training(order, 8))
    assert [batch.samples for batch in batches] == [8, 8, 4]
    assert torch.cat([batch.content[0][:, 0] for batch in batches]).tolist() == order.tolist()
    assert {part.dtype for batch in batches for part in batch.content} == {torch.float32}
    tests = [batch.content for batch in pipeline.test(7)]
    inputs, targets = (torch.cat(parts) for parts in zip(*tests, strict=True))
    assert torch.equal(inputs, ITEMS.parts[1].tensors[0])
    assert targets.tolist() == list(range(30))
    assert torch.equal(pipeline.sample_inputs()[0], inputs[:8])


def test_float64_stays_for_a_model_of_that_dtype(tmp_path: Path) -> None:
    (tmp_path / "double.py").write_text(
        """
import torch
from torch.utils.data import TensorDataset
class Double:
    def datasets(self):
        data = TensorDataset(torch.ones(8, 2).double(), torch.zeros(8, 1).double())
        return data, data
    def model(self):
        return torch.nn.Linear(2, 1).double()
    def objective(self, model, x, y):
        return (model(x) - y).square().mean()
"""
    )
    setup = ready(f"{tmp_path}/double.py:Double", tmp_path)
    (batch,) = setup.batches(1, 0, 1)
    assert batch.content[0].dtype is torch.float64
    assert isinstance(setup.data, Items)
    assert pickle.loads(pickle.dumps(setup.data)).keeps_double
    assert setup.objective(batch).requires_grad


def test_what_is_drawn_follows_from_the_batch_and_is_new_at_each_visit() -> None:
    pipeline, order = Loader(ITEMS, CPU, 8), torch.arange(24)
    states = torch.get_rng_state(), np.random.get_state()[1].copy(), random.getstate()  # type: ignore[index]
    first = torch.cat([batch.content[0] for batch in pipeline.training(order, 8)])
    assert torch.equal(torch.get_rng_state(), states[0])
    assert (np.random.get_state()[1] == states[1]).all()  # type: ignore[index]
    assert random.getstate() == states[2]
    # Three batches at once, and what is left after one: as when steps share a graph, or resumed.
    assert torch.equal(next(pipeline.training(order, 24)).content[0], first)
    assert torch.equal(next(pipeline.training(order[8:], 8)).content[0], first[8:16])
    again = next(pipeline.training(order.flip(0), 24)).content[0].flip(0)
    assert torch.equal(again[:, 0], first[:, 0])
    assert not (again[:, 1:] == first[:, 1:]).any()


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 2**63 - 1))
def test_any_seed_of_a_run_draws_and_leaves_no_trace(seed: int) -> None:
    before = torch.get_rng_state()
    with seeded(seed):
        one = torch.rand(3), random.random(), np.random.rand()
    with seeded(seed):
        assert torch.equal(torch.rand(3), one[0])
        assert (random.random(), np.random.rand()) == one[1:]
    assert torch.equal(torch.get_rng_state(), before)


def test_processes_load_the_same_from_an_own_file(tmp_path: Path) -> None:
    path = tmp_path / "mine.py"
    path.write_text(
        f"{SETS}{PLAIN}"
        "    def datasets(self):\n"
        "        return Noise(20), Broken(one, one, 3)\n"
        "class Noise(Of):\n"
        "    def __init__(self, count): self.items = range(count)\n"
        "    def __getitem__(self, index): return torch.randn(3) + index, index\n"
    )
    config = make_config({"workload": f"{path}:Plain"})
    items = load_own_data(find_workload(config, tmp_path), CONFIG)
    assert isinstance(items, Items)
    path.unlink()
    (tmp_path / "workload.py").write_text("1 / 0")  # of no avail: the module is there
    order = torch.randperm(20)
    alone = list(Loader(items, CPU, 4).training(order, 4))
    loader = Loader(items, CPU, 4, LoaderSize(2, 2))
    with pytest.raises(DataError, match="item 2 of the test set: OSError: no such picture"):
        list(loader.test(1))
    assert "2 processes" in loader.note
    for _ in range(2):
        for batch, same in zip(loader.training(order, 4), alone, strict=True):
            assert batch.samples == same.samples
            assert all(map(torch.equal, batch.content, same.content))
    stale = loader.training(order, 4)
    next(stale)
    next(loader.training(order, 4))
    with pytest.raises(RuntimeError, match="another iteration"):
        list(stale)


LOADING = """
import sys
import torch
from torch.utils.data import TensorDataset
from mpstui.backends import Backend
from mpstui.domain.devices import parse_device
from mpstui.engine.data.items import Items
from mpstui.engine.data.loader import Loader, LoaderSize

if __name__ == "__main__":
    both = TensorDataset(torch.zeros(64, 2), torch.zeros(64))
    items = Items(None, "zeros", both, both)
    loader = Loader(items, Backend(parse_device("cpu")), 1, LoaderSize(2))
    feed = loader.training(torch.arange(64), 1)
    next(feed)
    print("loading", flush=True)
    sys.stdin.read()
"""


def test_processes_end_when_the_training_is_killed(tmp_path: Path) -> None:
    (tmp_path / "loading.py").write_text(LOADING)
    command = [sys.executable, str(tmp_path / "loading.py")]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.DEVNULL}
    with subprocess.Popen(command, env=child_environment(), **pipes) as training:  # type: ignore[call-overload]
        assert training.stdout.readline() == b"loading\n"
        started = psutil.Process(training.pid).children(recursive=True)
        assert len(started) >= 2
        training.kill()
    assert psutil.wait_procs(started, timeout=600)[1] == []


def test_own_data_have_no_reference_pipeline(tmp_path: Path) -> None:
    with pytest.raises(FieldError, match="pipeline: reference only supports"):
        ready(f"{STRIPES}:Stripes", tmp_path, pipeline="reference")


def test_a_batch_is_asked_for_by_part_and_groups() -> None:
    batch = ITEMS.batch(BatchRequest(TRAINING, ((1, 2), (3,))))
    inputs, targets = batch.content
    assert (batch.samples, inputs.shape, targets.shape) == (3, (3, 3), (3,))

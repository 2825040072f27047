"""The contract of a custom workload is checked before training, with one test batch."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import torch

from mpstui.domain.config import make_config
from mpstui.domain.errors import FieldError
from mpstui.engine.set_up import set_up
from mpstui.engine.setup import Setup
from mpstui.engine.workloads.check import check_contract
from mpstui.runs.rundir import Dataset

pytestmark = pytest.mark.usefixtures("one_thread")

BASE = """
import torch
from torch import nn
from mpstui import Score, Workload

class Mine(Workload):
    def model(self):
        return nn.Sequential(nn.Flatten(), nn.Linear(784, 10), nn.BatchNorm1d(10), nn.Dropout())
    def objective(self, model, images, labels):
        return nn.functional.cross_entropy(model(images), labels)
"""


def build(folder: Path, hooks: str) -> Setup:
    (folder / "mine.py").write_text(BASE + hooks)
    config = make_config({"workload": f"{folder}/mine.py:Mine", "test_batch_size": 20})
    return set_up(config, Dataset(source="embedded"), folder)


def refusal(folder: Path, hooks: str) -> str:
    with pytest.raises(FieldError) as caught:
        check_contract(build(folder, hooks))
    message = str(caught.value)
    prefix = f"workload: {folder}/mine.py:12, Mine."  # the line of the first method in hooks
    assert message.startswith(prefix)
    return message.removeprefix(prefix)


def test_an_error_in_score_names_the_users_line(tmp_path: Path) -> None:
    hooks = """
    def score(self, model, images, labels):
        return self.helper(images)
    def helper(self, images):
        raise ValueError("no such column")
"""
    assert refusal(tmp_path, hooks) == (
        "score: ValueError: no such column (mine.py:15, in helper); "
        "allowed: a method score that raises no error"
    )


@pytest.mark.parametrize(
    ("value", "problem"),
    [
        ("{'accuracy': 1.0}", "score returns a dict with 'accuracy'"),
        ("{'loss': 1.0, 'best': 'a'}", "score returns best: str"),
        ("{'loss': (1, 2, 3)}", "score returns loss: tuple of (int, int, int)"),
        ("1.0", "score returns float"),
        ("torch.zeros(3)", "score returns a tensor of shape (3,)"),
        (
            "Score(torch.zeros(20), None)",
            "score returns loss: tuple of (a tensor of shape (20,), int)",
        ),
        ("Score(None, None)", "score returns loss: tuple of (NoneType, int)"),
    ],
)
def test_a_score_of_another_kind_is_refused(tmp_path: Path, value: str, problem: str) -> None:
    hooks = f"""
    def score(self, model, images, labels):
        return {value}
"""
    assert refusal(tmp_path, hooks).startswith(f'{problem}; allowed: {{"loss": mean loss')


def test_an_objective_that_is_no_scalar_is_refused(tmp_path: Path) -> None:
    hooks = """
    def objective(self, model, images, labels):
        return nn.functional.cross_entropy(model(images), labels, reduction="none")
"""
    assert refusal(tmp_path, hooks).startswith("objective returns a tensor of shape (64,); allowed")


@pytest.mark.parametrize(
    ("value", "problem"),
    [
        ("[('grid', torch.zeros(28, 28))]", "pictures yields grid, a tensor of shape (28, 28)"),
        ("[torch.zeros(1, 1, 28, 28)]", "pictures yields a tensor of shape (1, 1, 28, 28)"),
    ],
)
def test_pictures_of_another_shape_are_refused(tmp_path: Path, value: str, problem: str) -> None:
    hooks = f"""
    def pictures(self, model, images):
        return {value}
"""
    assert refusal(tmp_path, hooks).startswith(f"{problem}; allowed: pairs of a kind and a tensor")


def test_the_check_leaves_no_trace(tmp_path: Path) -> None:
    hooks = """
    def score(self, model, images, labels):
        model.train()  # batch statistics move
        loss = self.objective(model, images, labels)
        return Score(loss * len(images) + torch.rand(()), (labels == 0).sum())
    def pictures(self, model, images):
        yield "noise", torch.rand(1, 1, 8, 8)
"""
    setup = build(tmp_path, hooks)
    state = {name: value.clone() for name, value in setup.model.state_dict().items()}
    rng_state = torch.get_rng_state()
    check_contract(setup)
    assert torch.equal(torch.get_rng_state(), rng_state)
    assert setup.model.training
    for name, value in setup.model.state_dict().items():
        assert torch.equal(value, state[name]), name


def test_public_names_import_torch_when_they_are_used() -> None:
    code = (
        "import sys, mpstui\n"
        "assert 'torch' not in sys.modules\n"
        "from mpstui import Score, Workload\n"
        "assert 'torch' in sys.modules and Workload.__abstractmethods__\n"
        "assert Score._fields == ('loss_sum', 'correct')\n"
        "try: mpstui.Nothing\n"
        "except AttributeError as error: assert 'Nothing' in str(error)\n"
        "else: raise SystemExit('no error')\n"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.mark.parametrize(
    ("hook", "value", "allowed"),
    [
        ("model(self)", "lambda x: x", "model returns function; allowed: torch's Module"),
        (
            "optimizer(self, model, config)",
            "None",
            "optimizer returns NoneType; allowed: a torch.optim.Optimizer",
        ),
    ],
)
def test_a_hook_that_returns_another_kind_is_named(
    tmp_path: Path, hook: str, value: str, allowed: str
) -> None:
    with pytest.raises(FieldError, match=f"mine.py:12, Mine.{allowed}"):
        build(tmp_path, f"\n    def {hook}:\n        return {value}\n")


def test_an_optimizer_that_wants_a_closure_needs_a_step(tmp_path: Path) -> None:
    hooks = """
    def optimizers(self, model):
        return Sharp(model.parameters(), lr=0.1)
class Sharp(torch.optim.SGD):
    def step(self, closure=None):
        assert closure is not None, "a closure is required"
"""
    assert refusal(tmp_path, hooks) == (
        "optimizers: Sharp.step(): AssertionError: a closure is required (mine.py:16, in step); "
        "allowed: an optimizer whose step needs no closure; or a method step, which calls it"
    )


LAZY = BASE.replace("nn.Linear(784, 10)", "nn.LazyLinear(10)").replace(
    "nn.BatchNorm1d(10)", "nn.LazyBatchNorm1d()"
)


def lazy(folder: Path, hooks: str) -> Setup:
    (folder / "mine.py").write_text(LAZY + hooks)
    config = make_config({"workload": f"{folder}/mine.py:Mine", "test_batch_size": 20})
    return set_up(config, Dataset(source="embedded"), folder)


STEP = """
    def step(self, model, batch, optimizers):
        raise NotImplementedError
    objective = None
"""
SCORE = """
    def score(self, model, images, labels):
        return {"loss": nn.functional.cross_entropy(model(images), labels)}
"""


@pytest.mark.parametrize("hooks", ["", STEP + SCORE])
def test_lazy_layers_see_a_first_input_and_no_average_of_it(tmp_path: Path, hooks: str) -> None:
    setup = lazy(tmp_path, hooks)
    mean = setup.model.get_buffer("2.running_mean")
    assert torch.equal(mean, torch.zeros(10)) and setup.model.training


def test_lazy_layers_without_a_method_to_call_them_are_refused(tmp_path: Path) -> None:
    with pytest.raises(FieldError, match=r"mine.py:7, Mine.model returns lazy layers.*score"):
        lazy(tmp_path, STEP)


def test_a_batch_normalised_in_place_leaves_the_data_as_they_are(tmp_path: Path) -> None:
    setup = build(tmp_path, SCORE.replace("(images)", "(images.sub_(0.1))"))
    first, second = (next(setup.pipeline.test(20)) for _ in range(2))
    setup.score(first)
    assert not torch.equal(first.content[0], second.content[0])
    assert torch.equal(next(setup.pipeline.test(20)).content[0], second.content[0])
    inputs = setup.pipeline.sample_inputs()[0]
    inputs.zero_()
    assert not torch.equal(setup.pipeline.sample_inputs()[0], inputs)


def test_answers_are_not_counted_for_a_model_that_is_called_for_each_view(tmp_path: Path) -> None:
    twice = """
    def objective(self, model, images, labels):
        return (model(images) - model(images.flip(3))).pow(2).mean()
"""
    assert "accuracy" in build(tmp_path, "").score(next(build(tmp_path, "").pipeline.test(20)))
    setup = build(tmp_path, twice)
    assert list(setup.score(next(setup.pipeline.test(20)))) == ["loss"]

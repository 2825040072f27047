from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from mpstui.domain.config import make_config
from mpstui.domain.events import AnyEvent, RunStarted, StepsCompleted
from mpstui.engine.data.feed import Batch
from mpstui.engine.gate import Gate
from mpstui.engine.loop import Loop
from mpstui.engine.progress import Progress
from mpstui.engine.set_up import set_up
from mpstui.engine.setup import Setup
from mpstui.engine.snapshots import load_snapshot, pack
from mpstui.engine.steps import steps_of
from mpstui.engine.steps.base import split
from mpstui.engine.steps.eager import ArticleSteps, EagerSteps
from mpstui.runs.rundir import Dataset
from tests.builders.batches import training_feed

Ready = Callable[..., Setup]


pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture
def ready(tmp_path: Path) -> Ready:
    def make(**values: Any) -> Setup:
        asked = {"workload": "vae", "batch_size": 16, "test_batch_size": 500, **values}
        return set_up(make_config(asked), Dataset(source="embedded"), tmp_path)

    return make


def losses(events: list[AnyEvent]) -> np.ndarray[Any, np.dtype[np.float32]]:
    steps = [event for event in events if isinstance(event, StepsCompleted)]
    return np.concatenate([np.frombuffer(event.losses, "<f4") for event in steps])


@pytest.mark.parametrize("precision", ["bf16", "fp16"])
def test_half_precisions_train_near_float32_and_are_named(ready: Ready, precision: str) -> None:
    events = list(Loop(ready(precision=precision, steps=60), Gate()).events())
    full = losses(list(Loop(ready(steps=60), Gate()).events()))
    half = losses(events)
    assert half[0] == pytest.approx(full[0], rel=0.01)
    assert half[-10:].mean() == pytest.approx(full[-10:].mean(), rel=0.1)
    started = events[0]
    assert isinstance(started, RunStarted)
    assert any(f"{precision} autocast" in note for note in started.notes)


def test_fp16_gradients_are_those_of_the_loss_and_not_of_its_scale(ready: Ready) -> None:
    """65,536 times the loss leaves fp16's range at first: such steps are passed over."""
    setup, full = ready(precision="fp16"), ready()
    (batch,) = training_feed(setup, torch.arange(16), 16)
    before = [parameter.clone() for parameter in setup.model.parameters()]
    steps = steps_of(setup)
    assert setup.scaler is not None
    taken = 0
    while all(torch.equal(p, b) for p, b in zip(setup.model.parameters(), before, strict=True)):
        torch.manual_seed(1)
        steps.take(batch)
        taken += 1
        assert taken < 20
    torch.manual_seed(1)
    steps_of(full).take(batch)
    norms = [
        float(
            torch.nn.utils.get_total_norm(
                [p.grad for p in each.model.parameters() if p.grad is not None]
            )
        )
        for each in (setup, full)
    ]
    assert norms[0] == pytest.approx(norms[1], rel=0.05)


def test_a_snapshot_keeps_the_scale_of_fp16(ready: Ready, tmp_path: Path) -> None:
    setup = ready(precision="fp16")
    assert setup.scaler is not None
    setup.scaler.scale(torch.ones(1))  # the scale is made when it is first used
    setup.scaler.update(128.0)
    progress = Progress(1, 1, 16, 0, 0.0, 0.0, 0.0, None)
    path = tmp_path / "step-000001.pt"
    path.write_bytes(pack(setup, progress, setup.backend.rng_state()))
    other = ready(precision="fp16")
    load_snapshot(path).restore(other)
    assert other.scaler is not None
    other.scaler.scale(torch.ones(1))
    assert other.scaler.get_scale() == 128.0
    load_snapshot(path).restore(ready())  # a run without a scale can go on from it


@pytest.mark.parametrize(("workload", "every"), [("vae", 1), ("mnist", 10)])
def test_the_reference_pipeline_reads_the_loss_as_the_scripts_do(
    ready: Ready, monkeypatch: pytest.MonkeyPatch, workload: str, every: int
) -> None:
    setup = ready(workload=workload, pipeline="reference")
    read = 0
    item = torch.Tensor.item

    def counted(tensor: torch.Tensor) -> Any:
        nonlocal read
        read += tensor.shape == (1,)  # Adam reads its count of steps, which has no dimension
        return item(tensor)

    steps = steps_of(setup)
    assert isinstance(steps, ArticleSteps)
    assert type(steps_of(ready(workload=workload))) is EagerSteps
    batch = Batch((torch.rand(2, 1, 28, 28), torch.tensor([1, 2])), 2)
    steps.take(batch)
    monkeypatch.setattr(torch.Tensor, "item", counted)
    for _ in range(20):
        steps.take(batch)
    assert read == 20 // every


def test_a_compiled_model_is_what_trains_and_is_named(
    ready: Ready, monkeypatch: pytest.MonkeyPatch
) -> None:
    called: list[bool] = []

    class Compiled(nn.Module):
        def __init__(self, model: nn.Module) -> None:
            super().__init__()
            self.model = model

        def forward(self, images: torch.Tensor) -> Any:
            called.append(self.model.training)
            return self.model(images)

    monkeypatch.setattr(torch, "compile", Compiled)
    setup = ready(device="cpu@compile", steps=3)
    events = list(Loop(setup, Gate()).events())
    assert called == [True] * 3  # the test goes through the model itself
    assert len(losses(events)) == 3
    started = events[0]
    assert isinstance(started, RunStarted)
    assert any("torch.compile" in note for note in started.notes)


def test_batches_laid_end_to_end_come_apart_again() -> None:
    images, labels = torch.arange(10.0), torch.arange(10)
    parts = split(Batch((images, labels), 10), 4)
    assert [part.samples for part in parts] == [4, 4, 2]
    for place, whole in enumerate((images, labels)):
        assert torch.equal(torch.cat([part.content[place] for part in parts]), whole)

"""CUDA graphs of training steps: run where there is such a device."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from mpstui.domain.config import make_config
from mpstui.domain.events import AnyEvent, StepsCompleted
from mpstui.domain.plan import PLAIN, Plan
from mpstui.engine.autotune.apply import apply_plan
from mpstui.engine.autotune.candidate import (
    Candidate,
    max_relative_difference,
    max_relative_difference_in_graph,
    two_steps,
)
from mpstui.engine.gate import Gate
from mpstui.engine.loop import Loop
from mpstui.engine.progress import Progress
from mpstui.engine.set_up import set_up
from mpstui.engine.setup import Setup
from mpstui.engine.snapshots import load_snapshot, pack
from mpstui.runs.rundir import Dataset
from tests.builders.batches import training_feed

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")

PLANS = [
    Plan(graph_steps=1),
    Plan(graph_steps=4, optimizer="flat"),
    Plan(graph_steps=2, optimizer="foreach", layout="channels_last"),
]


def ready(folder: Path, **values: Any) -> Setup:
    asked = {"workload": "mnist", "device": "cuda", "batch_size": 64, **values}
    return set_up(make_config(asked), Dataset(source="embedded"), folder)


def losses(events: list[AnyEvent]) -> list[float]:
    steps = [event for event in events if isinstance(event, StepsCompleted)]
    told: list[float] = np.concatenate([np.frombuffer(e.losses, "<f4") for e in steps]).tolist()
    return told


@pytest.mark.parametrize("workload", ["mnist", "vae"])
@pytest.mark.parametrize("plan", PLANS)
def test_a_graph_trains_as_its_ops_do_one_by_one(tmp_path: Path, workload: str, plan: Plan) -> None:
    setup = ready(tmp_path, workload=workload)
    some = list(training_feed(setup, torch.arange(512), 64))
    assert max_relative_difference_in_graph(setup, plan, some) < 1e-3
    assert (
        max_relative_difference(two_steps(setup, plan, some), two_steps(setup, PLAIN, some)) < 1e-3
    )


def test_draws_differ_from_step_to_step(tmp_path: Path) -> None:
    """Dropout of a replay is not that of the one before: the same batch costs another loss."""
    setup = ready(tmp_path, workload="mnist", lr=1e-9)
    one = [next(iter(training_feed(setup, torch.arange(64), 64)))]
    trial = Candidate(setup, Plan(graph_steps=1), one)
    told = [float(trial.take()) for _ in range(12)]
    assert len({round(loss, 6) for loss in told}) > 8


def test_a_whole_run_follows_schedule_and_short_batches(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Epochs of 10½ batches under 4 steps a graph: the learning rate falls, no step is lost."""
    monkeypatch.setattr("mpstui.domain.config.EPOCH_SAMPLES", 672)
    loop = Loop(apply_plan(PLANS[1], ready(tmp_path, epochs=4, gamma=0.5)), Gate())
    events = list(loop.events())
    told = losses(events)
    assert len(told) == 44
    assert all(np.isfinite(told))
    rates = {event.lr for event in events if isinstance(event, StepsCompleted)}
    assert rates == {1.0, 0.5, 0.25, 0.125}
    norms = [event.grad_norm for event in events if isinstance(event, StepsCompleted)]
    assert all(norm is not None and norm > 0 for norm in norms)


@pytest.mark.parametrize("plan", PLANS)
def test_a_graphs_snapshot_goes_on_as_a_plain_run_on_the_cpu(tmp_path: Path, plan: Plan) -> None:
    setup = apply_plan(plan, ready(tmp_path))
    loop = Loop(setup, Gate())
    loop._config = make_config({"workload": "mnist", "device": "cuda", "steps": 12})
    list(loop.events())
    progress = Progress(12, 1, 768, 0, 0.0, 0.0, 0.0, None)
    path = tmp_path / "step-000012.pt"
    path.write_bytes(pack(setup, progress, setup.backend.rng_state()))
    plain = ready(tmp_path, device="cpu")
    load_snapshot(path).restore(plain)
    for one, other in zip(plain.model.parameters(), setup.model.parameters(), strict=True):
        torch.testing.assert_close(one, other.cpu(), rtol=0, atol=0)
    (batch,) = training_feed(plain, torch.arange(64), 64)
    objective = plain.objective(batch)
    plain.backward(objective)
    plain.step()
    assert torch.isfinite(objective)

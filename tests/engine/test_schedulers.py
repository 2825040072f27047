"""Schedules of the learning rate, under every plan for the optimizer."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from torch.optim.lr_scheduler import ReduceLROnPlateau

from mpstui.domain.errors import FieldError
from mpstui.domain.events import EvaluationCompleted
from mpstui.domain.plan import SAME, Plan
from mpstui.engine.autotune.apply import apply_plan, plain_reason
from mpstui.engine.gate import Gate
from mpstui.engine.loop import Loop
from mpstui.engine.setup import Setup
from mpstui.engine.steps import steps_of
from mpstui.engine.workloads.training import Schedulers
from tests.builders.shapes import ready, step_losses

pytestmark = pytest.mark.usefixtures("one_thread")


def rates(setup: Setup, steps: int = 8) -> list[float]:
    """Train, and return the learning rate after each step."""
    trained = steps_of(setup)
    values = []
    for batch in setup.batches(1, 0, steps):
        trained.take(batch)
        values.append(float(setup.optimizer.param_groups[0]["lr"]))
    return values


@pytest.mark.parametrize("name", ["Hooked", "Cosine"])
@pytest.mark.parametrize("optimizer", ["fused", "foreach", "flat", SAME])
def test_a_schedule_goes_on_under_every_plan(name: str, optimizer: str, tmp_path: Path) -> None:
    plain = rates(ready(name, tmp_path / "plain"))
    assert len(set(plain)) == 8
    setup = ready(name, tmp_path / "planned")
    planned = apply_plan(Plan(optimizer=optimizer), setup)
    # The hook or the scheduler holds this object; flat would be another one, so it is not used.
    assert planned.optimizer is setup.optimizer
    assert planned.schedulers is setup.schedulers
    assert planned.plan.optimizer == (SAME if optimizer == "flat" else optimizer)
    if optimizer in ("fused", "foreach"):
        assert planned.optimizer.param_groups[0][optimizer] is True
    assert rates(planned) == plain


def test_a_step_of_ones_own_trains_as_it_is(tmp_path: Path) -> None:
    reasons = {
        name: plain_reason(ready(name, tmp_path / name))
        for name in ("Gan", "Accumulate", "Loaders", "Streaming", "Closure", "Cosine", "Padded")
    }
    assert reasons == {
        "Gan": "Gan has its own step",
        "Accumulate": "Accumulate has its own step",
        "Loaders": "Loaders has its own loaders",
        "Streaming": "the data of Streaming are a stream",
        "Closure": "the optimizer evaluates the loss several times a step",
        "Cosine": "",
        "Padded": "",
    }


@pytest.mark.parametrize(("test_every", "tests"), [(1, 2), (2, 1)])
def test_a_plateau_gets_the_loss_of_each_test(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, test_every: int, tests: int
) -> None:
    seen: list[Any] = []
    monkeypatch.setattr(ReduceLROnPlateau, "step", lambda self, loss: seen.append(loss))
    setup = ready("Ema", tmp_path, batch_size=20_000, steps=6, test_every=test_every)
    events = list(Loop(setup, Gate()).events())
    assert len(step_losses(events)) == 6
    assert seen == [event.loss for event in events if isinstance(event, EvaluationCompleted)]
    assert len(seen) == tests


def test_schedulers_load_as_many_states_as_they_have() -> None:
    parameter = nn.Parameter(torch.zeros(1))

    def built() -> Schedulers:
        optimizer = torch.optim.SGD([parameter], lr=1.0)
        return Schedulers([torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, 9)])

    first, second = built(), built()
    first.per_step[0].optimizer.step()
    first.after_step()
    second.load(first.state())
    assert second.state() == first.state()
    with pytest.raises(FieldError, match="schedulers: 1, and the snapshot has 2"):
        second.load([*first.state(), {}])

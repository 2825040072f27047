"""What a plan computes, against the plain loop."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

from mpstui.domain.plan import PLAIN, Plan
from mpstui.engine.autotune import check as module
from mpstui.engine.autotune.candidate import (
    TOLERANCES,
    Candidate,
    max_relative_difference,
    two_steps,
)
from mpstui.engine.autotune.check import PlanCheck, differs_from_plain
from mpstui.engine.data.feed import Batch
from mpstui.engine.setup import Setup
from tests.builders.batches import training_feed

from .conftest import Ready

pytestmark = pytest.mark.usefixtures("one_thread")


def batches(setup: Setup) -> list[Batch]:
    return list(training_feed(setup, torch.arange(64), 16))


PLANS = [
    ("mnist", Plan(layout="channels_last")),
    ("mnist", Plan(rewrites=("pool-first",))),
    ("mnist", Plan(rewrites=("pool-first", "byte-dropout"), layout="channels_last")),
    ("mnist", Plan(optimizer="foreach")),
    ("mnist", Plan(optimizer="flat", layout="channels_last")),
    ("vae", Plan(optimizer="fused", allocator="keep")),
    ("vae", Plan(optimizer="foreach")),
    ("vae", Plan(optimizer="flat", threads=2)),
]


@pytest.mark.parametrize(("workload", "plan"), PLANS)
def test_each_plan_gives_the_plain_loops_first_losses_and_gradients(
    ready: Ready, workload: str, plan: Plan
) -> None:
    setup = ready(workload=workload)
    some = batches(setup)
    far = max_relative_difference(two_steps(setup, plan, some), two_steps(setup, PLAIN, some))
    assert far < 1e-5
    ours, theirs = Candidate(setup, plan, some), Candidate(setup, PLAIN, some)
    ours.without_dropout(), theirs.without_dropout()
    torch.manual_seed(1)
    ten = [float(theirs.take()) for _ in range(10)]
    torch.manual_seed(1)
    assert [float(ours.take()) for _ in range(10)] == pytest.approx(ten, rel=2e-3)
    assert PlanCheck(setup)(plan) == ""


def test_a_check_changes_nothing_of_the_run(ready: Ready) -> None:
    setup = ready(workload="mnist")
    weights = [parameter.clone() for parameter in setup.model.parameters()]
    draws = torch.get_rng_state()
    check = PlanCheck(setup)
    assert check(Plan(optimizer="flat", rewrites=("pool-first", "byte-dropout"))) == ""
    assert check.seconds > 0
    assert torch.equal(torch.get_rng_state(), draws)
    for parameter, before in zip(setup.model.parameters(), weights, strict=True):
        assert torch.equal(parameter, before)
        assert parameter.grad is None


@pytest.mark.parametrize("factor", [1.1, float("nan")])
def test_other_gradients_are_seen(
    ready: Ready, monkeypatch: pytest.MonkeyPatch, factor: float
) -> None:
    def wrong(setup: Setup, plan: Plan, some: Any) -> Any:
        steps = two_steps(setup, plan, some)
        if plan.layout == "channels_last":
            return steps._replace(gradients=steps.gradients * factor)
        if plan.rewrites:
            raise RuntimeError("not implemented here\nand more")
        return steps

    monkeypatch.setattr(module, "two_steps", wrong)
    check = PlanCheck(ready(workload="mnist"))
    assert check(Plan(layout="channels_last")).startswith("other results here (")
    assert check(Plan(rewrites=("pool-first",))) == "RuntimeError: not implemented here"
    assert check(Plan(optimizer="flat")) == ""


def test_a_step_that_counts_or_draws_on_the_host_is_seen(
    ready: Ready, monkeypatch: pytest.MonkeyPatch
) -> None:
    setup = ready(workload="mnist")
    trial = Candidate(setup, PLAIN, batches(setup))
    assert trial.changes_host_state()  # on the CPU dropout draws there
    assert not trial.without_dropout().changes_host_state()
    objective = type(setup.workload).objective

    def counting(self: Any, *arguments: Any) -> torch.Tensor:
        self.calls = getattr(self, "calls", 0) + 1
        return objective(self, *arguments)

    monkeypatch.setattr(type(setup.workload), "objective", counting)
    assert trial.changes_host_state()
    assert not hasattr(setup.workload, "calls")  # what a trial counts is not the run's


def test_what_changes_results_is_seen(ready: Ready, monkeypatch: pytest.MonkeyPatch) -> None:
    setup = ready(workload="mnist")
    some = batches(setup)
    before = two_steps(setup, PLAIN, some)
    objective = type(setup.workload).objective

    def slightly(self: Any, model: nn.Module, images: Any, labels: Any) -> torch.Tensor:
        return objective(self, model, images * 1.01, labels)

    monkeypatch.setattr(type(setup.workload), "objective", slightly)
    assert max_relative_difference(two_steps(setup, PLAIN, some), before) > TOLERANCES["float32"]
    spoilt = [
        Batch((batch.content[0] * torch.nan, batch.content[1]), batch.samples) for batch in some
    ]
    nothing = two_steps(setup, PLAIN, spoilt)
    assert not max_relative_difference(nothing, before) <= TOLERANCES["float32"]


def test_memory_and_threads_need_no_check() -> None:
    assert not differs_from_plain(Plan(allocator="keep", threads=2, loader_workers=3))
    assert differs_from_plain(Plan(optimizer="fused"))

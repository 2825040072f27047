"""The plan that a run starts under."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from mpstui.domain.plan import PLAIN, Plan
from mpstui.engine.autotune.apply import apply_plan
from mpstui.engine.autotune.check import PlanCheck
from mpstui.engine.autotune.tuner import Tuner
from tests.builders.machines import M4

from .conftest import Ready, started

pytestmark = pytest.mark.usefixtures("one_thread", "memory_as_it_is")


@pytest.mark.parametrize(
    "values",
    [
        {"autotune": "off"},
        {"device": "cpu@autotune=off"},
        {"pipeline": "reference"},
        {"device": "cpu@fault=neg-stride0"},
        {"dry_run": True},
    ],
)
def test_some_runs_stay_plain(ready: Ready, values: dict[str, Any]) -> None:
    setup = ready(**values)
    tuner = Tuner(M4)
    assert [*tuner.start(setup)] == []
    assert tuner.block is None


def test_a_usual_plan_that_is_wrong_here_is_not_used(
    ready: Ready, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Wrong(PlanCheck):
        def __call__(self, plan: Plan) -> str:
            return "other results here (0.1)"

    monkeypatch.setattr("mpstui.engine.autotune.first_plan.PlanCheck", Wrong)
    choice = started(ready())
    assert choice.plan == PLAIN
    expected = "plain loop; the usual plan is not used: other results here (0.1)"
    assert choice.line == expected


def test_a_model_that_cannot_be_copied_trains_plain(
    ready: Ready, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(*_: object) -> None:
        raise TypeError("cannot be copied\nand more")

    monkeypatch.setattr("mpstui.engine.autotune.check.copy_of", refused)
    choice = started(ready())
    assert choice.line == "plain loop: not autotuned: TypeError: cannot be copied"
    assert choice.plan == PLAIN


def test_a_plan_that_no_longer_fits_is_carried_out_as_far_as_it_does(ready: Ready) -> None:
    setup = ready()
    setup.model.requires_grad_(False)
    under = apply_plan(Plan(optimizer="flat", graph_steps=1, eval_chunk=9), setup)
    assert (under.plan.optimizer, under.plan.eval_chunk) == ("as built", 9)
    assert type(under.optimizer) is torch.optim.Adam


def test_a_resumed_run_keeps_its_plan(ready: Ready) -> None:
    choice = started(ready(), previous=Plan(optimizer="flat"))
    assert (choice.plan, choice.gain) == (Plan(optimizer="flat"), None)
    assert choice.line == "same plan as the original run"

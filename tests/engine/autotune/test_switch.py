"""A live run whose plan changes between two steps, which does not change its training."""

from __future__ import annotations

import pytest
import torch

from mpstui.domain.plan import PLAIN, Plan
from mpstui.engine.autotune.switch import PlanSwitch
from mpstui.engine.data.feed import Batch
from mpstui.engine.setup import Setup
from mpstui.engine.steps import steps_of
from tests.builders.batches import training_feed

from .conftest import Ready

pytestmark = pytest.mark.usefixtures("one_thread")

PLANS = {
    "vae": (
        Plan(optimizer="flat", threads=2),
        Plan(optimizer="fused", allocator="keep"),
        PLAIN,
        Plan(optimizer="foreach"),
        Plan(optimizer="flat"),
    ),
    "mnist": (
        Plan(layout="channels_last", optimizer="foreach"),
        Plan(rewrites=("pool-first",), optimizer="flat"),
        Plan(layout="channels_last", optimizer="flat"),
        PLAIN,
        Plan(layout="channels_last"),
    ),
}


def batches(setup: Setup) -> list[Batch]:
    return list(training_feed(setup, torch.arange(16 * 15), 16))


def losses(setup: Setup, plans: tuple[Plan, ...]) -> list[float]:
    """Train three steps under each plan; the learning rate changes on the way."""
    switch, values = PlanSwitch(setup), []
    for module in setup.model.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = 0.0
    for at, batch in enumerate(batches(setup)):
        planned = switch.to(plans[at // 3])
        planned.model.train()
        if at % 3 == 0:
            steps = steps_of(planned)
        values.append(float(steps.take(batch.clone())))
        if at in (4, 10):
            planned.schedulers.after_epoch(0.5)
    return values


@pytest.mark.parametrize("workload", ["vae", "mnist"])
def test_plans_in_turn_train_as_the_plain_loop_does(ready: Ready, workload: str) -> None:
    settings = {"workload": workload, "gamma": 0.5}
    expected = losses(ready(**settings), (PLAIN,) * 5)
    assert losses(ready(**settings), PLANS[workload]) == pytest.approx(expected, rel=2e-3)


def test_the_optimizer_is_the_users_own_again(ready: Ready) -> None:
    setup = ready()
    objects = [setup.optimizer, setup.optimizer.param_groups, setup.model]
    before = [id(thing) for thing in objects]
    options = [dict(group, params=[]) for group in setup.optimizer.param_groups]
    threads = torch.get_num_threads()
    switch = PlanSwitch(setup)
    for plan in (*PLANS["vae"], Plan(layout="channels_last", optimizer="flat"), PLAIN):
        steps_of(switch.to(plan)).take(batches(setup)[0].clone())
    assert switch.setup is setup
    after = [setup.optimizer, setup.optimizer.param_groups, setup.model]
    assert [id(thing) for thing in after] == before
    assert [dict(group, params=[]) for group in setup.optimizer.param_groups] == options
    assert torch.get_num_threads() == threads
    storages = {parameter.untyped_storage().data_ptr() for parameter in setup.model.parameters()}
    assert len(storages) == len(list(setup.model.parameters())), "still views of one tensor"
    for parameter in setup.model.parameters():
        assert parameter.is_contiguous()
        for value in setup.optimizer.state[parameter].values():
            assert value.dim() == 0 or value.stride() == parameter.stride()


def test_a_plan_that_is_in_force_already_changes_nothing(ready: Ready) -> None:
    switch = PlanSwitch(ready())
    planned = switch.to(Plan(optimizer="fused"))
    assert switch.to(Plan(optimizer="fused")) is planned

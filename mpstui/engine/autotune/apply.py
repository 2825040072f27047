"""Applies a plan to a run: the same training, executed in another way."""

from __future__ import annotations

from dataclasses import replace

import msgspec
import torch
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler, StepLR

from mpstui.domain.plan import SAME, Plan
from mpstui.engine.data.items import Items
from mpstui.engine.data.loader import Loader, LoaderSize
from mpstui.engine.data.source import Pipeline
from mpstui.engine.setup import Setup

from . import allocator
from .optimizers import graphable, implement, implementations
from .rewrites import rewrite


def apply_plan(plan: Plan, setup: Setup) -> Setup:
    """Apply a plan to a run; weights, optimizer state and random numbers stay the same.

    Args:
        plan: The plan; the process's thread count and allocator are set too.
        setup: A run under the plain plan. Its model is changed in place; don't train it any more.
    """
    plan = _drop_unusable(plan, setup)
    if plan.allocator == "keep":
        allocator.keep(True)
    if plan.threads is not None:
        torch.set_num_threads(plan.threads)
    model = setup.model
    if plan.layout == "channels_last":
        model = model.to(memory_format=torch.channels_last)
    optimizer = implement(setup.optimizer, plan.optimizer, capturable=bool(plan.graph_steps))
    return replace(
        setup,
        model=model,
        net=rewrite(model, plan.rewrites) if plan.rewrites else setup.net,
        pipeline=_pipeline(setup, plan),
        optimizer=optimizer,
        scheduler=_scheduler(setup, optimizer),
        plan=plan,
    )


def _drop_unusable(plan: Plan, setup: Setup) -> Plan:
    """Return the plan without parts that this run can't use; a saved plan may have some."""
    if plan.optimizer not in (SAME, *implementations(setup.optimizer)):
        plan = msgspec.structs.replace(plan, optimizer=SAME)
    if plan.graph_steps and not graphable(setup.optimizer):
        plan = msgspec.structs.replace(plan, graph_steps=0)
    return plan


def _pipeline(setup: Setup, plan: Plan) -> Pipeline:
    if not plan.loader_workers or not isinstance(setup.data, Items):
        return setup.pipeline
    size = LoaderSize(plan.loader_workers, plan.loader_prefetch)
    return Loader(setup.data, setup.backend, setup.config.batch_size, size)


def _scheduler(setup: Setup, optimizer: Optimizer) -> LRScheduler:
    if optimizer is setup.optimizer:
        return setup.scheduler
    rates = [group["lr"] for group in optimizer.param_groups]
    scheduler = StepLR(optimizer, step_size=1, gamma=setup.config.gamma)
    scheduler.load_state_dict(setup.scheduler.state_dict())
    for group, rate in zip(optimizer.param_groups, rates, strict=True):
        group["lr"] = rate
    return scheduler

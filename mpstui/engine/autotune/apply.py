"""Applies a plan to a run: the same training, executed in another way."""

from __future__ import annotations

from dataclasses import replace

import msgspec
import torch
from torch import nn
from torch.optim import Optimizer

from mpstui.domain.plan import SAME, Plan
from mpstui.domain.workloads import WORKLOADS
from mpstui.engine.data.items import Items
from mpstui.engine.data.loader import Loader, LoaderSize
from mpstui.engine.data.own_loaders import OwnLoaders
from mpstui.engine.data.source import Pipeline
from mpstui.engine.setup import Setup
from mpstui.engine.workloads.training import Schedulers, build_schedulers

from . import allocator
from .optimizers import graphable, implement, implementations, match_layout
from .rewrites import rewrite


def apply_plan(plan: Plan, setup: Setup, net: nn.Module | None = None) -> Setup:
    """Apply a plan to a run; weights, optimizer state and random numbers stay the same.

    Args:
        plan: The plan; the process's thread count and allocator are set too.
        setup: A run under the plain plan. Its model is changed in place; don't train it any more.
        net: The model with the plan's rewrites; None to rewrite it.
    """
    plan = _drop_unusable(plan, setup)
    if plan.allocator == "keep":
        allocator.keep(True)
    if plan.threads is not None:
        torch.set_num_threads(plan.threads)
    model = setup.model
    if plan.layout == "channels_last":
        model = model.to(memory_format=torch.channels_last)
        for optimizer in setup.optimizers:
            match_layout(optimizer)
    is_capturable = bool(plan.graph_steps)
    optimizers = setup.optimizers
    if len(optimizers) == 1:
        optimizers = (implement(setup.optimizer, plan.optimizer, capturable=is_capturable),)
    return replace(
        setup,
        model=model,
        net=net or (rewrite(model, plan.rewrites) if plan.rewrites else setup.net),
        pipeline=_pipeline(setup, plan),
        optimizers=optimizers,
        schedulers=_schedulers(setup, optimizers[0]),
        plan=plan,
    )


def plain_reason(setup: Setup) -> str:
    """Return why a run's own code must train as it is; empty if a plan may execute it."""
    workload = setup.workload
    for hook in ("step", "optimizers", "loaders"):
        if workload.hook(hook) is not None and (hook != "optimizers" or len(setup.optimizers) > 1):
            return f"{type(workload).__name__} has its own {hook}"
    if isinstance(setup.data, OwnLoaders):
        return f"the data of {type(workload).__name__} are a stream"
    return "the optimizer evaluates the loss several times a step" if setup.whole_step else ""


def may_replace_optimizer(setup: Setup) -> bool:
    """Return whether no code of the user's can hold the run's optimizer."""
    if setup.config.workload in WORKLOADS:
        return True
    return all(
        setup.workload.hook(hook) is None for hook in ("optimizer", "optimizers", "schedulers")
    )


def can_graph(setup: Setup) -> bool:
    """Return whether a CUDA graph can repeat a run's whole step."""
    return graphable(setup.optimizer) and not setup.schedulers.per_step


def _drop_unusable(plan: Plan, setup: Setup) -> Plan:
    """Return the plan without parts that this run can't use; a saved plan may have some."""
    if plan.optimizer not in (SAME, *implementations(setup.optimizer)):
        plan = msgspec.structs.replace(plan, optimizer=SAME)
    if plan.optimizer == "flat" and not may_replace_optimizer(setup):
        plan = msgspec.structs.replace(plan, optimizer=SAME)
    if plan.graph_steps and not can_graph(setup):
        plan = msgspec.structs.replace(plan, graph_steps=0)
    return plan


def _pipeline(setup: Setup, plan: Plan) -> Pipeline:
    size = LoaderSize(plan.loader_workers, plan.loader_prefetch)
    current = LoaderSize(setup.plan.loader_workers, setup.plan.loader_prefetch)
    if not size.workers or size == current or not isinstance(setup.data, Items):
        return setup.pipeline
    return Loader(setup.data, setup.backend, setup.config.batch_size, size)


def _schedulers(setup: Setup, optimizer: Optimizer) -> Schedulers:
    if optimizer is setup.optimizer:
        return setup.schedulers
    rates = [group["lr"] for group in optimizer.param_groups]
    schedulers = build_schedulers(setup.workload, (optimizer,), setup.config)
    schedulers.load(setup.schedulers.state())
    for group, rate in zip(optimizer.param_groups, rates, strict=True):
        group["lr"] = rate
    return schedulers

"""A copy of a run under a plan, to compare its results with the plain loop's."""

from __future__ import annotations

import copy
import random
from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple

import msgspec
import torch
from torch import nn

from mpstui.domain.plan import Plan
from mpstui.engine.data.feed import Batch
from mpstui.engine.data.seeding import seed_training
from mpstui.engine.set_up import build_training
from mpstui.engine.setup import Setup
from mpstui.engine.step_series import StepSeries
from mpstui.engine.steps import steps_of
from mpstui.engine.steps.base import train_step
from mpstui.engine.steps.cuda_graph import CAPTURE_WARMUP_STEPS
from mpstui.trees import concatenate

from .apply import apply_plan
from .optimizers import load_state

TOLERANCES = {"float32": 1e-3, "tf32": 2e-2, "bf16": 5e-2, "fp16": 5e-2}
"""Allowed relative differences of losses and gradients to the plain loop's, by precision: only
rounding."""


class Candidate:
    """A copy of a run, trained on a few batches on its device."""

    def __init__(self, setup: Setup, plan: Plan, batches: Sequence[Batch]) -> None:
        """Build the copy.

        Args:
            setup: The run under the plain plan. It is not changed.
            plan: How the copy trains.
            batches: Full batches, used cyclically.
        """
        self.setup = apply_plan(plan, copy_of(setup))
        self._steps = steps_of(self.setup)
        batches = [batch.clone() for batch in batches]
        self._batches = [_join(batches, at, self._steps.batches) for at in range(len(batches))]
        self._next = 0
        self.setup.model.train()

    def take(self) -> torch.Tensor:
        """Train on the next batches, as many as the plan takes a call; return the losses."""
        batch = self._batches[self._next % len(self._batches)]
        self._next += self._steps.batches
        return self._steps.take(batch)

    def changes_host_state(self) -> bool:
        """Return whether a step changes host values or generators, which a CUDA graph would not."""
        before = _host_state(self.setup)
        self.take()
        return _host_state(self.setup) != before

    def without_dropout(self) -> Candidate:
        """Disable dropout, for comparisons: masks from two implementations never agree."""
        for module in self.setup.model.modules():
            if isinstance(module, nn.Dropout):
                module.eval()
        return self


class TwoSteps(NamedTuple):
    """The results of two training steps."""

    losses: torch.Tensor
    """float32, shape (2,)."""
    gradients: torch.Tensor
    """float32, shape (parameters,), of the first step, each tensor in contiguous order."""
    rates: torch.Tensor
    """float64, shape (groups,): the learning rates after the steps."""


def two_steps(setup: Setup, plan: Plan, batches: Sequence[Batch]) -> TwoSteps:
    """Train a copy for two steps, op by op and without dropout.

    Args:
        setup: The run under the plain plan.
        plan: How to train; the ops of a graph are launched one by one.
        batches: Two full ones, or more.
    """
    candidate = Candidate(
        setup, msgspec.structs.replace(plan, graph_steps=0), batches
    ).without_dropout()
    seed_training(setup.config.seed)  # for random numbers other than dropout's
    losses: list[torch.Tensor] = []
    for batch in batches[:2]:
        losses.append(train_step(candidate.setup, batch.clone()).detach().float().view(1))
        if len(losses) == 1:
            grads = [p.grad for p in candidate.setup.model.parameters() if p.grad is not None]
            gradients = torch.cat([_dense(grad).float().reshape(-1) for grad in grads])
    rates = [float(group["lr"]) for group in candidate.setup.optimizer.param_groups]
    return TwoSteps(torch.cat(losses), gradients, torch.tensor(rates, dtype=torch.float64))


def _dense(gradient: torch.Tensor) -> torch.Tensor:
    return gradient.to_dense() if gradient.layout is not torch.strided else gradient


def max_relative_difference(steps: TwoSteps, plain: TwoSteps) -> float:
    """Return the largest relative difference of two results; NaN if any is.

    Losses and learning rates are compared one by one, gradients by the norm of their difference. A
    schedule that no longer reaches the optimizer leaves another learning rate.
    """
    gap = (steps.gradients - plain.gradients).norm() / plain.gradients.norm().clamp_min(1e-30)
    rates = _relative(steps.rates, plain.rates).to(gap.device)
    return float(torch.cat([_relative(steps.losses, plain.losses), rates, gap.view(1)]).max())


def max_relative_difference_in_graph(setup: Setup, plan: Plan, batches: Sequence[Batch]) -> float:
    """Return the relative difference of a graph's losses to those of its ops launched one by one.

    The last of the steps are replayed.

    Args:
        setup: The run under the plain plan.
        plan: One with a graph.
        batches: Full batches.
    """
    calls = -(-CAPTURE_WARMUP_STEPS // plan.graph_steps) + 1
    plain = msgspec.structs.replace(plan, graph_steps=0)
    graphed = Candidate(setup, plan, batches).without_dropout()
    eager = Candidate(setup, plain, batches).without_dropout()
    seed_training(setup.config.seed)
    graph_losses = torch.cat([graphed.take() for _ in range(calls)])
    seed_training(setup.config.seed)
    eager_losses = torch.cat([eager.take() for _ in range(len(graph_losses))])
    return float(_relative(graph_losses, eager_losses).max())


def _host_state(setup: Setup) -> object:
    owners = (setup.workload, *setup.model.modules())
    plain = [
        (name, value)
        for owner in owners
        for name, value in vars(owner).items()
        if isinstance(value, (bool, int, float, str))
    ]
    return plain, random.getstate(), torch.get_rng_state().tolist()


def _relative(losses: torch.Tensor, reference: torch.Tensor) -> torch.Tensor:
    return (losses.float() - reference.float()).abs() / reference.float().abs().clamp_min(1e-30)


def copy_of(setup: Setup) -> Setup:
    """Copy a run's workload, model, optimizer and scheduler."""
    # A custom workload may have counters or parameters; its data sets are shared.
    shared = {id(part): part for part in getattr(setup.data, "parts", ())}
    workload, model = copy.deepcopy((setup.workload, setup.model), shared)
    training = build_training(workload, model, setup.config)
    for optimizer, trained in zip(training.optimizers, setup.optimizers, strict=True):
        load_state(optimizer, trained.state_dict())
    training.schedulers.load(copy.deepcopy(setup.schedulers.state()))
    return replace(
        setup,
        workload=workload,
        model=model,
        net=model,
        optimizers=training.optimizers,
        schedulers=training.schedulers,
        own_state=training.own_state,
        series=StepSeries(),
        scaler=setup.backend.scaler(setup.config.precision),
    )


def _join(batches: Sequence[Batch], at: int, count: int) -> Batch:
    """Concatenate batches from an index on, cyclically."""
    if count == 1:
        return batches[at]
    parts = [batches[(at + step) % len(batches)] for step in range(count)]
    content = concatenate([part.content for part in parts])
    return Batch(content, sum(part.samples for part in parts))

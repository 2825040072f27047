"""A run's copy under some plan: to be timed against another, and held against the plain loop."""

from __future__ import annotations

import copy
import random
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import NamedTuple

import msgspec
import torch
from torch import nn
from torch.optim.lr_scheduler import StepLR

from mpstui.domain.plan import Plan
from mpstui.engine.data.feed import Batch
from mpstui.engine.setup import Setup
from mpstui.engine.steps import steps_of, train_step
from mpstui.engine.steps.cuda_graph import CAPTURE_WARMUP_STEPS

from .apply import apply_plan
from .optimizers import load_state

TOLERANCES = {"float32": 1e-3, "tf32": 2e-2, "bf16": 5e-2, "fp16": 5e-2}
"""How far losses and gradients may be from the plain loop's, by precision: rounding, no more."""


class Candidate:
    """A copy of a run, trained on a few batches that lie on its device."""

    def __init__(
        self, setup: Setup, plan: Plan, batches: Sequence[Batch], threads: int | None = None
    ) -> None:
        """Build the copy.

        Args:
            setup: The run under the plain plan. It is not changed.
            plan: How the copy trains.
            batches: Whole ones; they are gone through again and again.
            threads: CPU threads where the plan leaves them as they are.
        """
        self.plan = plan
        self._threads = plan.threads or threads or torch.get_num_threads()
        self.setup = apply_plan(plan, _copy(setup))
        self._steps = steps_of(self.setup)
        self._batches = [_joined(batches, at, self._steps.batches) for at in range(len(batches))]
        self._next = 0
        self.setup.model.train()

    def take(self) -> torch.Tensor:
        """Train on the next batch, or on as many as one call of this plan takes; the losses."""
        batch = self._batches[self._next % len(self._batches)]
        self._next += self._steps.batches
        return self._steps.take(*batch)

    def seconds(self, calls: int, clock: Callable[[], float] = time.perf_counter) -> float:
        """Seconds of a training step, over some calls of ``take``."""
        torch.set_num_threads(self._threads)
        self.setup.backend.synchronize()
        began = clock()
        for _ in range(calls):
            self.take()
        self.setup.backend.synchronize()
        return (clock() - began) / calls / self._steps.batches

    def test(self, images: torch.Tensor, labels: torch.Tensor) -> None:
        """Test on some images; the outcome is nobody's business."""
        self.setup.model.eval()
        self.setup.score(images, labels)
        self.setup.model.train()

    def moves_the_host(self) -> bool:
        """Whether a step leaves numbers or random draws of the host changed: no graph would."""
        before = _host(self.setup)
        self.take()
        return _host(self.setup) != before

    def without_dropout(self) -> Candidate:
        """This trial, for comparing: masks that are drawn in two ways never agree."""
        for module in self.setup.model.modules():
            if isinstance(module, nn.Dropout):
                module.eval()
        return self


class TwoSteps(NamedTuple):
    """What two training steps told."""

    losses: torch.Tensor
    """float32, shape (2,)."""
    gradients: torch.Tensor
    """float32, shape (parameters,), of the first step, each tensor in its plain order."""


def two_steps(setup: Setup, plan: Plan, batches: Sequence[Batch]) -> TwoSteps:
    """Train a copy for two steps, op by op and without dropout.

    Args:
        setup: The run under the plain plan.
        plan: How to train; a graph's ops are launched one by one.
        batches: Two whole ones, or more.
    """
    trial = Candidate(
        setup, msgspec.structs.replace(plan, graph_steps=0), batches
    ).without_dropout()
    torch.manual_seed(setup.config.seed)  # draws of the model's own
    losses: list[torch.Tensor] = []
    for batch in batches[:2]:
        losses.append(train_step(trial.setup, *batch).detach().float().view(1))
        if len(losses) == 1:
            found = [p.grad for p in trial.setup.model.parameters() if p.grad is not None]
            gradients = torch.cat([gradient.float().reshape(-1) for gradient in found])
    return TwoSteps(torch.cat(losses), gradients)


def max_relative_difference(one: TwoSteps, other: TwoSteps) -> float:
    """The largest relative distance of losses and, in Euclidean norm, gradients; NaN if one is."""
    gap = (one.gradients - other.gradients).norm() / other.gradients.norm().clamp_min(1e-30)
    return float(torch.cat([_relative(one.losses, other.losses), gap.view(1)]).max())


def max_relative_difference_in_graph(setup: Setup, plan: Plan, batches: Sequence[Batch]) -> float:
    """How far the losses of a plan's graph are from those of the same ops launched one by one.

    The last of the steps are replayed.

    Args:
        setup: The run under the plain plan.
        plan: One with a graph.
        batches: Whole ones.
    """
    calls = -(-CAPTURE_WARMUP_STEPS // plan.graph_steps) + 1
    plain = msgspec.structs.replace(plan, graph_steps=0)
    graphed = Candidate(setup, plan, batches).without_dropout()
    eager = Candidate(setup, plain, batches).without_dropout()
    torch.manual_seed(setup.config.seed)
    ours = torch.cat([graphed.take() for _ in range(calls)])
    torch.manual_seed(setup.config.seed)
    theirs = torch.cat([eager.take() for _ in range(len(ours))])
    return float(_relative(ours, theirs).max())


def _host(setup: Setup) -> object:
    owners = (setup.workload, *setup.model.modules())
    plain = [
        (name, value)
        for owner in owners
        for name, value in vars(owner).items()
        if isinstance(value, (bool, int, float, str))
    ]
    return plain, random.getstate(), torch.get_rng_state().tolist()


def _relative(losses: torch.Tensor, others: torch.Tensor) -> torch.Tensor:
    return (losses.float() - others.float()).abs() / others.float().abs().clamp_min(1e-30)


def _copy(setup: Setup) -> Setup:
    """The run with a model, an optimizer and a scheduler of its own."""
    # A custom workload may keep counts, or parameters of its own; its data sets it keeps.
    kept = {id(part): part for part in getattr(setup.data, "parts", ())}
    workload, model = copy.deepcopy((setup.workload, setup.model), kept)
    optimizer = workload.optimizer(model, setup.config)
    load_state(optimizer, setup.optimizer.state_dict())
    return replace(
        setup,
        workload=workload,
        model=model,
        net=model,
        optimizer=optimizer,
        scheduler=StepLR(optimizer, step_size=1, gamma=setup.config.gamma),
        scaler=setup.backend.scaler(setup.config.precision),
    )


def _joined(batches: Sequence[Batch], at: int, count: int) -> Batch:
    """Some batches from one on, around the end, laid end to end."""
    if count == 1:
        return batches[at]
    chosen = [batches[(at + step) % len(batches)] for step in range(count)]
    return torch.cat([images for images, _ in chosen]), torch.cat([labels for _, labels in chosen])

"""Puts a run under one plan after the other, between two steps, on its own model and optimizer."""

from __future__ import annotations

import msgspec
import torch
from torch import nn
from torch.optim import Optimizer

from mpstui.domain.plan import PLAIN, Plan
from mpstui.engine.data.loader import LoaderSize
from mpstui.engine.setup import Setup

from .apply import apply_plan
from .optimizers import execution_of, load_state, match_layout
from .rewrites import rewrite


class PlanSwitch:
    """The live run, and the plan that it is under.

    Weights, optimizer state, schedules and learning rates go from plan to plan in the plain form
    that snapshots use. The model, and any optimizer that the user's code may hold, stay the same
    objects.
    """

    def __init__(self, plain: Setup) -> None:
        """Start under the plain plan.

        Args:
            plain: The run under it.
        """
        self.setup = plain
        """The run under the current plan."""
        self._plain = plain
        self._threads = torch.get_num_threads()
        self._execution = Execution(plain.optimizer)
        self._rewritten: dict[tuple[str, ...], nn.Module] = {}

    @property
    def optimizer_name(self) -> str:
        """The class of the user's optimizer; the flat one's is mpstui's."""
        return type(self._plain.optimizer).__name__

    def to(self, plan: Plan) -> Setup:
        """Put the run under a plan and return it; nothing happens if it is under it.

        Args:
            plan: The processes that load data are not taken from it: :meth:`load_with` sets them.
        """
        loader = LoaderSize(self._plain.plan.loader_workers, self._plain.plan.loader_prefetch)
        plan = with_loader(plan, loader)
        if plan == self.setup.plan:
            return self.setup
        self._to_plain()
        if plan != self._plain.plan:
            if plan.rewrites and plan.rewrites not in self._rewritten:
                self._rewritten[plan.rewrites] = rewrite(self._plain.model, plan.rewrites)
            self.setup = apply_plan(plan, self._plain, self._rewritten.get(plan.rewrites))
        return self.setup

    def load_with(self, loader: LoaderSize) -> None:
        """Load custom data with other processes from the next feed on, under any plan."""
        plan = self.setup.plan
        self._to_plain()
        self.setup = self._plain = apply_plan(with_loader(PLAIN, loader), self._plain)
        self.to(plan)

    def _to_plain(self) -> None:
        setup, plain = self.setup, self._plain
        self.setup = plain
        torch.set_num_threads(self._threads)
        if setup is plain:
            return
        rates = [group["lr"] for group in setup.optimizer.param_groups]
        state = setup.optimizer.state_dict()
        setup.optimizer.zero_grad()
        for parameter in plain.model.parameters():
            parameter.grad = None  # a graph's, or a view of the flat optimizer's
        if setup.optimizer is not plain.optimizer:
            for group in plain.optimizer.param_groups:
                for parameter in group["params"]:
                    parameter.data = torch.empty_like(parameter).copy_(parameter.data)
        if setup.plan.layout != PLAIN.layout:
            plain.model.to(memory_format=torch.contiguous_format)
        self._execution.restore(plain.optimizer)
        load_state(plain.optimizer, state)
        match_layout(plain.optimizer)
        if setup.schedulers is not plain.schedulers:
            plain.schedulers.load(setup.schedulers.state())
        for group, rate in zip(plain.optimizer.param_groups, rates, strict=True):
            group["lr"] = rate


def with_loader(plan: Plan, loader: LoaderSize) -> Plan:
    """Return a plan with other processes that load data."""
    return msgspec.structs.replace(
        plan, loader_workers=loader.workers, loader_prefetch=loader.prefetch
    )


class Execution:
    """How an optimizer was built to compute: the options that a plan changes."""

    def __init__(self, optimizer: Optimizer) -> None:
        self._defaults = execution_of(optimizer.defaults)
        self._groups = [execution_of(group) for group in optimizer.param_groups]
        self._scales = getattr(optimizer, "_step_supports_amp_scaling", None)

    def restore(self, optimizer: Optimizer) -> None:
        """Set the options to what they were."""
        optimizer.defaults.update(self._defaults)
        for group, options in zip(optimizer.param_groups, self._groups, strict=True):
            group.update(options)
        if self._scales is not None:
            optimizer._step_supports_amp_scaling = self._scales  # type: ignore[attr-defined]

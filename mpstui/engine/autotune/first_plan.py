"""The plan that a run starts under: an earlier run's, the usual one, or the plain loop."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import msgspec

from mpstui.domain.config import RunConfig
from mpstui.domain.plan import PLAIN, AutotuneResult, Plan
from mpstui.engine.checks.trio import format_error
from mpstui.engine.setup import Setup

from .apply import plain_reason
from .check import PlanCheck, differs_from_plain
from .usual import PlanSpace

FEWEST_STEPS = 100
"""Least steps of a run that make autotuning worthwhile."""

AS_MEASURED = "as an earlier run measured"


class FirstPlan(NamedTuple):
    """What a run starts under."""

    plan: Plan
    line: str
    """For the log."""
    is_raced: bool = False
    """Whether the run compares it with other plans."""
    result: AutotuneResult | None = None
    """What an earlier run measured."""
    check: PlanCheck | None = None
    """The checks so far."""


def plain_only(config: RunConfig) -> bool:
    """Return whether a run always uses the plain loop.

    The reference pipeline must be measured unchanged; a simulated fault must show in the ops that
    it was made for; a compiled model would be compiled again for each change.
    """
    return (
        config.autotune == "off"
        or config.pipeline == "reference"
        or config.dry_run
        or config.compile
        or config.spec.option("fault") is not None
    )


def select_first_plan(
    setup: Setup, previous: Plan | None, saved: Callable[[], AutotuneResult | None]
) -> FirstPlan:
    """Select the plan that a run starts under.

    Args:
        setup: The run under the plain plan.
        previous: For a resumed run, the plan of its original, which it keeps.
        saved: Returns what an earlier run measured under the same circumstances.
    """
    if reason := plain_reason(setup):
        return FirstPlan(PLAIN, f"plain loop: {reason}")
    again = setup.config.autotune == "again"
    if previous is not None and not again:
        return FirstPlan(previous, "same plan as the original run")
    result = None if again else saved()
    if result is not None:
        line = result.line(AS_MEASURED)
        return FirstPlan(result.plan, line, not result.is_complete, result)
    steps = setup.config.total_steps
    if steps < FEWEST_STEPS and not again:
        return FirstPlan(PLAIN, f"plain loop: not autotuned: {steps} steps are too few")
    return _usual(setup)


def _usual(setup: Setup) -> FirstPlan:
    try:
        check = PlanCheck(setup)
    except Exception as error:  # noqa: BLE001 - custom code is copied here
        return FirstPlan(PLAIN, f"plain loop: not autotuned: {format_error(error)}")
    plan = PlanSpace(setup, check.can_capture).usual()
    problem = check(plan) if differs_from_plain(plan) else ""
    if problem:
        plan = msgspec.structs.replace(PLAIN, allocator=plan.allocator)
    name = plan.describe(type(setup.optimizer).__name__)
    line = f"{name}: usual on this type of device" if name else "plain loop"
    if problem:
        line += f"; the usual plan is not used: {problem}"
    return FirstPlan(plan, line, True, check=check)

"""Whether a plan gives the plain loop's first losses and gradients on this machine.

Accelerators are known to be wrong in some layouts and right in others, so a plan is checked however
fast it is. The check trains copies, at the run's first weights.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

from mpstui.domain.plan import PLAIN, Plan
from mpstui.engine.checks.trio import format_error
from mpstui.engine.data.feed import Batch
from mpstui.engine.setup import Setup
from mpstui.engine.sides import preserve_run
from mpstui.trees import is_stackable, tensors_in

from .candidate import (
    TOLERANCES,
    Candidate,
    TwoSteps,
    copy_of,
    max_relative_difference,
    max_relative_difference_in_graph,
    two_steps,
)

BATCHES = 4
"""First batches of the run that the check trains on."""

COUNTS_ON_HOST = "a step changes a counter or a generator in Python"


class PlanCheck:
    """Checks plans of one run."""

    def __init__(self, setup: Setup, clock: Callable[[], float] = time.perf_counter) -> None:
        """Copy the run, which goes on training.

        Args:
            setup: The run under the plain plan; it and its random numbers are not changed.
            clock: Seconds, monotonic.
        """
        self.seconds = 0.0
        """Taken by all checks so far."""
        self._setup = setup
        self._clock = clock
        with preserve_run(setup):
            self._batches = _first_batches(setup)
        self._copy = copy_of(setup)
        self._plain_steps: TwoSteps | None = None

    @property
    def can_capture(self) -> bool:
        """Whether all batches consist of stackable tensors of the same shapes."""
        return have_one_form(self._batches)

    def __call__(self, plan: Plan) -> str:
        """Return why a plan must not be used; empty if its results are the plain loop's."""
        began = self._clock()
        try:
            with preserve_run(self._setup):
                return self._check(plan)
        except Exception as error:  # noqa: BLE001 - custom code runs here in unforeseen ways
            return format_error(error)
        finally:
            self.seconds += self._clock() - began

    def _check(self, plan: Plan) -> str:
        differences = list[float]()
        if plan.graph_steps:
            if Candidate(self._copy, PLAIN, self._batches).changes_host_state():
                return COUNTS_ON_HOST
            differences.append(max_relative_difference_in_graph(self._copy, plan, self._batches))
        if self._plain_steps is None:
            self._plain_steps = two_steps(self._copy, PLAIN, self._batches)
        steps = two_steps(self._copy, plan, self._batches)
        differences.append(max_relative_difference(steps, self._plain_steps))
        tolerance = TOLERANCES[self._setup.config.precision]
        wrong = [difference for difference in differences if not difference <= tolerance]  # NaN too
        return f"other results here ({wrong[0]:.2g})" if wrong else ""


def _first_batches(setup: Setup) -> list[Batch]:
    """Return the first full batches of the run's own first epoch."""
    size = setup.config.batch_size
    steps = min(BATCHES, setup.config.steps_per_epoch)
    batches = setup.batches(1, 0, steps)
    return [batch.clone() for batch in batches if batch.samples == size]


def have_one_form(batches: Sequence[Batch]) -> bool:
    """Return whether all batches consist of stackable tensors of the same shapes."""
    if not batches:
        return False
    shapes = {tuple(t.shape for t in tensors_in(batch.content)) for batch in batches}
    return len(shapes) == 1 and is_stackable(batches[0].content, batches[0].samples)


def differs_from_plain(plan: Plan) -> bool:
    """Return whether a plan computes otherwise than the plain loop, beyond memory and threads."""
    relevant = ("layout", "rewrites", "optimizer", "graph_steps")
    return any(getattr(plan, name) != getattr(PLAIN, name) for name in relevant)

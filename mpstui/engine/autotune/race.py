"""The race of plans on the run's own steps: decisions only. The loop trains and times the blocks.

Every plan does the same mathematics, so a trial is training: blocks of steps under the best plan so
far and under a change of it alternate, and the faster one stays. No step is wasted, and other load
on the machine affects both plans equally.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable, Generator, Iterable
from typing import NamedTuple

import msgspec

from mpstui.domain.plan import PLAIN, Plan

BLOCK_SECONDS = 0.015
"""Least time of a block of steps between two readings of the clock."""

LEAD = 4
"""Difference of the rounds that two plans win at which their comparison ends. A quiet machine needs
four rounds. On a busy one, where the faster plan wins two rounds of three, a comparison takes
eleven on average, and the slower plan leads first in 6 % of them. Source: Wald, "Sequential Tests
of Statistical Hypotheses" (1945)."""

LEAST_ROUNDS = 5
"""Rounds of two plans without a lead, even if the run has no steps left for trials."""

MOST_ROUNDS = 15
"""Rounds of two plans, which are then about equally fast."""

FASTER = 0.99
"""A change stays if it takes less than this share of the best plan's time: the rest is noise."""

BUSY_SHARE = 0.25
"""Share of the processors' time that other processes may use while plans are compared. On two cores
beside two busy processes, single steps differ by a quarter in either direction: a quarter of an
epoch is too short to tell which of two plans is a tenth faster."""

BUSY_SHARE_FOR_THREADS = 0.1
"""The same while numbers of threads are compared, of which fewer win on a busy machine."""

SHORTEST_RUN = 4.0
"""Least seconds of training in which comparing plans pays off."""

TOO_SHORT = "the run is too short"
BUSY = "other processes use the CPU"


class Block(NamedTuple):
    """Steps to train and to time."""

    label: str
    """The change that is on trial."""
    plan: Plan
    steps: int
    """How many, at least."""
    is_trial: bool = False
    """Whether it is of the change, and not of the best plan so far."""


class PlanChange(NamedTuple):
    """A change to the best plan so far, and the plan with it."""

    label: str
    plan: Plan
    depends_on_load: bool = False
    """Whether it may win only because other processes use the CPU at the moment."""


class RaceResult(NamedTuple):
    """The plan that won."""

    plan: Plan
    seconds: float
    """Of a training step under it."""
    gain: float | None
    """Its speed relative to the plain loop, with freed memory treated alike; None if unknown."""
    untried: tuple[str, ...]
    """Changes that failed or were not tried, each with its reason."""
    is_complete: bool
    """Whether every change was compared."""
    why_not_compared: str = ""
    """Why there was no race at all; empty if there was one."""


class Race:
    """One race; ``run`` requests blocks and receives their times."""

    def __init__(
        self,
        first: Plan,
        changes: Callable[[Plan], Iterable[PlanChange]],
        check: Callable[[Plan], str],
        has_steps: Callable[[], bool],
        has_time_to_check: Callable[[float], bool],
        share_of_others: Callable[[], float],
        on_pace: Callable[[float], None],
        total_steps: int,
        shortest: float = SHORTEST_RUN,
    ) -> None:
        """Prepare a race.

        Args:
            first: The plan that the run trains under already.
            changes: Returns the changes to a plan that are worth a trial, in their order. A label
                is tried once.
            check: Compares a plan's results with the plain loop's; returns why it must not be used,
                or nothing.
            has_steps: Whether the run has steps left for trials.
            has_time_to_check: Whether there is time for another check, at so many seconds a step.
            share_of_others: The share of the processors' time that other processes use, 0 to 1;
                always 0 where steps do not wait for the processors.
            on_pace: Called once with the seconds of a step under ``first``, in a run that is long
                enough.
            total_steps: Of the run.
            shortest: Least seconds of training for a race.
        """
        self._best = first
        self._changes = changes
        self._check = check
        self._has_steps = has_steps
        self._has_time_to_check = has_time_to_check
        self._share_of_others = share_of_others
        self._on_pace = on_pace
        self._total_steps = total_steps
        self._shortest = shortest
        self._seconds = 0.0  # of a step under the best plan
        self._untried: list[str] = []
        self._is_complete = True

    def run(self) -> Generator[Block, float, RaceResult]:
        """Request blocks one by one; each is answered with the seconds of one of its steps."""
        self._seconds = yield Block("the pace", self._best, 1)
        self._seconds = yield Block("the pace", self._best, self._steps_of_block())
        if self._seconds * self._total_steps < self._shortest:
            return self._no_race(TOO_SHORT)
        self._on_pace(self._seconds)
        if self._share_of_others() > BUSY_SHARE:
            return self._no_race(BUSY)
        tried = {f"{self._best.optimizer} optimizer"}
        while (change := self._next_change(tried)) is not None:
            tried.add(change.label)
            if not self._may_try(change):
                continue
            ratio = yield from self._ratio(change.label, change.plan)
            if ratio < FASTER:
                self._best, self._seconds = change.plan, self._seconds * ratio
        plain = msgspec.structs.replace(PLAIN, allocator=self._best.allocator)
        if self._best == plain:
            return self._result(1.0)
        if not self._has_steps():
            return self._result(None)
        ratio = yield from self._ratio("the plain loop", plain)
        return self._result(ratio)

    def result_so_far(self) -> RaceResult:
        """Return the best plan of a race that cannot go on."""
        self._is_complete = False
        return self._result(None) if self._seconds else self._no_race(TOO_SHORT)

    def _next_change(self, tried: set[str]) -> PlanChange | None:
        changes = self._changes(self._best)
        return next((change for change in changes if change.label not in tried), None)

    def _may_try(self, change: PlanChange) -> bool:
        if not self._has_steps() or not self._has_time_to_check(self._seconds):
            return self._leave(change, TOO_SHORT)
        if change.depends_on_load and self._share_of_others() > BUSY_SHARE_FOR_THREADS:
            return self._leave(change, BUSY)
        problem = self._check(change.plan)
        if problem:
            self._untried.append(f"{change.label}: {problem}")
        return not problem

    def _leave(self, change: PlanChange, reason: str) -> bool:
        """Leave a change for a later run."""
        self._untried.append(f"{change.label}: {reason}")
        self._is_complete = False
        return False

    def _ratio(self, label: str, plan: Plan) -> Generator[Block, float, float]:
        """Return a plan's time as a share of the best one's: the median of alternations."""
        steps, ratios = self._steps_of_block(), list[float]()
        while self._is_undecided(ratios):
            first = Block(label, plan, steps, is_trial=True)
            second = Block(label, self._best, steps)
            if len(ratios) % 2:  # a drift does not favour one plan
                base, trial = (yield second), (yield first)
            else:
                trial, base = (yield first), (yield second)
            ratios.append(trial / base)
        return statistics.median(ratios)

    def _is_undecided(self, ratios: list[float]) -> bool:
        won = sum(ratio < 1 for ratio in ratios)
        lost = len(ratios) - won
        if abs(won - lost) >= LEAD:
            return False
        return len(ratios) < LEAST_ROUNDS or (len(ratios) < MOST_ROUNDS and self._has_steps())

    def _steps_of_block(self) -> int:
        return max(round(BLOCK_SECONDS / self._seconds), 1)

    def _no_race(self, reason: str) -> RaceResult:
        return RaceResult(self._best, self._seconds, None, (), False, reason)

    def _result(self, gain: float | None) -> RaceResult:
        untried = tuple(self._untried)
        return RaceResult(self._best, self._seconds, gain, untried, self._is_complete)

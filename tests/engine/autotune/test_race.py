"""Races on a machine whose times a test sets."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import msgspec
import pytest

from mpstui.domain.plan import PLAIN, Plan
from mpstui.engine.autotune.race import (
    BUSY,
    LEAD,
    MOST_ROUNDS,
    TOO_SHORT,
    Block,
    PlanChange,
    Race,
    RaceResult,
)

STEPS = 10_000


def cost(plan: Plan) -> float:
    """A machine on which channels_last is slow, flat is fast, and one thread is faster still."""
    worse = 2.0 if plan.layout == "channels_last" else 1.0
    better = (0.5 if plan.optimizer == "flat" else 1.0) * (0.8 if plan.threads == 1 else 1.0)
    return 0.01 * worse * better * (0.9 if "pool-first" in plan.rewrites else 1.0)


def changes(best: Plan) -> Iterator[PlanChange]:
    """Four changes."""

    def change(label: str, **fields: object) -> PlanChange:
        return PlanChange(label, msgspec.structs.replace(best, **fields))

    layout = "contiguous" if best.layout == "channels_last" else "channels_last"
    yield change("channels_last", layout=layout)
    yield change("pool-first", rewrites=() if best.rewrites else ("pool-first",))
    yield change("flat optimizer", optimizer="flat")
    yield change("1 threads", threads=1)._replace(depends_on_load=True)


@dataclass
class Machine:
    """Answers a race's blocks."""

    cost: Callable[[Plan], float] = cost
    first: Plan = PLAIN
    steps: float = STEPS
    """Left for trials."""
    problems: dict[str, str] = field(default_factory=dict)
    """Of layouts."""
    checks: int = 100
    others: float = 0.0
    """The share of the processors' time that other processes use."""
    blocks: list[Block] = field(default_factory=list)
    paces: list[float] = field(default_factory=list)

    def check(self, plan: Plan) -> str:
        self.checks -= 1
        return self.problems.get(plan.layout, "")

    def trained(self) -> int:
        return sum(block.steps for block in self.blocks)

    def run(self, total: int = STEPS, shortest: float = 4.0) -> RaceResult:
        race = Race(
            self.first,
            changes,
            self.check,
            lambda: self.trained() < self.steps,
            lambda _: self.checks > 0,
            lambda: self.others,
            self.paces.append,
            total,
            shortest,
        ).run()
        block = next(race)
        while True:
            self.blocks.append(block)
            try:
                block = race.send(self.cost(block.plan))
            except StopIteration as end:
                result: RaceResult = end.value
                return result


def test_the_fastest_of_all_changes_stays() -> None:
    machine = Machine()
    result = machine.run()
    assert result.plan == Plan(rewrites=("pool-first",), optimizer="flat", threads=1)
    assert result.gain == pytest.approx(1 / (0.9 * 0.5 * 0.8))
    assert result.seconds == pytest.approx(0.01 * 0.9 * 0.5 * 0.8)
    assert (result.untried, result.is_complete, result.why_not_compared) == ((), True, "")
    assert machine.paces == [0.01]
    assert {block.label for block in machine.blocks if block.is_trial} >= {
        "channels_last",
        "flat optimizer",
        "the plain loop",
    }


def test_a_start_that_is_slow_here_is_left() -> None:
    first = Plan(layout="channels_last", rewrites=("pool-first",), optimizer="flat")
    result = Machine(first=first).run()
    assert result.plan == Plan(rewrites=("pool-first",), optimizer="flat", threads=1)


def test_blocks_alternate_and_a_clear_difference_takes_few() -> None:
    machine = Machine()
    machine.run()
    trials = [block for block in machine.blocks if block.label == "channels_last"]
    assert [block.is_trial for block in trials] == [True, False, False, True] * (LEAD // 2)


def test_a_drift_of_the_machine_chooses_nothing() -> None:
    """Steps that become slower all the time are not the fault of the plan on trial."""
    ticks = iter(range(10_000))
    result = Machine(cost=lambda _: 0.01 * (1 + 0.002 * next(ticks))).run()
    assert result.plan == PLAIN


@pytest.mark.parametrize("seed", range(20))
def test_starts_on_a_busy_machine_choose_the_same_plan(seed: int) -> None:
    """Blocks take up to two and a half times as long, at random; a tenth of them five times."""
    draws = random.Random(seed)

    def busy(plan: Plan) -> float:
        return cost(plan) * draws.uniform(1, 2.5) * (5 if draws.random() < 0.1 else 1)

    result = Machine(cost=busy).run()
    assert (result.plan.layout, result.plan.optimizer) == ("contiguous", "flat")


def test_plans_that_win_in_turn_are_compared_longer() -> None:
    draws = iter(range(10_000))
    machine = Machine(cost=lambda _: 0.01 * (1 + next(draws) % 2))
    machine.run()
    trials = [block for block in machine.blocks if block.label == "flat optimizer"]
    assert len(trials) == 2 * MOST_ROUNDS


def test_threads_are_left_for_a_run_without_other_work_beside_it() -> None:
    result = Machine(others=0.2).run()
    assert result.plan == Plan(rewrites=("pool-first",), optimizer="flat")
    assert result.untried == (f"1 threads: {BUSY}",)
    assert not result.is_complete


def test_a_run_beside_busy_processes_keeps_its_first_plan() -> None:
    """They decide which of two plans is faster, so that each start would choose another one."""
    first = Plan(layout="channels_last")
    machine = Machine(first=first, others=0.5)
    result = machine.run()
    assert (result.plan, result.why_not_compared, result.is_complete) == (first, BUSY, False)
    assert result.seconds == pytest.approx(0.02)
    assert not any(block.is_trial for block in machine.blocks)
    assert machine.paces, "what depends on the pace is chosen"


def test_a_wrong_change_is_not_tried() -> None:
    machine = Machine(
        cost=lambda plan: 0.001 if plan.layout == "channels_last" else 0.01,
        problems={"channels_last": "other results here (0.1)"},
    )
    result = machine.run()
    assert result.plan.layout == "contiguous"
    assert result.untried[0] == "channels_last: other results here (0.1)"
    assert all(block.plan.layout == "contiguous" for block in machine.blocks)


@pytest.mark.parametrize("limits", [{"steps": 10}, {"checks": 1}])
def test_what_a_run_is_too_short_for_is_listed_for_the_next_one(limits: dict[str, int]) -> None:
    result = Machine(**limits).run()  # type: ignore[arg-type]
    assert not result.is_complete
    assert f"1 threads: {TOO_SHORT}" in result.untried
    assert "channels_last: the run is too short" not in result.untried


def test_a_short_run_trains_under_its_first_plan() -> None:
    machine = Machine(first=Plan(optimizer="flat"))
    result = machine.run(total=200)
    assert (result.plan, result.why_not_compared) == (Plan(optimizer="flat"), TOO_SHORT)
    assert machine.paces == []
    result = Machine(first=Plan(optimizer="flat")).run(total=200, shortest=0.0)
    assert result.why_not_compared == ""


def test_kept_memory_is_compared_with_kept_memory() -> None:
    machine = Machine(first=Plan(allocator="keep"))
    assert machine.run().plan.allocator == "keep"
    assert {block.plan.allocator for block in machine.blocks} == {"keep"}

"""The budget of watching: how often the runs are looked at, and what the app says that costs."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise

import pytest

from mpstui.domain.events import WarmupFinished
from mpstui.runs.log import LogWriter
from mpstui.runs.rundir import RunDir
from mpstui.ui.app import MpstuiApp
from mpstui.ui.model.governor import IDLE_BUDGET, TIMING_BUDGET, Governor

from tests.ui.test_snapshots import until  # isort: skip

TICK = 0.25


def looked(governor: Governor, timing: bool, seconds: float, cost: float) -> list[float]:
    """When the runs were looked at, each look costing so much processor time."""
    times: list[float] = []
    for tick in range(int(seconds / TICK)):
        if governor.due(tick * TICK, cost * len(times), timing):
            times.append(tick * TICK)
    return times


@pytest.mark.parametrize(("timing", "budget"), [(True, TIMING_BUDGET), (False, IDLE_BUDGET)])
@pytest.mark.parametrize("cost", [0.001, 0.03, 0.2])
def test_the_budget_is_kept_whatever_a_look_costs(timing: bool, budget: float, cost: float) -> None:
    governor = Governor()
    times = looked(governor, timing, 100.0, cost)
    assert (len(times) - 1) * cost <= budget * times[-1] + 1e-9
    # And used: a look comes no later than a tick after there is enough for it.
    assert max(b - a for a, b in pairwise(times)) <= cost / budget + TICK
    assert governor.share is not None
    assert governor.share <= budget + 1e-9


def test_a_screen_never_stands_still_for_long() -> None:
    governor = Governor()
    assert governor.due(0.0, 0.0, True)
    assert not governor.due(9.75, 3.0, True)
    assert governor.due(10.0, 3.0, True)
    assert governor.share == pytest.approx(0.3)  # and nothing is glossed over


def test_everything_that_the_process_spends_counts() -> None:
    governor = Governor()
    assert governor.due(0.0, 5.0, True)  # the past is no debt
    assert not governor.due(1.0, 5.03, True)
    assert not governor.due(2.0, 5.06, True)  # more came, from elsewhere
    assert governor.due(3.0, 5.06, True)
    assert governor.share == pytest.approx(0.02)


def test_an_answer_is_at_once_and_shown_but_not_saved_up_for() -> None:
    governor = Governor()
    assert governor.due(0.0, 0.0, True)
    assert not governor.due(0.25, 0.1, True)
    governor.note_input(0.3)
    assert governor.due(0.5, 0.3, True)
    assert governor.due(1.25, 0.8, True)
    assert not governor.due(1.5, 0.82, True)  # nobody waits any more
    assert governor.due(2.25, 0.82, True)  # for 0.02 s, not for 0.8
    assert governor.share == pytest.approx(0.82 / 2.25)


def test_the_share_is_of_the_last_seconds() -> None:
    governor = Governor()
    assert governor.share is None
    for second in range(100):
        governor.due(float(second), 1.0 + 0.001 * second, False)
    assert governor.share == pytest.approx(0.001)


async def test_logs_are_read_when_the_budget_allows_or_a_person_asks(
    make_app: Callable[..., MpstuiApp], make_runs: Callable[..., list[RunDir]]
) -> None:
    clock = [0.0, 0.0]
    runs = make_runs()
    app = make_app(clock=lambda: clock[0], spent=lambda: clock[1])
    async with app.run_test(size=(80, 24)) as pilot:
        await until(pilot, lambda: app.state.session is not None)
        app.follow()  # and its timer finds nothing new
        assert app.state.session is not None
        read = app.state.session.event_count
        with LogWriter(runs[0].events) as log:
            log.append(WarmupFinished(at=1.0, steps=1, seconds=0.1))
        clock[:] = [5.0, 1.0]
        app.follow()
        assert app.state.session.event_count == read
        await pilot.press("down")
        app.follow()
        assert app.state.session.event_count == read + 1

"""How many processes a loader gets: decisions, with a clock that moves as batches are loaded."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from torch.utils.data import TensorDataset

from mpstui.backends import Backend
from mpstui.domain.devices import parse_device
from mpstui.domain.errors import DataError
from mpstui.engine.data.items import Items
from mpstui.engine.data.loader import LoaderSize
from mpstui.engine.data.size import MOST_BATCHES, size_loader

CPU = Backend(parse_device("cpu"))
SET = TensorDataset(torch.zeros(8, 2), torch.zeros(8))
ITEMS = Items(None, "zeros", SET, SET)
START = 0.3
"""Seconds until processes are there."""


class Machine:
    """Loads at a pace for each size; notes what was tried."""

    def __init__(self, pace: Callable[[LoaderSize], float]) -> None:
        self.now, self.pace = 0.0, pace
        self.tried: list[tuple[int, int]] = []
        self.open_now = 0

    def clock(self) -> float:
        return self.now

    def open(self, size: LoaderSize, patience: float) -> Iterator[Any]:
        self.tried.append((size.workers, size.prefetch))
        self.open_now += 1
        try:
            self.now += START if size.workers else 0.0
            for number in range(10**9):
                ahead = size.workers * size.prefetch
                self.now += 0.0 if 0 < number <= ahead else self.pace(size)
                yield number
        finally:
            self.open_now -= 1

    def size(self, budget: float = 60.0, step: float | None = None, cores: int = 8) -> LoaderSize:
        found = size_loader(
            ITEMS, 4, CPU, budget, step, cores=cores, clock=self.clock, open=self.open
        )
        assert self.open_now == 0
        return found


def scaling(seconds: float, up_to: int) -> Callable[[LoaderSize], float]:
    """Processes share the work until something else is full."""
    return lambda size: seconds / max(min(size.workers, up_to), 1)


def test_quick_items_get_no_process_and_none_is_tried() -> None:
    machine = Machine(scaling(0.0009, 8))
    found = machine.size()
    assert (found.workers, found.reason) == (0, "0.9 ms a batch: no process is needed")
    assert machine.tried == [(0, 2)]
    assert machine.now == pytest.approx(0.0009 * (MOST_BATCHES + 1))


@pytest.mark.parametrize(
    ("up_to", "cores", "workers", "tried"),
    [
        (4, 8, 4, [0, 1, 2, 4, 8, 4]),  # eight bring nothing over four; then more ahead is tried
        (8, 8, 8, [0, 1, 2, 4, 8, 8]),
        (8, 2, 2, [0, 1, 2, 2]),
        (1, 8, 0, [0, 1, 2]),
        (8, 0, 0, [0]),
    ],
)
def test_slow_items_get_as_many_as_bring_something(
    up_to: int, cores: int, workers: int, tried: list[int]
) -> None:
    machine = Machine(scaling(0.02, up_to))
    assert machine.size(cores=cores)[:2] == (workers, 2)
    assert [size for size, _ in machine.tried] == tried


def test_equals_go_to_the_fewer() -> None:
    machine = Machine(lambda size: {0: 0.02, 1: 0.02, 2: 0.0199}.get(size.workers, 0.018))
    assert machine.size().workers == 0
    machine = Machine(lambda size: {0: 0.02, 1: 0.02, 2: 0.01}.get(size.workers, 0.0095))
    assert machine.size().workers == 2


def test_more_ahead_is_taken_where_it_helps() -> None:
    machine = Machine(lambda size: 0.02 / max(min(size.workers, 2), 1) / (size.prefetch / 2))
    found = machine.size()
    assert found[:2] == (2, 4)
    assert found.reason == "20 ms a batch alone, 5 ms with 2 processes"


def test_a_known_step_says_how_much_is_enough() -> None:
    assert Machine(scaling(0.02, 8)).size(step=0.5).workers == 0  # a twentieth of it at most
    one = Machine(scaling(0.02, 8))
    assert one.size(step=0.03).workers == 1  # it loads beside the step
    assert one.tried == [(0, 2), (1, 2)]
    assert Machine(scaling(0.02, 8)).size(step=0.006).workers == 4


def test_the_budget_ends_it() -> None:
    machine = Machine(scaling(0.02, 8))
    assert machine.size(budget=1.0).workers in (0, 2)
    assert machine.now < 2.0
    never = Machine(lambda size: 100.0 if size.workers else 0.02)
    assert never.size(budget=5.0).workers == 0
    assert never.tried == [(0, 2), (1, 2)]


def test_what_does_not_go_into_a_process_stays_in_the_thread() -> None:
    def broken(size: LoaderSize) -> float:
        if size.workers:
            raise AttributeError("Can't pickle local object 'f.<locals>.g'\nat all")
        return 0.02

    found = Machine(broken).size()
    assert found.workers == 0
    assert found.reason.endswith(
        "in a process: AttributeError: Can't pickle local object 'f.<locals>.g'"
    )


def test_a_real_loader_is_measured_and_its_errors_are_told() -> None:
    before = torch.get_rng_state()
    assert size_loader(ITEMS, 4, CPU, 0.05, cores=0).workers == 0
    assert torch.equal(torch.get_rng_state(), before)

    class Wrong(TensorDataset):
        def __getitem__(self, index: Any) -> Any:
            raise OSError("gone")

    wrong = Items(None, "here", Wrong(torch.zeros(3)), SET)
    with pytest.raises(DataError, match=r"here: item .* of the training set: OSError: gone"):
        size_loader(wrong, 2, CPU, 0.05)

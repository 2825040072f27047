"""How many processes load the user's data: measured, and as few as serve.

Loading in the training's own thread comes first. Processes are tried only where that is slow, twice
as many each time, for as long as they bring something: each has its memory, its start, and its
share of the cores that the training wants.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from typing import Any

import torch

from mpstui.backends import Backend
from mpstui.domain.errors import DataError

from .items import TRAINING, BatchRequest, Items
from .loader import LoaderSize, Queue, open_loader

QUICK = 1e-3
"""Seconds a batch, under which no process is worth its while."""

GAIN = 1.1
"""What more processes have to bring, as a factor: less is noise, and equals go to the fewer."""

TRIES = 6
"""Parts that the budget is cut into; one for each size that is tried."""

MOST_BATCHES = 100
"""Of each size: further ones would say the same."""

PREFETCH = (2, 4)
"""Batches that each process makes ahead: torch's own, and more for items of uneven cost."""

Open = Callable[[LoaderSize, float], Iterator[Any]]
"""Batches of a DataLoader of some size, without end, none of which takes longer than some seconds.
It is closed afterwards."""


def size_loader(
    items: Items,
    batch_size: int,
    backend: Backend,
    budget_seconds: float,
    step_seconds: float | None = None,
    *,
    cores: int | None = None,
    clock: Callable[[], float] = time.perf_counter,
    open: Open | None = None,
) -> LoaderSize:
    """Measure how a data set is loaded best.

    Args:
        items: The data sets; training items are loaded, without moving anybody's random numbers.
        batch_size: Samples a training step.
        backend: Where the batches go.
        budget_seconds: About how long this may take: no size is begun after it.
        step_seconds: Of a training step without loading, if that is known. Loading that takes a
            twentieth of it needs no process, and loading that keeps up with it no further one.
        cores: Processes at most; None for the cores that this process may use.
        clock: Seconds, monotonic.
        open: Opens a loader; None for a DataLoader.

    Returns:
        The size, with the reason in words.

    Raises:
        DataError: When an item cannot be made, or makes no batch.
    """
    opened = open or _Opener(items, batch_size, backend)
    most = cores if cores is not None else _cores()
    until = clock() + budget_seconds

    def measured(size: LoaderSize) -> float | None:
        return _seconds(opened, size, clock, until, budget_seconds / TRIES)

    alone = measured(LoaderSize())
    assert alone is not None  # a batch in the own thread is always waited for
    enough = QUICK if step_seconds is None else max(QUICK, step_seconds / 20)
    if alone < enough:
        return LoaderSize(why=f"{_ms(alone)} a batch: no process is needed")
    best, quickest, why = LoaderSize(), alone, ""
    workers = 1
    while workers <= most and clock() < until:
        size = LoaderSize(workers)
        try:
            seconds = measured(size)
        except DataError:
            raise
        except Exception as error:  # noqa: BLE001 - whatever pickling the user's class raises
            why = f"; in a process: {type(error).__name__}: {str(error).partition(chr(10))[0]}"
            break
        if seconds is not None and _serves(seconds, step_seconds):
            best, quickest = size, seconds
            break
        # Beyond one: that one is no quicker by itself, it only works beside the training.
        if workers > 1 and (seconds is None or seconds * GAIN > quickest):
            break
        if seconds is not None and seconds * GAIN <= quickest:
            best, quickest = size, seconds
        workers *= 2
    if best.workers and not _serves(quickest, step_seconds) and clock() < until:
        more = measured(best._replace(prefetch=PREFETCH[1]))
        if more is not None and more * GAIN <= quickest:
            best, quickest = best._replace(prefetch=PREFETCH[1]), more
    told = f"{_ms(alone)} a batch alone"
    if best.workers:
        told += f", {_ms(quickest)} with {best.workers} process{'es' * (best.workers > 1)}"
    else:
        told += ": no process is quicker" + why
    return best._replace(why=told)


def _serves(seconds: float, step_seconds: float | None) -> bool:
    """Whether loading beside the training keeps up with it."""
    return step_seconds is not None and seconds * GAIN <= step_seconds


def _seconds(
    opened: Open, size: LoaderSize, clock: Callable[[], float], until: float, most: float
) -> float | None:
    """Seconds a batch, once the processes are at work; None when there is no time for one batch."""
    patience = max(until - clock(), 0.1) if size.workers else 0.0
    batches = opened(size, patience)
    try:
        next(batches)  # files are opened; processes start, which is no part of an epoch
        for _ in range(size.workers * size.prefetch):
            if clock() >= until:
                return None
            next(batches)  # was made while nobody asked
        began, done = clock(), 0
        while True:
            next(batches)
            done += 1
            spent = clock() - began
            if done >= MOST_BATCHES or spent >= most or began + spent >= until:
                return spent / done
    except TimeoutError:
        return None
    finally:
        close = getattr(batches, "close", None)
        if close is not None:
            close()


class _Opener:
    """Opens DataLoaders over training items in an order of their own."""

    def __init__(self, items: Items, batch_size: int, backend: Backend) -> None:
        self._items, self._batch_size, self._backend = items, batch_size, backend

    def __call__(self, size: LoaderSize, patience: float) -> Iterator[Any]:
        queue = Queue()
        queue.batches = self._endless()
        loader = open_loader(self._items, self._backend, queue, size, patience)
        try:
            for batch in loader:
                if isinstance(batch, DataError):
                    raise batch
                yield batch
        except RuntimeError as error:
            if "timed out" in str(error):
                raise TimeoutError(str(error)) from error
            raise

    def _endless(self) -> Iterator[BatchRequest]:
        generator = torch.Generator().manual_seed(0)
        while True:
            order = torch.randperm(self._items.sizes[TRAINING], generator=generator)
            for batch in torch.split(order, self._batch_size):
                if len(batch) == min(self._batch_size, len(order)):  # a smaller one is quicker
                    yield BatchRequest(TRAINING, (tuple(batch.tolist()),))


def _cores() -> int:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _ms(seconds: float) -> str:
    return f"{seconds * 1e3:.3g} ms"

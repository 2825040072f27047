"""Measures how many processes should load custom data: as few as are enough.

Loading in the training thread is measured first. If that is slow, processes are tried, twice as
many each time, as long as they are faster: each takes memory, time to start, and a share of the
cores that training needs.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Any

import torch

from mpstui.backends import Backend
from mpstui.domain.errors import DataError
from mpstui.telemetry.cores import usable_cores

from .items import TRAINING, BatchRequest, Items
from .loader import LoaderSize, Queue, open_loader

QUICK = 1e-3
"""Seconds a batch below which processes don't pay off."""

GAIN = 1.1
"""Least speed-up of more processes: less is noise, and then fewer processes are preferred."""

TRIES = 6
"""Parts of the budget; each size gets one."""

MOST_BATCHES = 100
"""Of each size: more would not change the result."""

PREFETCH = (2, 4)
"""Batches that each process loads ahead: torch's default, and more for items of uneven cost."""

Open = Callable[[LoaderSize, float], Iterator[Any]]
"""Yields a DataLoader's batches endlessly, given its size and the seconds that a batch may take.
The iterator is closed after use."""


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
    """Measure the best size of a data set's loader.

    Args:
        items: The data sets; training items are loaded, without changing random numbers.
        batch_size: Samples a training step.
        backend: Where the batches go.
        budget_seconds: The approximate limit: no size is tried after it.
        step_seconds: Of a training step without loading, if known. Loading that takes a twentieth
            of it needs no process, and loading that keeps up with it no further one.
        cores: The maximum of processes; None for the cores that this process may use.
        clock: Seconds, monotonic.
        open: Opens a loader; None for a DataLoader.

    Returns:
        The size, with its reason.

    Raises:
        DataError: When an item can't be loaded, or items can't be combined to a batch.
    """
    opener = open or _Opener(items, batch_size, backend)
    max_workers = cores if cores is not None else usable_cores()
    deadline = clock() + budget_seconds

    def measure(size: LoaderSize) -> float | None:
        return _seconds(opener, size, clock, deadline, budget_seconds / TRIES)

    alone = measure(LoaderSize())
    assert alone is not None  # without processes there is no time limit
    enough = QUICK if step_seconds is None else max(QUICK, step_seconds / 20)
    if alone < enough:
        return LoaderSize(reason=f"{_ms(alone)} a batch: no process is needed")
    best, quickest, failure = LoaderSize(), alone, ""
    workers = 1
    while workers <= max_workers and clock() < deadline:
        size = LoaderSize(workers)
        try:
            seconds = measure(size)
        except DataError:
            raise
        except Exception as error:  # noqa: BLE001 - pickling a custom class may raise anything
            failure = f"; in a process: {type(error).__name__}: {str(error).partition(chr(10))[0]}"
            break
        if seconds is not None and _keeps_up(seconds, step_seconds):
            best, quickest = size, seconds
            break
        # Not for one process: it is no faster than none, but it works parallel to training.
        if workers > 1 and (seconds is None or seconds * GAIN > quickest):
            break
        if seconds is not None and seconds * GAIN <= quickest:
            best, quickest = size, seconds
        workers *= 2
    if best.workers and not _keeps_up(quickest, step_seconds) and clock() < deadline:
        seconds = measure(best._replace(prefetch=PREFETCH[1]))
        if seconds is not None and seconds * GAIN <= quickest:
            best, quickest = best._replace(prefetch=PREFETCH[1]), seconds
    reason = f"{_ms(alone)} a batch alone"
    if best.workers:
        reason += f", {_ms(quickest)} with {best.workers} process{'es' * (best.workers > 1)}"
    else:
        reason += ": no process is quicker" + failure
    return best._replace(reason=reason)


def _keeps_up(seconds: float, step_seconds: float | None) -> bool:
    """Return whether loading parallel to training keeps up with it."""
    return step_seconds is not None and seconds * GAIN <= step_seconds


def _seconds(
    opener: Open, size: LoaderSize, clock: Callable[[], float], deadline: float, limit: float
) -> float | None:
    """Return the seconds a batch after start-up; None when there is no time for one batch."""
    patience = max(deadline - clock(), 0.1) if size.workers else 0.0
    batches = opener(size, patience)
    try:
        next(batches)  # excludes opening files and starting processes
        for _ in range(size.workers * size.prefetch):
            if clock() >= deadline:
                return None
            next(batches)  # was prefetched
        began, done = clock(), 0
        while True:
            next(batches)
            done += 1
            spent = clock() - began
            if done >= MOST_BATCHES or spent >= limit or began + spent >= deadline:
                return spent / done
    except TimeoutError:
        return None
    finally:
        close = getattr(batches, "close", None)
        if close is not None:
            close()


class _Opener:
    """Opens DataLoaders over training items in a separate random order."""

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
                if len(batch) == min(self._batch_size, len(order)):  # skips a smaller last one
                    yield BatchRequest(TRAINING, (tuple(batch.tolist()),))


def _ms(seconds: float) -> str:
    return f"{seconds * 1e3:.3g} ms"

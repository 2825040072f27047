"""The user's data sets: through a DataLoader, then ahead of the step to the device.

Nothing is kept: an item that was made at random is made anew at each visit. How many processes
load is measured (:mod:`mpstui.engine.data.size`), since a process costs more than it brings where
items are made quickly.
"""

from __future__ import annotations

import multiprocessing
import os
import sys
import threading
from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

import torch
from torch.utils.data import DataLoader
from typing_extensions import override

from mpstui.backends import Backend
from mpstui.domain.errors import DataError

from .feed import Batch, Feed, sender
from .items import TEST, TRAINING, BatchRequest, Items
from .source import SHOWN, Pipeline


class LoaderSize(NamedTuple):
    """How a DataLoader is set up."""

    workers: int = 0
    """Processes; 0 makes batches in the training's own thread."""
    prefetch: int = 2
    """Batches that each process makes ahead."""
    why: str = ""
    """What that rests on, in words."""


class Loader(Pipeline):
    """Batches of own data sets. Of those with processes, one iteration is alive at a time."""

    def __init__(
        self,
        items: Items,
        backend: Backend,
        batch_size: int,
        size: LoaderSize = LoaderSize(),  # noqa: B008 - a tuple does not change
    ) -> None:
        """Open the data sets; processes start with the first batch.

        Args:
            items: The data sets.
            backend: Where the batches go.
            batch_size: Of a training step: the samples whose random numbers are drawn together,
                also where several steps' batches are asked for at once.
            size: How the DataLoader is set up.
        """
        self.items = items
        self.size = size
        self.train_samples, self.test_samples = items.sizes
        many = f"{size.workers} process{'es' if size.workers > 1 else ''}"
        self.note = f"custom Dataset: DataLoader with {many if size.workers else 'no processes'}"
        self._together = batch_size
        self._device = backend.device
        self._send = sender(backend)
        self._queue = Queue()
        self._loader = open_loader(items, backend, self._queue, size)
        self._turn = 0

    @override
    def training(self, order: torch.Tensor, batch_size: int) -> Feed:
        batches = (
            BatchRequest(TRAINING, tuple(map(tuple, _split(batch.tolist(), self._together))))
            for batch in torch.split(order, batch_size)
        )
        return self._feed(batches)

    @override
    def test(self, batch_size: int) -> Feed:
        return self._feed(
            BatchRequest(TEST, (tuple(group),))
            for group in _split(list(range(self.test_samples)), batch_size)
        )

    @override
    def shown(self) -> torch.Tensor:
        wanted = BatchRequest(TEST, (tuple(range(min(SHOWN, self.test_samples))),))
        return self.items.batch(wanted)[0].to(self._device)

    def _feed(self, batches: Iterable[BatchRequest]) -> Feed:
        return Feed(self._load(batches), self._send, self._send.ahead)

    def _load(self, batches: Iterable[BatchRequest]) -> Iterator[Batch]:
        self._turn += 1
        turn, self._queue.batches = self._turn, batches
        for batch in self._loader:
            if isinstance(batch, DataError):
                raise batch
            yield batch
            if self.size.workers and turn != self._turn:
                # The processes are the same for all, and work for the newest.
                raise RuntimeError("another iteration of this loader has begun")


class Queue:
    """The batches that a DataLoader is asked for next; it iterates over them once an epoch."""

    def __init__(self) -> None:
        self.batches: Iterable[BatchRequest] = ()

    def __iter__(self) -> Iterator[Any]:
        return iter(self.batches)


def open_loader(
    items: Items, backend: Backend, queue: Queue, size: LoaderSize, patience: float = 0
) -> DataLoader[Any]:
    """A DataLoader over both data sets, whose processes stay from one iteration to the next.

    Args:
        items: The data sets.
        backend: Where the batches go: pinned memory serves it, or does not.
        queue: What is asked for.
        size: How many processes.
        patience: Seconds that a batch may take; 0 waits for ever.
    """
    how: dict[str, Any] = {}
    if size.workers:
        # Never forked: the training has threads, whose locks a fork would hold for ever, and on
        # MPS a process that holds the device. A server that is started before them may fork.
        kind = "forkserver" if sys.platform == "linux" else "spawn"
        multiprocessing.set_forkserver_preload([Items.__module__])  # imports torch once for all
        how = {
            "num_workers": size.workers,
            "prefetch_factor": size.prefetch,
            "persistent_workers": True,
            "multiprocessing_context": kind,
            "worker_init_fn": _end_with_the_training,
            "timeout": patience,
        }
    return DataLoader(
        items,
        batch_sampler=queue,  # type: ignore[arg-type,unused-ignore]
        collate_fn=_as_it_is,
        pin_memory=backend.pins,
        # Its own: the loader's draw of a seed must not move the model's random numbers.
        generator=torch.Generator(),
        **how,
    )


def _end_with_the_training(_: int) -> None:
    """Watch, in a process that loads, for the end of the training's: it may be killed.

    Torch looks for another parent, which a fork server's children do not have, nor does the server
    end before they do.
    """
    parent = multiprocessing.parent_process()

    def watch() -> None:
        if parent is not None:
            parent.join()
            os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


def _as_it_is(batch: Any) -> Any:
    return batch


def _split(indices: list[int], size: int) -> list[list[int]]:
    return [indices[start : start + size] for start in range(0, len(indices), size)]

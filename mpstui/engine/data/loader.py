"""Loads custom data sets with a DataLoader, and copies batches to the device ahead of their step.

Nothing is cached: a random item is generated again at each visit. The number of processes is
measured (:mod:`mpstui.engine.data.size`), because for quick items a process costs more than it
gains.
"""

from __future__ import annotations

import multiprocessing
import os
import sys
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import torch
from torch.utils.data import DataLoader
from typing_extensions import override

from mpstui.backends import Backend
from mpstui.domain.errors import DataError
from mpstui.trees import Tree, move

from .feed import Batch, Feed, sender
from .items import DATASET_PARTS, TEST, TRAINING, BatchRequest, Items
from .loader_state import loader_state
from .source import SAMPLE_INPUTS, IndexedPipeline


class LoaderSize(NamedTuple):
    """The number of a DataLoader's processes, and how many batches each loads ahead."""

    workers: int = 0
    """Processes; 0 loads batches in the training thread."""
    prefetch: int = 2
    """Batches that each process loads ahead."""
    reason: str = ""
    """Why this size, as text."""


class Loader(IndexedPipeline):
    """The pipeline of custom data sets. With processes, only one iteration can be active."""

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
            batch_size: Of a training step. A step's samples share one seed, even if several steps'
                batches are requested together.
            size: The DataLoader's size.
        """
        self.items = items
        self.size = size
        self.train_samples, self.test_samples = items.sizes
        processes = f"{size.workers} process{'es' if size.workers > 1 else ''}"
        self.note = (
            f"custom Dataset: DataLoader with {processes if size.workers else 'no processes'}"
        )
        self._group_size = batch_size
        self._device = backend.device
        self._send = sender(backend)
        self._queue = Queue()
        self._loader = open_loader(items, backend, self._queue, size)
        self._turn = 0
        self._state = loader_state(dict(zip(DATASET_PARTS, items.parts, strict=True)))

    @override
    def unsaved_state(self) -> tuple[str, ...]:
        # They are ahead of the steps: a batch is loaded before its step, or in another process.
        return tuple(f"{path} (of a data set)" for path in self._state.read())

    @override
    @contextmanager
    def preserved(self) -> Iterator[None]:
        with self._state.preserved():
            yield

    @override
    def training(self, order: torch.Tensor, batch_size: int) -> Feed:
        batches = (
            BatchRequest(TRAINING, tuple(map(tuple, _split(batch.tolist(), self._group_size))))
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
    def sample_inputs(self) -> Tree:
        request = BatchRequest(TEST, (tuple(range(min(SAMPLE_INPUTS, self.test_samples))),))
        return move(self.items.batch(request).content, self._device)

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
                # All iterations share the processes, which work for the newest.
                raise RuntimeError("another iteration of this loader has begun")


class Queue:
    """The batches that a DataLoader loads next; it iterates over them once an epoch."""

    def __init__(self) -> None:
        self.batches: Iterable[BatchRequest] = ()

    def __iter__(self) -> Iterator[Any]:
        return iter(self.batches)


def open_loader(
    items: Items, backend: Backend, queue: Queue, size: LoaderSize, patience: float = 0
) -> DataLoader[Any]:
    """Open a DataLoader over both data sets, whose processes persist between iterations.

    Args:
        items: The data sets.
        backend: Where the batches go; it decides whether to pin memory.
        queue: The batches to load.
        size: The number of processes.
        patience: Seconds that a batch may take; 0 waits forever.
    """
    options: dict[str, Any] = {}
    if size.workers:
        # No fork: a child would inherit locked locks of the training's threads, and on MPS the
        # device. The fork server starts without threads, so its forks are safe.
        kind = "forkserver" if sys.platform == "linux" else "spawn"
        multiprocessing.set_forkserver_preload([Items.__module__])  # imports torch once for all
        options = {
            "num_workers": size.workers,
            "prefetch_factor": size.prefetch,
            "persistent_workers": True,
            "multiprocessing_context": kind,
            "worker_init_fn": _exit_with_training,
            "timeout": patience,
        }
    return DataLoader(
        items,
        batch_sampler=queue,  # type: ignore[arg-type,unused-ignore]
        collate_fn=_identity,
        pin_memory=backend.pins,
        # A separate generator: the loader's seed must not advance the model's random numbers.
        generator=torch.Generator(),
        **options,
    )


def _exit_with_training(_: int) -> None:
    """Exit a loading process when the training process ends, which may be killed.

    Torch watches for a changed parent, but these processes' parent is the fork server, which does
    not exit before its children.
    """
    parent = multiprocessing.parent_process()

    def watch() -> None:
        if parent is not None:
            parent.join()
            os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


def _identity(batch: Any) -> Any:
    return batch


def _split(indices: list[int], size: int) -> list[list[int]]:
    return [indices[start : start + size] for start in range(0, len(indices), size)]

"""The user's own loaders: order, batches and their number are theirs.

Two ``DataLoader``, or any two iterables of batches. A stream without a length is one too. Random
numbers that a loader takes from the default generators start anew from the run's seed in each
epoch, apart from training's: so each device of a comparison gets the same batches, and a resumed
run passes over those it has trained on. A loader with a generator of its own decides for itself.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

from torch.utils.data import DataLoader
from typing_extensions import override

from mpstui.backends import Backend
from mpstui.domain.errors import DataError
from mpstui.engine.part_state import State
from mpstui.runs.class_source import ClassSource
from mpstui.runs.user_code import USER_ERRORS, describe_error
from mpstui.trees import Tree, count_samples, move

from .feed import Batch, Feed, sender
from .loader_state import loader_state
from .seeding import DataRandom
from .source import EpochPart, Pipeline

UNKNOWN_TEST_STEPS = 10
"""Batches of a test stream without a length, if the workload sets no ``test_steps``."""


class OwnLoaders(NamedTuple):
    """A custom workload's loaders."""

    source: ClassSource | None
    where: str
    """File, class and method, for messages."""
    training: Iterable[Any]
    test: Iterable[Any]
    epoch_steps: int
    test_steps: int | None
    """Batches of a test; None for all."""
    note: str = ""
    workload: object = None
    """The workload; its own attributes are no state of its loaders."""

    @property
    def sizes(self) -> tuple[int, int]:
        """The numbers of training and test samples; 0 if unknown."""
        return _samples(self.training), _samples(self.test)

    @property
    def description(self) -> str:
        """For the screen and the log."""
        counts = (
            f"{count:,} {name} samples"
            for count, name in zip(self.sizes, ("training", "test"), strict=True)
            if count
        )
        return ", ".join((f"custom loaders, {self.epoch_steps:,} batches an epoch", *counts))


class OwnLoaderPipeline(Pipeline):
    """Batches of the user's loaders, copied ahead of their steps."""

    def __init__(self, loaders: OwnLoaders, backend: Backend) -> None:
        self.note = loaders.note
        self.train_samples, self.test_samples = loaders.sizes
        self._loaders = loaders
        self._device = backend.device
        self._send = sender(backend)
        both = {"training": loaders.training, "test": loaders.test}
        self._state = loader_state(both, loaders.workload)
        self._epoch = 0
        self._epoch_start: State = {}
        self._batch_samples: int | None = None  # of the newest first batch

    def samples_of(self, steps: int) -> int:
        """Return the samples of an epoch of so many training batches; 0 if unknown.

        A ``DataLoader`` with a batch size tells them, unless its collate makes others of them.
        """
        loader = self._loaders.training
        if not isinstance(loader, DataLoader) or loader.batch_size is None:
            return 0
        samples, size = self.train_samples, loader.batch_size
        if self._batch_samples not in (None, size, samples):
            return 0
        if not samples:
            return steps * size
        rounds, rest = divmod(steps, len(loader))
        return rounds * (len(loader) * size if loader.drop_last else samples) + rest * size

    @override
    def read_state(self) -> dict[str, Any]:
        latest = self._state.read()
        return {"epoch": self._epoch, "epoch_start": self._epoch_start, "latest": latest}

    @override
    def unsaved_state(self) -> tuple[str, ...]:
        return self._state.unsaved()

    @override
    def load_state(self, state: dict[str, Any]) -> None:
        self._epoch, self._epoch_start = state["epoch"], state["epoch_start"]
        self._state.load(state["latest"])

    @override
    def epoch(self, part: EpochPart) -> Feed:
        if part.epoch == self._epoch:  # resumed: the batches before are passed over again
            self._state.load(self._epoch_start)
        else:
            self._epoch, self._epoch_start = part.epoch, self._state.read()
        seed = zlib.crc32(repr((part.seed, part.epoch)).encode())
        batches = self._batches(self._loaders.training, seed, part.done, part.done + part.steps)
        return Feed(batches, self._send, self._send.ahead)

    @override
    def test(self, batch_size: int) -> Feed:
        batches = self._batches(self._loaders.test, 0, 0, self._loaders.test_steps)
        return Feed(batches, self._send, self._send.ahead)

    @override
    def sample_inputs(self) -> Tree:
        batch = next(self._batches(self._loaders.test, 0, 0, 1))
        return move(batch.content, self._device)

    def _batches(
        self, loader: Iterable[Any], seed: int, first: int, end: int | None
    ) -> Iterator[Batch]:
        """Yield the batches of a loader from one number to another; None ends with the loader.

        A training loader that ends earlier begins again.
        """
        random = DataRandom(seed)
        iterator: Iterator[Any] | None = None
        number, passed = 0, 0  # of all batches, and of this pass over the loader
        while end is None or number < end:
            try:
                with random.active():
                    iterator = iter(loader) if iterator is None else iterator
                    content = next(iterator, None)
            except USER_ERRORS as error:
                raise DataError(
                    f"{self._loaders.where}: batch {number}: {describe_error(error)}; "
                    "allowed: batches that can be loaded without an error"
                ) from error
            if content is None:
                if not passed:
                    raise DataError(f"{self._loaders.where}: a loader is empty; allowed: batches")
                if end is None or loader is self._loaders.test:
                    return
                iterator, passed = None, 0
                continue
            if number >= first:
                samples = count_samples(content)
                if number == 0 and loader is self._loaders.training:
                    self._batch_samples = samples
                yield Batch(content, samples)
            number, passed = number + 1, passed + 1


def _samples(loader: Any) -> int:
    """Return how many samples a loader passes over in a round; 0 if unknown."""
    dataset = getattr(loader, "dataset", None)
    if dataset is None or not hasattr(dataset, "__getitem__"):
        return 0
    try:
        return len(getattr(loader, "sampler", dataset))
    except TypeError:
        return 0

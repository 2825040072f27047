"""The user's data sets: their items, checked, drawn the same on every device, and picklable."""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from torch.utils.data import Dataset, default_collate
from typing_extensions import override

from mpstui.domain.errors import DataError
from mpstui.domain.workloads import EPOCH_SAMPLES
from mpstui.runs.class_source import ClassSource

from .feed import Batch
from .seeding import seeded

TRAINING, TEST = 0, 1
PARTS = ("training", "test")

ALLOWED = "(input tensor, target), the target a number or a tensor"


class BatchRequest(NamedTuple):
    """A batch that a DataLoader is asked for."""

    part: int
    """:data:`TRAINING` or :data:`TEST`."""
    groups: tuple[tuple[int, ...], ...]
    """Indices; the random numbers of a group's items follow from its indices."""


class Items(Dataset[Any]):
    """The training and the test set of a custom workload, as a DataLoader's one data set.

    Random numbers that items are made with (torch's, NumPy's, Python's) are seeded for each group,
    so that a comparison's devices see the same augmentation, whatever number of processes load it,
    and a run that is resumed goes on with it. Each visit of an item draws anew: it is in another
    group then. What draws from generators of its own is left alone.
    """

    def __init__(
        self, source: ClassSource | None, where: str, training: Dataset[Any], test: Dataset[Any]
    ) -> None:
        """Take both sets.

        Args:
            source: The file that their classes may be from.
            where: File, class and method, for messages.
            training: A map-style data set.
            test: Another.
        """
        self.source = source
        self.where = where
        self.parts: tuple[Any, Any] = (training, test)

    @override
    def __reduce__(self) -> tuple[Any, ...]:
        # The source goes first: with it the module is there that the sets' classes are found in.
        return _rebuild, (_Module(self.source), self.where, *self.parts)

    @property
    def sizes(self) -> tuple[int, int]:
        """Items for training and for the test."""
        training, test = self.parts
        return len(training), len(test)

    @property
    def description(self) -> str:
        """For the screen and the log."""
        training, test = self.sizes
        visits = EPOCH_SAMPLES / training
        told = f"each visited {visits:.3g} times an epoch"
        if visits < 1:
            told = f"{EPOCH_SAMPLES:,} of them an epoch"
        return f"custom data, {training:,} training items, {told}, {test:,} test items"

    def check(self) -> None:
        """Look at a batch of each set.

        Raises:
            DataError: When an item cannot be made, is no pair of input tensor and target, or two do
                not go into one batch.
        """
        for part, size in enumerate(self.sizes):
            self.batch(BatchRequest(part, (tuple(range(min(2, size))),)))

    def batch(self, wanted: BatchRequest) -> Batch:
        """Inputs and targets, on the CPU; float64 becomes float32, which models are of.

        Raises:
            DataError: As ``check``.
        """
        items: list[Any] = []
        for group in wanted.groups:
            with seeded(zlib.crc32(repr((wanted.part, group)).encode())):
                items += self._fetch(wanted.part, group)
        for index, item in zip((i for group in wanted.groups for i in group), items, strict=True):
            if not _is_pair(item):
                raise DataError(
                    f"{self._name(wanted.part, index)} is {_kind(item)}; allowed: {ALLOWED}"
                )
        try:
            inputs, targets = default_collate(items)
        except (RuntimeError, TypeError, ValueError, KeyError) as error:
            shapes = {tuple(np.shape(item[0])) for item in items}
            told = f"items of the {PARTS[wanted.part]} set make no batch"
            why = f"inputs of shapes {', '.join(map(str, sorted(shapes)))}"
            if len(shapes) == 1:
                why = str(error).partition("\n")[0]
            raise DataError(
                f"{self.where}: {told}: {why}; allowed: {ALLOWED}, all alike"
            ) from error
        return _single(inputs), _single(targets)

    def __getitems__(self, wanted: BatchRequest) -> Batch | DataError:
        """For a DataLoader. An error is its answer, since a process would lose the message."""
        try:
            return self.batch(wanted)
        except DataError as error:
            return error

    def _fetch(self, part: int, indices: Sequence[int]) -> list[Any]:
        dataset = self.parts[part]
        whole = getattr(dataset, "__getitems__", None)
        try:
            if whole is not None:
                return list(whole(list(indices)))
            return [dataset[index] for index in indices]
        except Exception as error:
            line = str(error).partition("\n")[0]
            which = f"{indices[0]} and on" if len(indices) > 1 else f"{indices[0]}"
            raise DataError(
                f"{self._name(part, which)}: {type(error).__name__}: {line}; "
                "allowed: items that can be made without an error"
            ) from error

    def _name(self, part: int, which: object) -> str:
        return f"{self.where}: item {which} of the {PARTS[part]} set"


class _Module(NamedTuple):
    """A source that is run when it is unpickled, in a DataLoader's process."""

    source: ClassSource | None

    @override
    def __reduce__(self) -> tuple[Any, ...]:
        return _load_module, (self.source,)


def _load_module(source: ClassSource | None) -> _Module:
    if source is not None:
        source.module()
    return _Module(source)


def _rebuild(module: _Module, where: str, training: Any, test: Any) -> Items:
    return Items(module.source, where, training, test)


def _is_pair(item: Any) -> bool:
    if not isinstance(item, (tuple, list)) or len(item) != 2:
        return False
    values = (torch.Tensor, np.ndarray)
    return isinstance(item[0], values) and isinstance(item[1], (*values, np.generic, int, float))


def _kind(item: Any) -> str:
    if isinstance(item, (tuple, list)):
        return f"({', '.join(type(value).__name__ for value in item)})"
    return f"of type {type(item).__name__}"


def _single(values: torch.Tensor) -> torch.Tensor:
    return values.float() if values.dtype is torch.float64 else values

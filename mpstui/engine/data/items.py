"""A custom workload's data sets: checked, picklable, and with the same items on every device."""

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
from mpstui.runs.user_code import USER_ERRORS, describe_error

from .feed import Batch
from .seeding import seeded

TRAINING, TEST = 0, 1
DATASET_PARTS = ("training", "test")

ALLOWED = "(input tensor, target), the target a number or a tensor"


class BatchRequest(NamedTuple):
    """A batch for a DataLoader to load."""

    part: int
    """:data:`TRAINING` or :data:`TEST`."""
    groups: tuple[tuple[int, ...], ...]
    """Indices; each group seeds the random numbers of its items."""


class Items(Dataset[Any]):
    """The training and the test set of a custom workload, as one data set for a DataLoader.

    The generators that items may use (torch's, NumPy's, Python's) are seeded for each group, so
    that a comparison's devices get the same augmentation, with any number of processes, and a
    resumed run continues with it. Each visit of an item gets new random numbers, because it is in
    another group then. Other generators are not changed.
    """

    def __init__(
        self, source: ClassSource | None, where: str, training: Dataset[Any], test: Dataset[Any]
    ) -> None:
        """Combine both sets.

        Args:
            source: The file that may define their classes.
            where: File, class and method, for messages.
            training: A map-style data set.
            test: Another one.
        """
        self.source = source
        self.where = where
        self.parts: tuple[Any, Any] = (training, test)

    @override
    def __reduce__(self) -> tuple[Any, ...]:
        # The source is unpickled first: it loads the module that the sets' classes need.
        return _rebuild, (_Module(self.source), self.where, *self.parts)

    @property
    def sizes(self) -> tuple[int, int]:
        """The numbers of training and test items."""
        training, test = self.parts
        return len(training), len(test)

    @property
    def description(self) -> str:
        """For the screen and the log."""
        training, test = self.sizes
        visits = EPOCH_SAMPLES / training
        frequency = f"each visited {visits:.3g} times an epoch"
        if visits < 1:
            frequency = f"{EPOCH_SAMPLES:,} of them an epoch"
        return f"custom data, {training:,} training items, {frequency}, {test:,} test items"

    def check(self) -> None:
        """Load a batch of each set.

        Raises:
            DataError: When an item can't be loaded, is not a pair of input tensor and target, or
                two can't be combined to a batch.
        """
        for part, size in enumerate(self.sizes):
            self.batch(BatchRequest(part, (tuple(range(min(2, size))),)))

    def batch(self, request: BatchRequest) -> Batch:
        """Load inputs and targets, on the CPU; float64 becomes float32, the models' dtype.

        Raises:
            DataError: As ``check``.
        """
        items: list[Any] = []
        for group in request.groups:
            with seeded(zlib.crc32(repr((request.part, group)).encode())):
                items += self._fetch(request.part, group)
        for index, item in zip((i for group in request.groups for i in group), items, strict=True):
            if not _is_pair(item):
                raise DataError(
                    f"{self._name(request.part, index)} is {_kind(item)}; allowed: {ALLOWED}"
                )
        try:
            inputs, targets = default_collate(items)
        except (RuntimeError, TypeError, ValueError, KeyError) as error:
            shapes = {tuple(np.shape(item[0])) for item in items}
            problem = f"items of the {DATASET_PARTS[request.part]} set can't be combined to a batch"
            reason = f"inputs of shapes {', '.join(map(str, sorted(shapes)))}"
            if len(shapes) == 1:
                reason = str(error).partition("\n")[0]
            raise DataError(
                f"{self.where}: {problem}: {reason}; allowed: {ALLOWED}, all of the same shape"
            ) from error
        return _single(inputs), _single(targets)

    def __getitems__(self, request: BatchRequest) -> Batch | DataError:
        """Load a batch for a DataLoader; return an error, since raising it loses the message."""
        try:
            return self.batch(request)
        except DataError as error:
            return error

    def _fetch(self, part: int, indices: Sequence[int]) -> list[Any]:
        dataset = self.parts[part]
        get_items = getattr(dataset, "__getitems__", None)
        try:
            if get_items is not None:
                return list(get_items(list(indices)))
            return [dataset[index] for index in indices]
        except USER_ERRORS as error:
            item = f"{indices[0]} and on" if len(indices) > 1 else f"{indices[0]}"
            raise DataError(
                f"{self._name(part, item)}: {describe_error(error)}; "
                "allowed: items that can be loaded without an error"
            ) from error

    def _name(self, part: int, item: object) -> str:
        return f"{self.where}: item {item} of the {DATASET_PARTS[part]} set"


class _Module(NamedTuple):
    """A source file that is executed when unpickled, in a DataLoader's process."""

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

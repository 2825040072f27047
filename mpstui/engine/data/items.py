"""A custom workload's data sets: picklable, and with the same items on every device."""

from __future__ import annotations

import copy
import importlib
import zlib
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import torch
from torch.utils.data import Dataset, default_collate
from typing_extensions import override

from mpstui.domain.errors import DataError
from mpstui.runs.class_source import ClassSource, origin
from mpstui.runs.user_code import USER_ERRORS, describe_error
from mpstui.trees import Tree, map_tensors

from .feed import Batch
from .seeding import seeded

TRAINING, TEST = 0, 1
DATASET_PARTS = ("training", "test")

ALLOWED = (
    "items of tensors, arrays and numbers, in tuples, lists or dicts, all of the same shapes; for "
    "others, a method collate(self, items)"
)


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
        self,
        source: ClassSource | None,
        where: str,
        training: Dataset[Any],
        test: Dataset[Any],
        collate: Callable[[list[Any]], Tree] | None = None,
    ) -> None:
        """Combine both sets.

        Args:
            source: The file that may define their classes.
            where: File, class and method, for messages.
            training: A map-style data set.
            test: Another one.
            collate: Makes a batch of items; None for torch's default.
        """
        self.source = source
        self.where = where
        self.parts: tuple[Any, Any] = (training, test)
        self.collate = collate
        self.keeps_double = False
        """Whether float64 stays, for a model of that dtype."""

    @override
    def __reduce__(self) -> tuple[Any, ...]:
        # The source is unpickled first: it loads the module that the sets' classes need.
        arguments = (_Module(self.source), self.where, *self.parts, self.collate)
        return _rebuild, (*arguments, self.keeps_double)

    @property
    def sizes(self) -> tuple[int, int]:
        """The numbers of training and test items."""
        training, test = self.parts
        return len(training), len(test)

    @property
    def description(self) -> str:
        """For the screen and the log."""
        training, test = self.sizes
        return f"custom data, {training:,} training and {test:,} test items"

    def check(self) -> None:
        """Load a batch of each set.

        Raises:
            DataError: When an item can't be loaded, or two can't be combined to a batch.
        """
        for part, size in enumerate(self.sizes):
            self.batch(BatchRequest(part, (tuple(range(min(2, size))),)))

    def batch(self, request: BatchRequest) -> Batch:
        """Load a batch, on the CPU.

        Without an own ``collate``, float64 becomes float32, most models' dtype.

        Raises:
            DataError: As ``check``.
        """
        items: list[Any] = []
        for group in request.groups:
            with seeded(zlib.crc32(repr((request.part, group)).encode())):
                items += self._fetch(request.part, group)
        try:
            if self.collate is not None:
                content = self.collate(items)
            else:
                content = default_collate(items)
                if not self.keeps_double:
                    content = map_tensors(_single, content)
        except USER_ERRORS as error:
            part = DATASET_PARTS[request.part]
            problem = f"items of the {part} set can't be combined to a batch"
            reason = describe_error(error)
            raise DataError(f"{self.where}: {problem}: {reason}; allowed: {ALLOWED}") from error
        return Batch(content, len(items))

    def __getitems__(self, request: BatchRequest) -> Batch | DataError:
        """Load a batch for a DataLoader; return an error, since raising it loses the message."""
        try:
            return self.batch(request)
        except DataError as error:
            return error

    def _fetch(self, part: int, indices: Sequence[int]) -> list[Any]:
        dataset = self.parts[part]
        get_items = getattr(dataset, "__getitems__", None)
        items: list[Any] = []
        try:
            if get_items is not None:
                return list(get_items(list(indices)))
            for index in indices:
                items.append(dataset[index])  # noqa: PERF401 - their number says which one fails
            return items
        except USER_ERRORS as error:
            is_one = get_items is None or len(indices) == 1
            item = f"item {indices[len(items)]}" if is_one else f"items {indices[0]}, …"
            raise DataError(
                f"{self.where}: {item} of the {DATASET_PARTS[part]} set: {describe_error(error)}; "
                "allowed: items that can be loaded without an error"
            ) from error


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


def _rebuild(
    module: _Module, where: str, training: Any, test: Any, collate: Any, keeps_double: bool
) -> Items:
    items = Items(module.source, where, training, test, collate)
    items.keeps_double = keeps_double
    return items


class OwnCollate:
    """The method ``collate`` of a custom workload, as it was when its data were loaded.

    Sent to a DataLoader's process, it takes the workload's attributes with it, and not the model
    that the workload may hold later.
    """

    def __init__(self, workload: Any) -> None:
        """Keep a shallow copy of the workload."""
        self._workload = copy.copy(workload)
        self._source = origin(type(workload))

    def __call__(self, items: list[Any]) -> Tree:
        """Make a batch of items."""
        return self._workload.collate(items)

    @override
    def __reduce__(self) -> tuple[Any, ...]:
        kind = type(self._workload)
        identity = (kind.__module__, kind.__qualname__)
        return _rebuild_collate, (_Module(self._source), identity, vars(self._workload))


def _rebuild_collate(
    module: _Module, identity: tuple[str, str], attributes: dict[str, Any]
) -> OwnCollate:
    kind = getattr(importlib.import_module(identity[0]), identity[1])
    workload = object.__new__(kind)
    vars(workload).update(attributes)
    return OwnCollate(workload)


def _single(values: torch.Tensor) -> torch.Tensor:
    return values.float() if values.dtype is torch.float64 else values

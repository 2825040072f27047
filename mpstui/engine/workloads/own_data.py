"""Loads a workload's own data: two data sets, two streams, or its own loaders."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from torch.utils.data import DataLoader, IterableDataset

from mpstui.domain.config import RunConfig
from mpstui.domain.errors import DataError
from mpstui.engine.data.items import DATASET_PARTS, Items, OwnCollate
from mpstui.engine.data.loader_state import loader_state
from mpstui.engine.data.own_loaders import UNKNOWN_TEST_STEPS, OwnLoaders
from mpstui.runs.class_source import ClassSource, origin
from mpstui.runs.user_code import USER_ERRORS, describe_error

from .contract import Workload
from .custom import hook_name
from .scores import describe


def load_own_data(workload: Workload, config: RunConfig) -> Items | OwnLoaders | None:
    """Return a workload's own data; None if it has none.

    Raises:
        DataError: When its method raises an error or returns something else, or the length of an
            epoch is unknown.
    """
    for hook in ("loaders", "datasets"):
        method = workload.hook(hook)
        if method is None:
            continue
        source, where = origin(type(workload)), hook_name(workload, hook)
        try:
            both = method()
        except USER_ERRORS as error:
            allowed = f"a method {hook} that raises no error"
            raise DataError(f"{where}: {describe_error(error)}; allowed: {allowed}") from error
        if both is None:  # MNIST's digits, depending on a setting of the workload
            return None
        if not isinstance(both, Sequence) or len(both) != 2:
            allowed = f"two {hook}, for training and for the test"
            raise DataError(f"{where} returns {describe(both)}; allowed: {allowed}")
        load = _loaders if hook == "loaders" else _datasets
        return load(workload, config, source, where, both)
    return None


def epoch_steps(config: RunConfig, workload: Workload, data: Items | OwnLoaders) -> int:
    """Return the steps of an epoch of own data."""
    if isinstance(data, OwnLoaders):
        return data.epoch_steps
    return workload.steps_per_epoch or -(-data.sizes[0] // config.batch_size)


def _datasets(
    workload: Workload,
    config: RunConfig,
    source: ClassSource | None,
    where: str,
    both: Sequence[Any],
) -> Items | OwnLoaders:
    collate = OwnCollate(workload) if workload.hook("collate") is not None else None
    for dataset, part in zip(both, DATASET_PARTS, strict=True):
        subject = f"{where}: the {part} set"
        if isinstance(dataset, DataLoader):
            raise DataError(f"{subject} is a DataLoader; allowed: a Dataset, or the method loaders")
        is_stream = isinstance(dataset, IterableDataset)
        if not is_stream and not (hasattr(dataset, "__getitem__") and hasattr(dataset, "__len__")):
            allowed = "a Dataset with __getitem__ and __len__, or an IterableDataset"
            raise DataError(f"{subject} is {describe(dataset)}; allowed: {allowed}")
        if not is_stream and not len(dataset):
            raise DataError(f"{subject} is empty; allowed: one item or more")
    if any(isinstance(dataset, IterableDataset) for dataset in both):
        sizes = (config.batch_size, config.test_batch_size)
        loaders = [
            DataLoader(dataset, batch_size=size, collate_fn=collate, shuffle=shuffles)
            for dataset, size, shuffles in zip(both, sizes, _shuffled(both), strict=True)
        ]
        return _loaders(workload, config, source, where, loaders)
    items = Items(source, where, both[0], both[1], collate)
    with loader_state(dict(zip(DATASET_PARTS, both, strict=True))).preserved():
        items.check()
    return items


def _shuffled(both: Sequence[Any]) -> tuple[bool, bool]:
    return not isinstance(both[0], IterableDataset), False


def _loaders(
    workload: Workload,
    config: RunConfig,
    source: ClassSource | None,
    where: str,
    both: Sequence[Any],
) -> OwnLoaders:
    for loader, part in zip(both, DATASET_PARTS, strict=True):
        if not isinstance(loader, Iterable) or isinstance(loader, Iterator):
            is_iterator = isinstance(loader, Iterator)
            kind = "an iterator, which ends once" if is_iterator else describe(loader)
            raise DataError(
                f"{where}: the {part} loader is {kind}; allowed: a DataLoader, or another "
                "iterable of batches that can be iterated over repeatedly"
            )
    steps = workload.steps_per_epoch or _length(both[0]) or config.steps
    if not steps:
        raise DataError(
            f"{where}: the training data are a stream without a length; allowed: one with "
            f"steps_per_epoch = N in the class, or --steps N"
        )
    test_steps, note = workload.test_steps, ""
    if test_steps is None and _length(both[1]) is None:
        test_steps = UNKNOWN_TEST_STEPS
        note = (
            f"the test data are a stream without a length: a test reads {test_steps} batches; "
            "set test_steps in the class for more"
        )
    return OwnLoaders(source, where, both[0], both[1], steps, test_steps, note, workload)


def _length(loader: Any) -> int | None:
    """Return a loader's number of batches; None if it is unknown."""
    try:
        return len(loader)
    except TypeError:
        return None

"""Workloads of the user's file: found, looked at, and made.

The class takes no arguments. It need not know of us: what it lacks it gets from :class:`Workload`.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, TypeVar

from torch.utils.data import IterableDataset

from mpstui.domain.class_path import ClassPath
from mpstui.domain.errors import DataError, FieldError
from mpstui.engine.data.items import Items
from mpstui.runs.class_source import WORKLOAD, class_error, load_class, origin, read_source
from mpstui.runs.rundir import RunDir

from .contract import Workload

T = TypeVar("T")


def load_workload(named: ClassPath, run_dir: Path) -> Workload:
    """Make the workload that ``path/to/file.py:Class`` names.

    Args:
        named: The file and the class.
        run_dir: The run's folder, whose copy of the file is taken where it holds one.

    Raises:
        FieldError: When the file is missing or raises an error, the class is missing, cannot be
            made without arguments, or lacks a method.
    """
    source = read_source(WORKLOAD, named, RunDir(run_dir).workload)
    found = load_class(WORKLOAD, source, named.name)
    where = f"{source.file}:{named.name}"
    try:
        kind = found
        if not issubclass(found, Workload):
            kind = type(found.__name__, (found, Workload), {"__module__": found.__module__})
        # Asked here: Python would tell of one method only, and another way in each version.
        if missing := sorted(getattr(kind, "__abstractmethods__", ())):
            problem = f"{where} lacks {' and '.join(missing)}"
            raise FieldError("workload", problem, "a class with the methods model and objective")
        made: Workload = kind()
    except FieldError:
        raise
    except Exception as error:
        raise class_error(WORKLOAD, source.file, f":{named.name}", error) from error
    return made


def load_items(workload: Workload) -> Items | None:
    """The data that a workload brings; None when it brings none.

    Raises:
        DataError: When its ``datasets`` raises an error, or returns something else than two
            map-style data sets with items that can be trained on.
    """
    if not hasattr(workload, "datasets"):
        return None
    source = origin(type(workload))
    name = type(workload).__name__
    where = f"{source.file}:{name}.datasets" if source else f"{name}.datasets"
    try:
        both = workload.datasets()
    except Exception as error:
        line = str(error).partition("\n")[0]
        allowed = "two data sets that can be created without an error"
        raise DataError(f"{where}: {type(error).__name__}: {line}; allowed: {allowed}") from error
    if not isinstance(both, Sequence) or len(both) != 2:
        raise DataError(f"{where} returns {_kind(both)}; allowed: (training set, test set)")
    for dataset, part in zip(both, ("training", "test"), strict=True):
        _check(dataset, f"{where}: the {part} set")
    items = Items(source, where, *both)
    items.check()
    return items


def check_kind(workload: Workload, hook: str, value: Any, kind: type[T]) -> T:
    """Return what a hook returned, if it is of the right type.

    Raises:
        FieldError: When it is not; the message has the class and the hook.
    """
    if isinstance(value, kind):
        return value
    source, name = origin(type(workload)), type(workload).__name__
    where = f"{source.file}:{name}.{hook}" if source else f"{name}.{hook}"
    allowed = f"{kind.__module__.partition('.')[0]}'s {kind.__name__}"
    raise FieldError("workload", f"{where} returns {_kind(value)}", allowed)


def _check(dataset: Any, what: str) -> None:
    iterable = isinstance(dataset, IterableDataset)
    if iterable or not (hasattr(dataset, "__getitem__") and hasattr(dataset, "__len__")):
        why = "is an IterableDataset" if iterable else f"is {_kind(dataset)}"
        raise DataError(f"{what} {why}; allowed: a Dataset with __getitem__ and __len__")
    if not len(dataset):
        raise DataError(f"{what} is empty; allowed: one item or more")


def _kind(value: Any) -> str:
    """A value's type for a message; of a sequence its length too."""
    name = type(value).__name__
    return f"{name} of {len(value)}" if isinstance(value, (tuple, list)) else name

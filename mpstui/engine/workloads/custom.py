"""Custom workloads: loads and checks the class in the user's file, and creates an instance.

The class gets the settings of the run's config. It need not import mpstui: missing methods come
from :class:`Workload`.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, SupportsIndex, TypeVar

from torch.utils.data import IterableDataset

from mpstui.domain.class_path import ClassPath
from mpstui.domain.config import RunConfig
from mpstui.domain.errors import DataError, FieldError
from mpstui.engine.data.items import Items
from mpstui.runs.class_source import WORKLOAD, class_error, load_class, origin, read_source
from mpstui.runs.own_settings import class_arguments, settings_in
from mpstui.runs.rundir import RunDir

from .contract import Workload

T = TypeVar("T")


def load_workload(path: ClassPath, run_dir: Path, config: RunConfig) -> Workload:
    """Create the workload that ``path/to/file.py:Class`` names.

    Args:
        path: The file and the class.
        run_dir: The run's folder; its copy of the file is used if there is one.
        config: Has the settings that the class is created with.

    Raises:
        FieldError: When the file is missing or raises an error, the class is missing, can't be
            created with these settings, or lacks a method, or a setting is not allowed.
    """
    source = read_source(WORKLOAD, path, RunDir(run_dir).workload)
    arguments = class_arguments(settings_in(source.text, path), config)
    base = load_class(WORKLOAD, source, path.name)
    where = f"{source.file}:{path.name}"
    try:
        kind = workload_class(base)
        # Checked here: Python's own message depends on its version.
        if missing := sorted(getattr(kind, "__abstractmethods__", ())):
            problem = f"{where} lacks {' and '.join(missing)}"
            raise FieldError("workload", problem, "a class with the methods model and objective")
        workload: Workload = kind(**arguments)
    except FieldError:
        raise
    except Exception as error:
        raise class_error(WORKLOAD, source.file, f":{path.name}", error) from error
    return workload


def workload_class(base: type) -> type:
    """Return a class of the user's with the hooks that it lacks.

    Its instances are pickled by the user's class, since a data set in a DataLoader's process may
    hold one.
    """
    if issubclass(base, Workload):
        return base
    members: dict[str, Any] = {"__module__": base.__module__}
    if base.__reduce_ex__ is object.__reduce_ex__ and base.__reduce__ is object.__reduce__:
        members["__reduce_ex__"] = _reduce
    return type(base.__name__, (base, Workload), members)


def _reduce(workload: Workload, protocol: SupportsIndex) -> tuple[Any, ...]:
    state: Any = object.__reduce_ex__(workload, 2)[2]  # those of slots are in it too
    return _new_workload, (type(workload).__mro__[1],), state


def _new_workload(base: type) -> Any:
    return object.__new__(workload_class(base))


def load_items(workload: Workload) -> Items | None:
    """Return a workload's own data; None if it has none.

    Raises:
        DataError: When its ``datasets`` raises an error, or does not return two map-style data sets
            whose items can be trained on.
    """
    if not hasattr(workload, "datasets"):
        return None
    source = origin(type(workload))
    where = _hook_name(workload, "datasets")
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
    allowed = f"{kind.__module__.partition('.')[0]}'s {kind.__name__}"
    raise FieldError("workload", f"{_hook_name(workload, hook)} returns {_kind(value)}", allowed)


def _hook_name(workload: Workload, hook: str) -> str:
    """Return a hook's name for messages, with the user's file if it is from one."""
    source, name = origin(type(workload)), type(workload).__name__
    return f"{source.file}:{name}.{hook}" if source else f"{name}.{hook}"


def _check(dataset: Any, subject: str) -> None:
    iterable = isinstance(dataset, IterableDataset)
    if iterable or not (hasattr(dataset, "__getitem__") and hasattr(dataset, "__len__")):
        problem = "is an IterableDataset" if iterable else f"is {_kind(dataset)}"
        raise DataError(f"{subject} {problem}; allowed: a Dataset with __getitem__ and __len__")
    if not len(dataset):
        raise DataError(f"{subject} is empty; allowed: one item or more")


def _kind(value: Any) -> str:
    """Describe a value's type for a message, with a sequence's length."""
    name = type(value).__name__
    return f"{name} of {len(value)}" if isinstance(value, (tuple, list)) else name

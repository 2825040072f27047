"""Custom workloads: loads and checks the class in the user's file, and creates an instance.

The class gets the settings of the run's config. It need not import mpstui: missing methods come
from :class:`Workload`.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, SupportsIndex, TypeVar

from mpstui.domain.class_path import ClassPath
from mpstui.domain.config import RunConfig
from mpstui.domain.errors import FieldError, MpstuiError
from mpstui.runs.class_source import WORKLOAD, class_error, load_class, origin
from mpstui.runs.own_code import enter_folder, workload_source
from mpstui.runs.own_settings import class_arguments, settings_in
from mpstui.runs.user_code import USER_ERRORS, bare_arguments, describe_error

from .contract import Workload
from .hooks import check_hooks

T = TypeVar("T")

DEFAULTS = ("objective", "optimizer", "score", "pictures")
"""Methods that every workload has."""

METHODS = "a class with the methods model and objective, or model and step"


def load_workload(path: ClassPath, run_dir: Path, config: RunConfig) -> Workload:
    """Create the workload that ``path/to/file.py:Class`` names.

    Args:
        path: The file and the class.
        run_dir: The run's folder; its copies of the file and of what that imports are used if
            there are any. This process moves to the folder where the run was created.
        config: Has the settings that the class is created with.

    Raises:
        FieldError: When the file is missing or raises an error, the class is missing, can't be
            created with these settings, lacks a method, or has a method that looks like a hook but
            is none, or a setting is not allowed.
    """
    run_dir = run_dir.absolute()
    enter_folder(run_dir)
    source = workload_source(path, run_dir)
    arguments = class_arguments(settings_in(source.text, path), config)
    base = load_class(WORKLOAD, source, path.name)
    where = f"{source.file}:{path.name}"
    check_hooks(base)
    try:
        kind = workload_class(base)
        # Checked here: Python's own message depends on its version.
        if missing := _missing_methods(kind):
            problem = f"{where} lacks {' and '.join(missing)}"
            raise FieldError("workload", problem, METHODS)
        with bare_arguments(source.file):
            workload: Workload = kind(**arguments)
    except FieldError:
        raise
    except USER_ERRORS as error:
        raise class_error(WORKLOAD, source.file, f":{path.name}", error) from error
    return workload


def _missing_methods(kind: type[Workload]) -> list[str]:
    missing = sorted(getattr(kind, "__abstractmethods__", ()))
    is_default = kind.objective is Workload.objective
    if is_default and getattr(kind, "step", None) is None:
        missing.append("objective")
    return missing


def workload_class(base: type) -> type:
    """Return a class of the user's with the hooks that it lacks.

    Its instances are pickled by the user's class, since a data set in a DataLoader's process may
    hold one.
    """
    if issubclass(base, Workload):
        return base
    members: dict[str, Any] = {"__module__": base.__module__}
    for name in DEFAULTS:
        if getattr(base, name, base) is None:  # a subclass has removed its parent's method
            members[name] = getattr(Workload, name)
    if base.__reduce_ex__ is object.__reduce_ex__ and base.__reduce__ is object.__reduce__:
        members["__reduce_ex__"] = _reduce
    return type(base.__name__, (base, Workload), members)


def _reduce(workload: Workload, protocol: SupportsIndex) -> tuple[Any, ...]:
    state: Any = object.__reduce_ex__(workload, 2)[2]  # those of slots are in it too
    return _new_workload, (type(workload).__mro__[1],), state


def _new_workload(base: type) -> Any:
    return object.__new__(workload_class(base))


def check_kind(workload: Workload, hook: str, value: Any, kind: type[T]) -> T:
    """Return what a hook returned, if it is of the right type.

    Raises:
        FieldError: When it is not; the message has the class and the hook.
    """
    if isinstance(value, kind):
        return value
    allowed = f"{kind.__module__.partition('.')[0]}'s {kind.__name__}"
    raise FieldError("workload", f"{hook_name(workload, hook)} returns {_kind(value)}", allowed)


def call_hook(workload: Workload, hook: str, call: Callable[[], T]) -> T:
    """Call a workload's method.

    Raises:
        FieldError: When it raises an error; the message has the class, the method and the user's
            line.
    """
    try:
        return call()
    except MpstuiError:
        raise
    except USER_ERRORS as error:
        problem = f"{hook_name(workload, hook)}: {describe_error(error)}"
        raise FieldError("workload", problem, f"a method {hook} that raises no error") from error


def hook_name(workload: Workload, hook: str) -> str:
    """Return a hook's name for messages, with the user's file and the method's line if known."""
    source, name = origin(type(workload)), type(workload).__name__
    if source is None:
        return f"{name}.{hook}"
    code = getattr(getattr(type(workload), hook, None), "__code__", None)
    is_own = workload.hook(hook) is not None
    line = f":{code.co_firstlineno}" if code is not None and is_own else ""
    return f"{source.file}{line}, {name}.{hook}"


def _kind(value: Any) -> str:
    """Describe a value's type for a message, with a sequence's length."""
    name = type(value).__name__
    return f"{name} of {len(value)}" if isinstance(value, (tuple, list)) else name

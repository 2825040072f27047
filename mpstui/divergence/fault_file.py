"""Simulated faults by name: the catalogue's, or a class of a person's own file.

Such a class takes no arguments, and its instances are context managers: one instance a run, entered
around each training step. The file stands alone, since it is copied into the run's folder; a fault
that counts its steps counts them anew in a run that is resumed.
"""

from __future__ import annotations

import sys
from contextlib import AbstractContextManager
from pathlib import Path
from types import ModuleType
from typing import Any

from mpstui.domain.devices import fault_file
from mpstui.domain.errors import FieldError
from mpstui.runs.rundir import RunDir

from .faults import FAULTS


def load_fault(value: str, run_dir: Path | None) -> AbstractContextManager[Any]:
    """The fault that a device spec's ``fault=`` names.

    Args:
        value: A name of the catalogue's, or ``path/to/file.py:Class``; a path that is not absolute
            is relative to the current folder.
        run_dir: The run's folder, whose copy of the file is taken where it holds one.

    Raises:
        FieldError: When there is no such fault or file, the file raises an error, or the class is
            missing or is no context manager that can be made without arguments.
    """
    named = fault_file(value)
    if named is None:
        if value not in FAULTS:
            allowed = f"{', '.join(sorted(FAULTS))}, or path/to/file.py:Class"
            raise FieldError("device", f"fault={value} is unknown", allowed)
        return FAULTS[value]()
    path = Path(named[0])
    if run_dir is not None and RunDir(run_dir).fault.is_file():
        path = RunDir(run_dir).fault
    return _make(_run(path), named[1], path)


def _run(path: Path) -> ModuleType:
    """The module of a file. Python's own loader would leave its bytecode in the run's folder."""
    module = ModuleType(f"mpstui_fault_{path.stem}")
    module.__file__ = str(path)
    sys.modules[module.__name__] = module  # dataclasses, for one, look it up there
    try:
        exec(compile(path.read_bytes(), str(path), "exec"), module.__dict__)
    except OSError as error:
        problem = f"fault={path}: {error.strerror}"
        raise FieldError("device", problem, "a Python file that is there") from error
    except (Exception, SystemExit) as error:  # whatever a person's file raises
        raise _raised(path, "", error) from error
    return module


def _make(module: ModuleType, name: str, path: Path) -> AbstractContextManager[Any]:
    found = getattr(module, name, None)
    if not isinstance(found, type):
        classes = [
            each
            for each, value in vars(module).items()
            if isinstance(value, type) and value.__module__ == module.__name__
        ]
        allowed = ", ".join(classes) or "a file with a class whose instances are context managers"
        raise FieldError("device", f"fault={path} has no class {name}", allowed)
    if not issubclass(found, AbstractContextManager):
        problem = f"fault={path}:{name} is no context manager"
        raise FieldError("device", problem, "a class with __enter__ and __exit__")
    try:
        made: AbstractContextManager[Any] = found()
    except Exception as error:
        raise _raised(path, f":{name}", error) from error
    return made


def _raised(path: Path, name: str, error: BaseException) -> FieldError:
    line = str(error).partition("\n")[0]
    problem = f"fault={path}{name}: {type(error).__name__}: {line}"
    return FieldError("device", problem, "a file and a class that can be made without an error")

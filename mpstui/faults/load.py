"""Simulated faults by name: the catalogue's, or a class of the user's file.

Such a class takes no arguments, and its instances are context managers: one instance a run, entered
around each training step and each batch of a test; what one replaces in torch as it is made is
replaced only inside of it. The file stands alone, since it is copied into the run's folder; a fault
that counts its steps counts them anew in a run that is resumed.
"""

from __future__ import annotations

from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

from mpstui.domain.devices import fault_file
from mpstui.domain.errors import FieldError
from mpstui.runs.class_source import FAULT, class_error, load_class, read_source
from mpstui.runs.rundir import RunDir

from .library import FAULTS
from .patches import without_patches


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
    source = read_source(FAULT, named, RunDir(run_dir).fault if run_dir is not None else None)
    found = load_class(FAULT, source, named.name)
    if not issubclass(found, AbstractContextManager):
        problem = f"fault={source.file}:{named.name} is no context manager"
        raise FieldError("device", problem, "a class with __enter__ and __exit__")
    try:
        made: AbstractContextManager[Any] = without_patches(found)
    except Exception as error:
        raise class_error(FAULT, source.file, f":{named.name}", error) from error
    return made

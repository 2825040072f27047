"""Loads simulated faults by name: the catalogue's, or a class in the user's file.

Such a class takes no arguments, and its instances are context managers: one instance per run,
entered around each training step and each test batch. Patches of torch that it makes when it is
created are active only inside of it. The file must be self-contained, since it is copied into the
run's folder; a fault that counts steps starts at zero again in a resumed run.
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
    """Load the fault of a device spec's ``fault=`` option.

    Args:
        value: A name from the catalogue, or ``path/to/file.py:Class``; a relative path is
            relative to the current folder.
        run_dir: The run's folder, whose copy of the file is used if there is one.

    Raises:
        FieldError: If there is no such fault or file, the file raises an error, or the class is
            missing or is not a context manager that can be created without arguments.
    """
    file_class = fault_file(value)
    if file_class is None:
        if value not in FAULTS:
            allowed = f"{', '.join(sorted(FAULTS))}, or path/to/file.py:Class"
            raise FieldError("device", f"fault={value} is unknown", allowed)
        return FAULTS[value]()
    source = read_source(FAULT, file_class, RunDir(run_dir).fault if run_dir is not None else None)
    fault_class = load_class(FAULT, source, file_class.name)
    if not issubclass(fault_class, AbstractContextManager):
        problem = f"fault={source.file}:{file_class.name} is no context manager"
        raise FieldError("device", problem, "a class with __enter__ and __exit__")
    try:
        fault: AbstractContextManager[Any] = without_patches(fault_class)
    except Exception as error:
        raise class_error(FAULT, source.file, f":{file_class.name}", error) from error
    return fault

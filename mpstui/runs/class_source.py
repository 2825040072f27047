"""Classes of a person's own file: read into a run's folder, and loaded from there.

Simulated faults and workloads may come from one. The file is copied when its run is made, so that
the run can be resumed and investigated when the original is gone. Only who may import torch loads
it, since the file does.
"""

from __future__ import annotations

import sys
import zlib
from pathlib import Path
from types import ModuleType
from typing import NamedTuple

from mpstui.domain.class_path import ClassPath
from mpstui.domain.errors import FieldError

_SOURCE = "__mpstui_source__"


class ClassRole(NamedTuple):
    """What such a class is for, as messages name it."""

    field: str
    """The field that names it."""
    label: str
    """What stands before the path there."""
    kind: str
    """What its file has to hold, in words."""
    methods: tuple[str, ...]
    """The methods that the class has to have."""


FAULT = ClassRole(
    "device", "fault=", "a class with __enter__ and __exit__", ("__enter__", "__exit__")
)
WORKLOAD = ClassRole(
    "workload", "", "a class with the methods model and objective", ("model", "objective")
)


class ClassSource(NamedTuple):
    """A file's text, and where it is from; a DataLoader's process makes the module again of it."""

    text: bytes
    path: Path
    """Where it was read: the run's copy, if there is one."""
    file: Path
    """The original, if it is there: the module's ``__file__``, for what lies beside it."""

    def module(self) -> ModuleType:
        """The module; the same one each time, as classes are pickled by its name.

        Python's own loader would leave its bytecode in the run's folder.

        Raises:
            Exception: Whatever the file raises.
        """
        name = f"mpstui_own_{self.file.stem}_{zlib.crc32(self.text):08x}"
        if name in sys.modules:
            return sys.modules[name]
        module = ModuleType(name)
        module.__file__ = str(self.file)
        vars(module)[_SOURCE] = self
        sys.modules[name] = module  # dataclasses, for one, look it up there
        # It may import what lies beside it. Last: a torch.py there must not hide torch.
        if (folder := str(self.file.parent)) not in sys.path:
            sys.path.append(folder)
        try:
            exec(compile(self.text, str(self.path), "exec"), module.__dict__)
        except BaseException:
            del sys.modules[name]
            raise
        return module


def read_file(role: ClassRole, named: ClassPath, instead: Path | None = None) -> bytes:
    """The text of the file that a class comes from.

    Args:
        role: What the class is for.
        named: The file.
        instead: A copy to read in place of it, where there is one.

    Raises:
        FieldError: When it cannot be read.
    """
    path = instead if instead is not None and instead.is_file() else named.file
    try:
        return path.read_bytes()
    except OSError as error:
        problem = f"{role.label}{path}: {error.strerror}"
        raise FieldError(role.field, problem, "a Python file that is there") from error


def source_of(role: ClassRole, named: ClassPath, copy: Path | None) -> ClassSource:
    """The file that a class comes from, read.

    Args:
        role: What the class is for.
        named: The file.
        copy: The run's copy, which is read instead where there is one.

    Raises:
        FieldError: When it cannot be read.
    """
    text, original = read_file(role, named, copy), named.file.absolute()
    path = copy if copy is not None and copy.is_file() else named.file
    return ClassSource(text, path, original if original.is_file() else path)


def origin(kind: type) -> ClassSource | None:
    """Where a class was loaded from; None for one that is from no own file."""
    module = sys.modules.get(kind.__module__)
    found = getattr(module, _SOURCE, None)
    return found if isinstance(found, ClassSource) else None


def load_class(role: ClassRole, source: ClassSource, name: str) -> type:
    """A class of a file, which is run for it.

    Raises:
        FieldError: When the file raises an error, or has no such class.
    """
    path = source.file  # a person knows the original, not the copy
    try:
        module = source.module()
    except (Exception, SystemExit) as error:  # whatever a person's file raises
        raise raised(role, path, "", error) from error
    found = getattr(module, name, None)
    if not isinstance(found, type):
        classes = [
            each
            for each, value in vars(module).items()
            if isinstance(value, type) and value.__module__ == module.__name__
        ]
        allowed = ", ".join(classes) or f"a file with {role.kind}"
        raise FieldError(role.field, f"{role.label}{path} has no class {name}", allowed)
    return found


def raised(role: ClassRole, path: Path, name: str, error: BaseException) -> FieldError:
    """What a file or its class has raised, in a line.

    Args:
        role: What it is for.
        path: The file.
        name: ``:Class``, with the method maybe; empty for the file itself.
        error: What was raised.
    """
    line = str(error).partition("\n")[0]
    problem = f"{role.label}{path}{name}: {type(error).__name__}: {line}"
    allowed = "a file and a class that can be made without an error"
    return FieldError(role.field, problem, allowed)

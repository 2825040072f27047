"""Loads classes from the user's files, copied into a run's folder.

They define simulated faults and workloads. A file is copied when its run is created, so the run
can be resumed and investigated even if the original is deleted. Loading runs the file, so only
processes that may import torch do that.
"""

from __future__ import annotations

import os
import sys
import zlib
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType
from typing import NamedTuple

from mpstui.domain.class_path import ClassPath
from mpstui.domain.errors import FieldError

from .files import TEXT_BYTES, read_bytes
from .module_copies import SOURCE, serve, show_lines
from .own_imports import Surroundings
from .user_code import USER_ERRORS, bare_arguments, describe_error


class ClassRole(NamedTuple):
    """The purpose of such a class, with the texts for messages."""

    field: str
    """The field that names it."""
    label: str
    """The prefix of the path in that field."""
    kind: str
    """Description of the expected class."""
    methods: tuple[str, ...]
    """The methods that the class must have."""


FAULT = ClassRole(
    "device", "fault=", "a class with __enter__ and __exit__", ("__enter__", "__exit__")
)
WORKLOAD = ClassRole(
    "workload", "", "a class with the methods model and objective", ("model", "objective")
)


class ClassSource(NamedTuple):
    """A file's text and origin, from which a DataLoader's process rebuilds the module."""

    text: bytes
    path: Path
    """The path that was read: the run's copy, if there is one."""
    file: Path
    """The original, even if it is gone: the module's ``__file__``, and the file in tracebacks."""
    surroundings: Surroundings = Surroundings()
    """Its package, and the copies of what it imports from its folder."""

    def module(self) -> ModuleType:
        """Return the module, always the same one, since its classes are pickled by its name.

        This avoids Python's own loader, which would write bytecode into the run's folder.

        Raises:
            Exception: Any exception that the file raises.
        """
        package, roots, modules, _ = self.surroundings
        digest = zlib.crc32(repr((str(self.file), self.text, modules)).encode())
        name = f"mpstui_own_{self.file.stem}_{digest:08x}"
        serve(modules, self)
        if name in sys.modules:
            return sys.modules[name]
        module = ModuleType(name)
        module.__file__ = str(self.file)
        if package:  # relative imports
            module.__package__ = package
            module.__spec__ = ModuleSpec(f"{package}.{self.file.stem}", None)
        vars(module)[SOURCE] = self
        sys.modules[name] = module  # dataclasses, for example, look it up there
        # It may import modules beside it. Appended last: a torch.py there must not shadow torch.
        folders = roots or (str(self.file.parent),)
        sys.path += [folder for folder in folders if folder not in sys.path]
        show_lines(str(self.file), self.text)
        try:
            with bare_arguments(self.file):
                exec(compile(self.text, str(self.file), "exec"), module.__dict__)
        except BaseException:
            del sys.modules[name]
            raise
        return module


def read_file(role: ClassRole, class_ref: ClassPath, copy: Path | None = None) -> bytes:
    """Read the text of the file that defines a class.

    Args:
        role: The purpose of the class.
        class_ref: The file.
        copy: A copy to read instead, if it exists.

    Raises:
        FieldError: If it cannot be read.
    """
    is_copy = copy is not None and os.path.isfile(copy)
    path = copy if copy is not None and is_copy else class_ref.file
    try:
        return read_bytes(path, TEXT_BYTES, within=path.parent if is_copy else None)
    except OSError as error:
        problem = f"{role.label}{path}: {error.strerror or error}"
        raise FieldError(role.field, problem, "an existing Python file") from error


def read_source(role: ClassRole, class_ref: ClassPath, copy: Path | None) -> ClassSource:
    """Read the source file of a class.

    Args:
        role: The purpose of the class.
        class_ref: The file.
        copy: The run's copy, which is read instead if it exists.

    Raises:
        FieldError: If it cannot be read.
    """
    path = copy if copy is not None and os.path.isfile(copy) else class_ref.file
    return ClassSource(read_file(role, class_ref, copy), path, class_ref.file.absolute())


def origin(cls: type) -> ClassSource | None:
    """Return the source of a class; None if it is not from a user's file."""
    module = sys.modules.get(cls.__module__)
    source = getattr(module, SOURCE, None)
    return source if isinstance(source, ClassSource) else None


def load_class(role: ClassRole, source: ClassSource, name: str) -> type:
    """Run a file and return one of its classes.

    Raises:
        FieldError: If the file raises an error or has no such class.
    """
    path = source.file  # the user knows the original, not the copy
    try:
        module = source.module()
    except USER_ERRORS as error:  # any error in the user's file
        raise class_error(role, path, "", error) from error
    cls = getattr(module, name, None)
    if not isinstance(cls, type):
        classes = [
            class_name
            for class_name, value in vars(module).items()
            if isinstance(value, type) and value.__module__ == module.__name__
        ]
        allowed = ", ".join(classes) or f"a file with {role.kind}"
        raise FieldError(role.field, f"{role.label}{path} has no class {name}", allowed)
    return cls


def class_error(role: ClassRole, path: Path, name: str, error: BaseException) -> FieldError:
    """Convert an error raised by a file or its class into a one-line FieldError.

    Args:
        role: The purpose of the class.
        path: The file.
        name: ``:Class``, possibly with the method; empty for the file itself.
        error: The error.
    """
    problem = f"{role.label}{path}{name}: {describe_error(error)}"
    allowed = "a file that loads and a class that can be created without an error"
    return FieldError(role.field, problem, allowed)

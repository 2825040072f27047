"""Resolves a workload as typed to the form that is stored."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from mpstui.domain.class_path import class_path, module_path
from mpstui.domain.errors import FieldError
from mpstui.domain.script_ref import script_ref

from .own_imports import module_file
from .paths import current_folder


def absolute_workload(text: str) -> str:
    """Return a workload as stored: for the user's, ``file.py:Class`` with an absolute path.

    Args:
        text: As typed: a relative path, ``package.module:Class``, or any other workload, which
            stays as it is.

    Raises:
        FieldError: If there is no such module.
    """
    class_ref = class_path(text)
    if script_ref(text) is not None:
        return text
    if class_ref is not None:
        return f"{os.path.abspath(class_ref.file)}:{class_ref.name}"
    module_ref = module_path(text)
    if module_ref is None:
        return text
    module_name, name = module_ref
    folders = list(dict.fromkeys([str(current_folder()), *filter(os.path.isabs, sys.path)]))
    for folder in folders:
        file = module_file(Path(folder), module_name.split("."))
        if file is not None:
            return f"{file}:{name}"
    places = ", ".join(folder for folder in folders if os.path.isdir(folder))
    problem = f"{module_name} is not found in {places}"
    raise FieldError("workload", problem, "a module below the current folder, or an installed one")

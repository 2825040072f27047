"""The workloads: two built-in ones, and custom ones from the user's files."""

from __future__ import annotations

from pathlib import Path

from mpstui.domain.class_path import class_path

from .contract import Score, Workload
from .custom import check_kind, load_workload
from .mnist import Mnist
from .vae import Vae

BUILT_IN: dict[str, Workload] = {"mnist": Mnist(), "vae": Vae()}


def find_workload(name: str, run_dir: Path) -> Workload:
    """Return the workload that a config names.

    Args:
        name: One of ``BUILT_IN``, or ``path/to/file.py:Class``.
        run_dir: The run's folder, which may hold a copy of that file.

    Raises:
        FieldError: When the file has no valid workload; the message says what it lacks.
    """
    path = class_path(name)
    return BUILT_IN[name] if path is None else load_workload(path, run_dir)


__all__ = ["BUILT_IN", "Score", "Workload", "check_kind", "find_workload"]

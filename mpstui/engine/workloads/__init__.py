"""The workloads: two by name, others from the user's file."""

from __future__ import annotations

from pathlib import Path

from mpstui.domain.class_path import class_path

from .contract import Score, Workload
from .custom import check_kind, load_items, load_workload
from .mnist import Mnist
from .vae import Vae

WORKLOADS: dict[str, Workload] = {"mnist": Mnist(), "vae": Vae()}


def find_workload(name: str, run_dir: Path) -> Workload:
    """The workload that a config names.

    Args:
        name: One of ``WORKLOADS``, or ``path/to/file.py:Class``.
        run_dir: The run's folder, which may hold a copy of that file.

    Raises:
        FieldError: When the file does not hold a workload; the message says what it lacks.
    """
    own = class_path(name)
    return WORKLOADS[name] if own is None else load_workload(own, run_dir)


__all__ = ["WORKLOADS", "Score", "Workload", "check_kind", "find_workload", "load_items"]

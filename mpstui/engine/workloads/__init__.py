"""The workloads: two built-in ones, and custom ones from the user's files."""

from __future__ import annotations

from pathlib import Path

from mpstui.domain.class_path import class_path
from mpstui.domain.config import RunConfig

from .contract import Score, Workload
from .custom import check_kind, load_workload
from .mnist import Mnist
from .vae import Vae

BUILT_IN: dict[str, Workload] = {"mnist": Mnist(), "vae": Vae()}


def find_workload(config: RunConfig, run_dir: Path) -> Workload:
    """Return the workload that a config names, with the config's settings.

    Args:
        config: Names one of ``BUILT_IN``, or ``path/to/file.py:Class``.
        run_dir: The run's folder, which may hold a copy of that file.

    Raises:
        FieldError: When the file has no valid workload, or a setting is not allowed; the message
            says what is wrong.
    """
    path = class_path(config.workload)
    return BUILT_IN[config.workload] if path is None else load_workload(path, run_dir, config)


__all__ = ["BUILT_IN", "Score", "Workload", "check_kind", "find_workload"]

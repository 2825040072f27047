"""The workloads: two built-in ones, and custom ones from the user's files."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

from mpstui.domain.class_path import class_path
from mpstui.domain.config import RunConfig
from mpstui.domain.errors import FieldError
from mpstui.domain.zoo import zoo_ref

from .contract import Score, Workload
from .custom import check_kind, load_workload
from .mnist import Mnist
from .vae import Vae

BUILT_IN: dict[str, Workload] = {"mnist": Mnist(), "vae": Vae()}


def find_workload(config: RunConfig, run_dir: Path) -> Workload:
    """Return the workload that a config names, with the config's settings.

    Args:
        config: Names one of ``BUILT_IN`` or of the zoo, or ``path/to/file.py:Class``.
        run_dir: The run's folder, which may hold a copy of that file.

    Raises:
        FieldError: When the file has no valid workload, or a setting is not allowed; the message
            says what is wrong.
    """
    path = class_path(config.workload)
    if path is None:
        return BUILT_IN[config.workload]
    reference = zoo_ref(config.workload)
    family = config.workload.partition(":")[0]
    if reference is not None and reference.model and find_spec(family) is None:
        raise FieldError("workload", f"{family} is not installed", f"pip install {family}")
    workload = load_workload(path, run_dir, config)
    if reference is not None and reference.model:
        vars(workload)["model_name"] = reference.model
    return workload


__all__ = ["BUILT_IN", "Score", "Workload", "check_kind", "find_workload"]

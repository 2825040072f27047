"""Where things live: the program's own folder, the runs in it, the data, the embedded subset."""

from __future__ import annotations

import os
from pathlib import Path

import platformdirs

HOME_VARIABLE = "MPSTUI_HOME"


def home() -> Path:
    """The program's folder: ``$MPSTUI_HOME``, else the system's place for a user's data."""
    told = os.environ.get(HOME_VARIABLE)
    return Path(told) if told else platformdirs.user_data_path("mpstui", appauthor=False)


def runs_dir() -> Path:
    """Where runs are kept unless told otherwise."""
    return home() / "runs"


def data_dir() -> Path:
    """The program's own data folder: where full MNIST is downloaded to by default."""
    return home() / "data"


def embedded_mnist() -> Path:
    """The folder of the embedded subset: inside the package, or beside it in a checkout."""
    package = Path(__file__).parents[1]
    inside = package / "assets" / "mnist-mini"
    return inside if inside.is_dir() else package.parent / "assets" / "mnist-mini"


def named_folder(folder: str) -> Path:
    """The data folder that a config names, absolute; the program's own when it names none."""
    return Path(os.path.abspath(os.path.expanduser(folder))) if folder else data_dir()

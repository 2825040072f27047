"""Locations of the program's folder, its runs, its data and the embedded subset."""

from __future__ import annotations

import os
from pathlib import Path

import platformdirs

HOME_VARIABLE = "MPSTUI_HOME"


def home() -> Path:
    """Return the program's folder: ``$MPSTUI_HOME``, else in the system's user data folder."""
    custom_home = os.environ.get(HOME_VARIABLE)
    return (
        Path(custom_home) if custom_home else platformdirs.user_data_path("mpstui", appauthor=False)
    )


def runs_dir() -> Path:
    """Return the default folder of the runs."""
    return home() / "runs"


def data_dir() -> Path:
    """Return the program's data folder, the default target for downloading MNIST."""
    return home() / "data"


def embedded_mnist() -> Path:
    """Return the folder of the embedded subset: in the package, or beside it in a checkout."""
    package = Path(__file__).parents[1]
    inside = package / "assets" / "mnist-mini"
    return inside if inside.is_dir() else package.parent / "assets" / "mnist-mini"


def named_folder(folder: str) -> Path:
    """Return a config's data folder as an absolute path; the program's own if empty."""
    return Path(os.path.abspath(os.path.expanduser(folder))) if folder else data_dir()


def current_folder() -> Path:
    """Return the current folder; the root of the file system if it was deleted."""
    try:
        return Path.cwd()
    except FileNotFoundError:
        return Path(os.sep)


def short_path(path: Path) -> str:
    """Return a path as shown: relative to the current folder if it is inside."""
    folder = current_folder()
    is_inside = folder in path.parents and folder != Path(folder.anchor)
    return str(path.relative_to(folder) if is_inside else path)

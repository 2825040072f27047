"""Makes the directory of a new run in one folder, and moves it to another when it is complete."""

from __future__ import annotations

import os
import shutil
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import NamedTuple

from mpstui.domain.config import RunConfig
from mpstui.domain.machine import Machine

from .files import persist, replace
from .rundir import RunDir


class NewRun(NamedTuple):
    """A run that is to be created."""

    name: str
    config: RunConfig
    files: dict[str, bytes]
    """The user's files by their paths in its folder."""

    def make(self, folder: Path, machine: Machine) -> None:
        """Write its directory into a folder.

        Raises:
            OSError: If it cannot be written.
        """
        run = RunDir(folder / self.name)
        run.path.mkdir()
        run.write_config(self.config)
        run.write_machine(machine)
        for file, content in self.files.items():
            replace(run.path / file, content, parents=True)


def move_all(source: Path, target: Path, names: Sequence[str]) -> list[RunDir]:
    """Move new runs to another folder, all of them or none.

    Raises:
        OSError: If one cannot be moved; then those before it are removed.
    """
    runs: list[RunDir] = []
    try:
        for name in names:
            persist(partial(os.rename, source / name, target / name))
            runs.append(RunDir(target / name))
    except BaseException:
        for run in runs:
            shutil.rmtree(run.path, ignore_errors=True)
        raise
    return runs

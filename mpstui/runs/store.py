"""The folder of all runs: create, list, find, select."""

from __future__ import annotations

import re
import secrets
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path

from mpstui.domain.class_path import class_path
from mpstui.domain.config import RunConfig
from mpstui.domain.devices import DeviceSpec, fault_file
from mpstui.domain.errors import FieldError, LogError, RunNotFound
from mpstui.domain.machine import Machine

from .class_source import FAULT, WORKLOAD, read_file
from .dataset import check_data
from .files import replace
from .rundir import RunDir

TRASH = ".trash"
"""The folder of deleted runs, inside the folder of all runs."""

SLUG = 24
"""Characters of a fault's file and class that go into a run's id."""

_COMPARISON = re.compile(r"\d{8}-\d{6}-[a-z0-9]+-[0-9a-f]{4}")
"""What ``create`` calls a comparison. Any other word is a run's id or a part of one."""


class RunStore:
    """Runs below one folder, each in a directory of its own."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def create(
        self,
        config: RunConfig,
        specs: Sequence[DeviceSpec],
        machine: Machine,
        now: datetime,
        old: RunDir | None = None,
    ) -> list[RunDir]:
        """Make the directories of a run, or of a comparison's runs, in the order of the specs.

        Files that a workload or a fault comes from are copied into the runs, which thereby can be
        made again.

        Args:
            config: What is asked, but for the device.
            specs: The devices.
            machine: Where it runs.
            now: Names the runs.
            old: A run whose copies of such files are taken instead of the files themselves.

        Raises:
            FieldError: When the config does not go with one of the specs, a file cannot be read,
                the data folder holds no data, or there is no making folders at that place; nothing
                was made then.
        """
        kept = [own_files(config, spec, old) for spec in specs]
        if old is None:
            check_data(config)
        group = f"{now:%Y%m%d-%H%M%S}-{_word(config.workload)}-{secrets.token_hex(2)}"
        configs = [config.on(spec, group if len(specs) > 1 else "") for spec in specs]
        made, digits = [], len(str(len(specs)))
        for place, (one, files) in enumerate(zip(configs, kept, strict=True), 1):
            slug = _slug(one.spec)
            # The place keeps a comparison's runs in the order in which they were asked for.
            run = RunDir(
                self.root
                / (f"{group}-{place:0{digits}}-{slug}" if one.comparison else f"{group}-{slug}")
            )
            try:
                run.path.mkdir(parents=True)
            except OSError as error:
                problem = f"{self.root}: {error.strerror}"
                raise FieldError("runs_dir", problem, "a folder that can be written") from error
            run.write_config(one)
            run.write_machine(machine)
            for name, text in files.items():
                replace(run.path / name, text)
            made.append(run)
        return made

    def all(self) -> list[RunDir]:
        """Every run, the newest first."""
        if not self.root.is_dir():
            return []
        found = [
            path
            for path in self.root.iterdir()
            if not path.name.startswith(".") and (path / "config.toml").is_file()
        ]
        return [RunDir(path) for path in sorted(found, key=lambda path: path.name, reverse=True)]

    def newest_group(self) -> list[RunDir]:
        """The newest run, or all runs of the newest comparison, in their order.

        Runs whose config cannot be read are passed over; ``RunView`` tells what is wrong with them.
        """
        runs = self.all()
        for newest in runs:
            try:
                return self.group(newest)
            except LogError:
                continue
        return []

    def group(self, run: RunDir) -> list[RunDir]:
        """All runs of a run's comparison that are there, in their order; a single run alone.

        Raises:
            LogError: When the run's config cannot be read; the message names it.
        """
        name = run.config().comparison
        others = self._comparison(name) if name else []
        # A folder that was renamed is none of theirs, whatever its config says.
        return others if any(other.id == run.id for other in others) else [run]

    def _comparison(self, name: str) -> list[RunDir]:
        return [run for run in reversed(self.all()) if run.id.startswith(f"{name}-")]

    def select(self, texts: Sequence[str]) -> list[RunDir]:
        """The runs that some words name, each once, in the order of the words.

        Args:
            texts: Each a run's id, a part that only one run has, or the id of a comparison, which
                stands for all of its runs.

        Raises:
            RunNotFound: When a word names none or, as a part, several; the message names them.
        """
        found: dict[str, RunDir] = {}
        for text in texts:
            named = self._comparison(text) if _COMPARISON.fullmatch(text) else []
            found.update((run.id, run) for run in named or [self.find(text)])
        return list(found.values())

    def find(self, text: str) -> RunDir:
        """The run whose id is this, or the only one that holds it.

        Raises:
            RunNotFound: When none or several do; the message names them.
        """
        runs = self.all()
        for run in runs:
            if run.id == text:
                return run
        matches = [run for run in runs if text in run.id]
        if len(matches) == 1:
            return matches[0]
        if not matches:
            lists = "mpstui runs restore" if self.root.name == TRASH else "mpstui runs"
            raise RunNotFound(f"no run in {self.root} is called {text!r}; `{lists}` lists them")
        several = ", ".join(run.id for run in matches[:5])
        raise RunNotFound(f"{len(matches)} runs hold {text!r}: {several}; give more of the id")


def _slug(spec: DeviceSpec) -> str:
    """A spec as a part of a run's id; of a fault's file its name alone, without its folders."""
    text, value = str(spec), spec.option("fault") or ""
    if (named := fault_file(value)) is not None:
        stem = re.split(r"[/\\]", named[0])[-1].removesuffix(".py")
        text = text.replace(value, f"{stem[:SLUG]}-{named[1][:SLUG]}")
    return re.sub("[^a-z0-9]+", "-", text.lower()).strip("-")


def _word(workload: str) -> str:
    """A workload as a part of a run's id: of an own one its class, in plain letters."""
    own = class_path(workload)
    name = workload if own is None else own.name[:SLUG]
    return re.sub("[^a-z0-9]+", "", name.lower()) or "own"


def own_files(config: RunConfig, spec: DeviceSpec, old: RunDir | None = None) -> dict[str, bytes]:
    """The texts of a person's own files that a run is made from, by the names of their copies.

    Args:
        config: Names the workload.
        spec: Names the fault, if any.
        old: A run whose copies are read where it has them.

    Raises:
        FieldError: When a file cannot be read.
    """
    named = (
        (WORKLOAD, class_path(config.workload), "workload"),
        (FAULT, fault_file(spec.option("fault") or ""), "fault"),
    )
    files = {}
    for role, file, kept in named:
        if file is not None:
            copy: Path | None = getattr(old, kept, None)
            files[f"{kept}.py"] = read_file(role, file, copy)
    return files

"""Creates, lists and finds runs in the folder of all runs."""

from __future__ import annotations

import os
import re
import secrets
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path

from msgspec.structs import replace as replace_fields

from mpstui.domain.class_path import class_path
from mpstui.domain.config import RunConfig
from mpstui.domain.devices import DeviceSpec, device_label, fault_file
from mpstui.domain.errors import FieldError, LogError, RunNotFound
from mpstui.domain.machine import Machine
from mpstui.domain.script_ref import script_ref

from .class_source import FAULT, read_file
from .dataset import check_data
from .files import replace
from .own_code import read_code
from .own_settings import own_settings
from .rundir import RunDir
from .workload_path import absolute_workload

TRASH = ".trash"
"""The folder of deleted runs, inside the folder of all runs."""

SLUG = 24
"""Characters of a fault's file and class, and of a setting, that go into a run's id."""

_COMPARISON = re.compile(r"\d{8}-\d{6}-[a-z0-9]+-[0-9a-f]{4}")
"""A comparison's id, as made by ``create``. Any other text is a run's id or a part of one."""


class RunStore:
    """The runs in a folder, each in its own directory."""

    def __init__(self, root: Path) -> None:
        self.root = Path(os.path.abspath(root))
        """Absolute, since a run's process works in the user's folder."""

    def create(
        self,
        config: RunConfig,
        specs: Sequence[DeviceSpec],
        machine: Machine,
        now: datetime,
        earlier: RunDir | None = None,
        mended: bool = False,
    ) -> list[RunDir]:
        """Create the directories of a run, or of a comparison's runs, in the order of the specs.

        The user's files with a workload or a fault, and the modules that a workload imports from
        its folder, are copied into the runs, so that they can be reproduced. The configs name the
        workload's file by its absolute path.

        Args:
            config: The configuration, except for the device.
            specs: The devices.
            machine: The machine that it runs on.
            now: The time for the runs' ids.
            earlier: A run whose copies of such files are used instead of the files themselves.
            mended: Whether the workload's file is read again nevertheless.

        Raises:
            FieldError: If the config is incompatible with a spec, a file cannot be read,
                the data folder has no data, or folders cannot be created; then nothing
                is created.
        """
        if earlier is None or mended:
            config = replace_fields(config, workload=absolute_workload(config.workload))
        copied_files = [read_own_files(config, spec, earlier, mended) for spec in specs]
        if earlier is None:
            check_data(config)
        group = f"{now:%Y%m%d-%H%M%S}-{_workload_slug(config.workload)}-{secrets.token_hex(2)}"
        own = own_settings(config.workload, None if earlier is None else earlier.workload)
        configs = [config.on(spec, group if len(specs) > 1 else "", own) for spec in specs]
        runs, digits = [], len(str(len(specs)))
        for index, (run_config, files) in enumerate(zip(configs, copied_files, strict=True), 1):
            slug = _slug(run_config.spec)
            # The index sorts a comparison's runs in the order of the specs.
            number = f"-{index:0{digits}}" if run_config.comparison else ""
            run = self._make(f"{group}{number}-{slug}")
            run.write_config(run_config)
            run.write_machine(machine)
            for name, text in files.items():
                replace(run.path / name, text)
            runs.append(run)
        return runs

    def create_recorded(
        self,
        config: RunConfig,
        rank: int,
        machine: Machine,
        now: datetime,
        token: str | None = None,
    ) -> RunDir:
        """Create the directory of recorded code, which may be one of several ranks.

        Args:
            config: The configuration, with the number of ranks; 1 for an ordinary run.
            rank: The process's number, counted from 0.
            machine: The machine that it runs on.
            now: The time for the run's id; the same for all ranks.
            token: Four hexadecimal digits for the id, the same for all ranks; None for random ones.

        Raises:
            FieldError: If the directory cannot be created.
        """
        token = token or secrets.token_hex(2)
        group = f"{now:%Y%m%d-%H%M%S}-{_workload_slug(config.workload)}-{token}"
        name = f"{group}-run"
        if config.ranks > 1:
            name = rank_run(group, rank, config.ranks)
            config = replace_fields(config, comparison=group, rank=rank)
        run = self._make(name)
        run.write_config(config)
        run.write_machine(machine)
        return run

    def _make(self, name: str) -> RunDir:
        run = RunDir(self.root / name)
        try:
            run.path.mkdir(parents=True)
        except OSError as error:
            problem = f"{self.root}: {error.strerror}"
            raise FieldError("runs_dir", problem, "a writable folder") from error
        return run

    def all(self) -> list[RunDir]:
        """Return all runs, newest first."""
        if not self.root.is_dir():
            return []
        paths = [
            path
            for path in self.root.iterdir()
            if not path.name.startswith(".") and (path / "config.toml").is_file()
        ]
        return [RunDir(path) for path in sorted(paths, key=lambda path: path.name, reverse=True)]

    def newest_group(self) -> list[RunDir]:
        """Return the newest run, or all runs of the newest comparison, in their order.

        Runs with an unreadable config are skipped; ``RunView`` reports their errors.
        """
        runs = self.all()
        for newest in runs:
            try:
                return self.group(newest)
            except LogError:
                continue
        return []

    def group(self, run: RunDir) -> list[RunDir]:
        """Return the existing runs of a run's comparison, in their order; or just the run.

        Raises:
            LogError: If the run's config cannot be read; the message names it.
        """
        name = run.config().comparison
        group = self._comparison(name) if name else []
        # A renamed folder does not belong to the comparison, whatever its config says.
        return group if any(member.id == run.id for member in group) else [run]

    def _comparison(self, name: str) -> list[RunDir]:
        return [run for run in reversed(self.all()) if run.id.startswith(f"{name}-")]

    def select(self, texts: Sequence[str]) -> list[RunDir]:
        """Return the runs that texts refer to, in this order, without duplicates.

        Args:
            texts: Each is a run's id, a unique part of it, or a comparison's id, which selects all
                of its runs.

        Raises:
            RunNotFound: If a text matches no run or, as a part, several; the message names them.
        """
        selected: dict[str, RunDir] = {}
        for text in texts:
            comparison_runs = self._comparison(text) if _COMPARISON.fullmatch(text) else []
            selected.update((run.id, run) for run in comparison_runs or [self.find(text)])
        return list(selected.values())

    def find(self, text: str) -> RunDir:
        """Return the run with this id, or the only one whose id contains it.

        Raises:
            RunNotFound: If none or several match; the message names them.
        """
        runs = self.all()
        for run in runs:
            if run.id == text:
                return run
        matches = [run for run in runs if text in run.id]
        if len(matches) == 1:
            return matches[0]
        if not matches:
            command = "mpstui runs restore" if self.root.name == TRASH else "mpstui runs"
            raise RunNotFound(f"no run in {self.root} is called {text!r}; `{command}` lists them")
        some_ids = ", ".join(run.id for run in matches[:5])
        raise RunNotFound(
            f"{len(matches)} runs match {text!r}: {some_ids}; use a longer part of the id"
        )


def rank_run(group: str, rank: int, ranks: int) -> str:
    """Return the id of a rank's run.

    Args:
        group: The id that all ranks share.
        rank: The process's number, counted from 0.
        ranks: Processes that train together; the number in the id sorts them.
    """
    return f"{group}-{rank + 1:0{len(str(ranks))}}-rank{rank}"


def _slug(spec: DeviceSpec) -> str:
    """Return a spec for use in a run's id; a fault's file appears without its folders."""
    values = {name: value[:SLUG] for name, value in spec.settings.items()}
    text, value = device_label(str(spec.with_settings(values))), spec.option("fault") or ""
    if (class_ref := fault_file(value)) is not None:
        stem = re.split(r"[/\\]", class_ref[0])[-1].removesuffix(".py")
        text = text.replace(value, f"{stem[:SLUG]}-{class_ref[1][:SLUG]}")
    return re.sub("[^a-z0-9]+", "-", text.lower()).strip("-")


def _workload_slug(workload: str) -> str:
    """Return a workload for use in a run's id: a user's by its class or file, in plain letters."""
    class_ref, recorded = class_path(workload), script_ref(workload)
    name = workload if class_ref is None else class_ref.name[:SLUG]
    if recorded is not None:
        name = recorded.title.removeprefix("-m ").removesuffix(".py")[:SLUG]
    return re.sub("[^a-z0-9]+", "", name.lower()) or "own"


def read_own_files(
    config: RunConfig, spec: DeviceSpec, earlier: RunDir | None = None, mended: bool = False
) -> dict[str, bytes]:
    """Read the user's files that a run uses, keyed by the paths of their copies in its folder.

    Args:
        config: Names the workload.
        spec: Names the fault, if any.
        earlier: A run whose copies are read if it has them.
        mended: Whether the workload is read from its file nevertheless.

    Raises:
        FieldError: If a file cannot be read.
    """
    files: dict[str, bytes] = {}
    if (workload := class_path(config.workload)) is not None:
        files |= read_code(workload, earlier, mended)
    if (fault := fault_file(spec.option("fault") or "")) is not None:
        files["fault.py"] = read_file(FAULT, fault, earlier.fault if earlier else None)
    return files

"""Creates, lists and finds runs in the folder of all runs."""

from __future__ import annotations

import os
import re
import secrets
import shutil
from collections.abc import Callable, Sequence
from datetime import datetime
from pathlib import Path

from msgspec.structs import replace as replace_fields

from mpstui.domain.class_path import class_path
from mpstui.domain.config import RunConfig
from mpstui.domain.devices import DeviceSpec, device_label, fault_file
from mpstui.domain.errors import FieldError, LogError, RunNotFound
from mpstui.domain.machine import Machine
from mpstui.domain.script_ref import script_ref
from mpstui.domain.zoo import zoo_ref

from .class_source import FAULT, read_file
from .dataset import check_data
from .new_run import NewRun, move_all
from .own_code import read_code
from .own_settings import own_settings
from .rundir import RunDir
from .workload_path import absolute_workload

TRASH = ".trash"
"""The folder of deleted runs, inside the folder of all runs."""

SLUG = 24
"""Characters of a fault's file and class, and of a setting, that go into a run's id."""

SPEC_SLUG = 120
"""Characters of a whole spec that go into a run's id: file systems allow 255 for a name."""

DRAWS = 100
"""Ids that are tried before giving up: of a thousand runs in a second, each is free at 98 %."""

_RUN_ID = re.compile(r"\d{8}-\d{6}-[a-z0-9]+-[0-9a-f]{4}-.+")
"""A run's id, as made by ``create``; a user may rename the folder."""

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
        own = own_settings(config.workload, None if earlier is None else earlier.workload)

        def new_runs(group: str) -> list[NewRun]:
            comparison, digits = group if len(specs) > 1 else "", len(str(len(specs)))
            configs = [config.on(spec, comparison, own) for spec in specs]
            # The index sorts a comparison's runs in the order of the specs.
            numbers = [f"-{n:0{digits}}" if comparison else "" for n in range(1, len(specs) + 1)]
            return [
                NewRun(f"{group}{number}-{_slug(run_config.spec)}", run_config, files)
                for number, run_config, files in zip(numbers, configs, copied_files, strict=True)
            ]

        return self._create(config.workload, machine, now, new_runs)

    def create_ranks(self, config: RunConfig, machine: Machine, now: datetime) -> list[RunDir]:
        """Create the directory of recorded code, or one for each of its ranks, in their order.

        Args:
            config: The configuration, with the number of ranks; 1 for an ordinary run.
            machine: The machine that it runs on.
            now: The time for the runs' ids.

        Raises:
            FieldError: If the directories cannot be created; then none is.
        """

        def new_runs(group: str) -> list[NewRun]:
            return [_recorded_run(config, rank, group) for rank in range(config.ranks)]

        return self._create(config.workload, machine, now, new_runs)

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
        if token is None:
            return self.create_ranks(config, machine, now)[rank]
        # The other ranks make theirs, with the same digits, at this moment.
        run = _recorded_run(config, rank, _group(config.workload, now, token))
        created = self._claim(run.name, [run], machine)
        if created is None:
            problem = f"{self.root / run.name} exists already"
            raise FieldError("runs_dir", problem, "another start, or another folder")
        return created[0]

    def _create(
        self,
        workload: str,
        machine: Machine,
        now: datetime,
        new_runs: Callable[[str], list[NewRun]],
    ) -> list[RunDir]:
        """Create runs under an id that no other one has, here or in the trash."""
        for _ in range(DRAWS):
            group = _group(workload, now, secrets.token_hex(2))
            runs = self._claim(group, new_runs(group), machine)
            if runs is not None:
                return runs
        problem = f"{self.root}: none of {DRAWS} ids for a new run is free"
        raise FieldError("runs_dir", problem, "a folder with fewer runs of this second")

    def _claim(
        self, prefix: str, new_runs: Sequence[NewRun], machine: Machine
    ) -> list[RunDir] | None:
        """Create runs, all of them or none; None if another run's id begins like theirs.

        They are made in a hidden folder, which only one process can create, and then moved to their
        places. So no reader sees half a run, and two starts never share an id.
        """
        hidden = self.root / f".new-{prefix}"
        try:
            self.root.mkdir(parents=True, exist_ok=True)
            try:
                hidden.mkdir()
            except FileExistsError:
                return None
            try:
                if self._is_taken(prefix):
                    return None
                for new_run in new_runs:
                    new_run.make(hidden, machine)
                return move_all(hidden, self.root, [new_run.name for new_run in new_runs])
            finally:
                shutil.rmtree(hidden, ignore_errors=True)
        except OSError as error:
            problem = f"{self.root}: {error.strerror or error}"
            raise FieldError("runs_dir", problem, "a writable folder") from error

    def _is_taken(self, prefix: str) -> bool:
        """Return whether a run has this id, or one that begins with it."""
        for folder in (self.root, self.root / TRASH):
            names = os.listdir(folder) if os.path.isdir(folder) else []
            if any(name == prefix or name.startswith(f"{prefix}-") for name in names):
                return True
        return False

    def all(self) -> list[RunDir]:
        """Return all runs, newest first; damaged ones too.

        Raises:
            LogError: If the folder cannot be read.
        """
        try:
            names = os.listdir(self.root)
        except (FileNotFoundError, NotADirectoryError, ValueError):
            return []
        except OSError as error:
            problem = f"{self.root}: {error.strerror or error}; allowed: a folder that can be read"
            raise LogError(problem) from error
        runs = [RunDir(self.root / name) for name in names if not name.startswith(".")]
        return sorted(filter(_is_run, runs), key=lambda run: run.id, reverse=True)

    def newest_group(self) -> list[RunDir]:
        """Return the newest run, or all runs of the newest comparison, in their order.

        Runs with an unreadable config are skipped; ``RunView`` reports their errors.
        """
        try:
            runs = self.all()
        except LogError:
            return []
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
        if not text.strip():  # it is a part of every id
            allowed = "a run's id, or a unique part of it"
            raise RunNotFound(f"{text!r} names no run; allowed: {allowed}")
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


def _is_run(run: RunDir) -> bool:
    """Return whether a folder is a run, however damaged; else it is something of the user's."""
    if any(os.path.lexists(path) for path in (run.path / "config.toml", run.events)):
        return True
    is_shut = os.path.isdir(run.path) and not os.access(run.path, os.X_OK)
    return is_shut and _RUN_ID.fullmatch(run.id) is not None


def _group(workload: str, now: datetime, token: str) -> str:
    return f"{now:%Y%m%d-%H%M%S}-{_workload_slug(workload)}-{token}"


def _recorded_run(config: RunConfig, rank: int, group: str) -> NewRun:
    name = f"{group}-run"
    if config.ranks > 1:
        name = rank_run(group, rank, config.ranks)
        config = replace_fields(config, comparison=group, rank=rank)
    return NewRun(name, config, {})


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
    return re.sub("[^a-z0-9]+", "-", text.lower())[:SPEC_SLUG].strip("-")


def _workload_slug(workload: str) -> str:
    """Return a workload for use in a run's id: a user's by its class or file, in plain letters."""
    class_ref, recorded = class_path(workload), script_ref(workload)
    is_named = class_ref is None or zoo_ref(workload) is not None
    name = workload if is_named else class_ref.name[:SLUG]  # type: ignore[union-attr]
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

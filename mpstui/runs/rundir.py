"""One run's directory: its files, and whether somebody is still at work on it."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import msgspec
import psutil

from mpstui.domain.config import RunConfig, make_config
from mpstui.domain.errors import FieldError, LogError
from mpstui.domain.investigation import Investigation
from mpstui.domain.machine import Machine
from mpstui.domain.summary import RunSummary, read_summary

from .control import Control, Wish
from .files import read_json, replace, write_json

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib


class SupervisorProcess(msgspec.Struct, frozen=True, kw_only=True):
    """keeper.json: the process that looks after the run's worker."""

    pid: int
    created: float
    """Its start, Unix time in seconds: a reused pid is told apart by it."""


class Exit(msgspec.Struct, frozen=True, kw_only=True):
    """exit.json: how the worker ended, as its keeper saw it."""

    code: int
    """The exit status; −n when signal n ended it."""
    killed: bool = False
    """A person asked for it."""


class Dataset(msgspec.Struct, frozen=True, kw_only=True):
    """dataset.json: which data was decided on before the workers started."""

    source: str
    """``mnist`` or ``embedded``; ``own`` for a workload that brings its own."""
    folder: str = ""
    """The absolute folder that holds MNIST's files. Older runs have it in their config only."""
    reason: str = ""
    """Of older runs: why they were trained on the embedded digits."""
    error: str = ""
    """Why there is no data at all, when there is none."""


class Resumed(msgspec.Struct, frozen=True, kw_only=True):
    """resumed.json: the run that this one goes on from."""

    run: str
    """Its id."""
    step: int
    """The last step that was done there; its snapshot lies in ``checkpoints``."""
    epoch: int
    """Of the next batch, or of an evaluation that was still due."""


_SNAPSHOT = re.compile(r"step-([0-9]{6,})\.pt")


class RunDir:
    """Paths and contents of a run's directory."""

    def __init__(self, path: Path) -> None:
        self.path = path

    @property
    def id(self) -> str:
        """The run's id: its directory's name."""
        return self.path.name

    @property
    def events(self) -> Path:
        """The log."""
        return self.path / "events.jsonl"

    @property
    def worker_log(self) -> Path:
        """What the worker wrote to stderr."""
        return self.path / "worker.log"

    @property
    def fault(self) -> Path:
        """The copy of the file that a simulated fault comes from, where there is one."""
        return self.path / "fault.py"

    @property
    def workload(self) -> Path:
        """The copy of the file that an own workload comes from, where there is one."""
        return self.path / "workload.py"

    def snapshot(self, step: int) -> Path:
        """Where the state after a step is kept."""
        return self.path / "checkpoints" / f"step-{step:06}.pt"

    def snapshots(self) -> list[tuple[int, Path]]:
        """The steps whose state is kept, each with its file; ascending."""
        folder = self.path / "checkpoints"
        files = folder.iterdir() if folder.is_dir() else ()
        named = ((_SNAPSHOT.fullmatch(path.name), path) for path in files)
        return sorted((int(match[1]), path) for match, path in named if match)

    def config(self) -> RunConfig:
        """What was asked.

        Raises:
            LogError: When config.toml is missing or not one of ours; the message names it.
        """
        path = self.path / "config.toml"
        try:
            return make_config(tomllib.loads(path.read_text(encoding="utf-8")))
        except FileNotFoundError:
            raise LogError(f"{path}: missing; allowed: a run's directory") from None
        except (ValueError, FieldError) as error:  # TOML's and UTF-8's errors are ValueErrors
            raise LogError(f"{path}: {error}") from error

    def write_config(self, config: RunConfig) -> None:
        """Write config.toml."""
        replace(self.path / "config.toml", config_toml(config))

    def machine(self) -> Machine | None:
        """Where it ran."""
        return read_json(self.path / "machine.json", Machine)

    def write_machine(self, machine: Machine) -> None:
        """Write machine.json."""
        write_json(self.path / "machine.json", machine)

    def wish(self) -> Wish:
        """What a person asks for now. A file that cannot be read asks for nothing."""
        try:
            control = read_json(self.path / "control.json", Control)
        except LogError:  # no reason to end a run that trains well
            control = None
        return (control or Control()).wish

    def ask(self, wish: Wish) -> None:
        """Ask for something: the worker obeys within a tenth of a second or a step."""
        write_json(self.path / "control.json", Control(wish=wish))

    def summary(self) -> RunSummary | None:
        """The end's numbers, once there is an end.

        Raises:
            LogError: When the file holds something else; the message names it.
        """
        path = self.path / "summary.json"
        document = read_json(path, dict[str, object])
        try:
            return None if document is None else read_summary(document)
        except msgspec.ValidationError as error:
            raise LogError(f"{path}: {error}") from error

    def write_summary(self, summary: RunSummary) -> None:
        """Write summary.json."""
        write_json(self.path / "summary.json", summary)

    def dataset(self) -> Dataset | None:
        """Which data was decided on."""
        return read_json(self.path / "dataset.json", Dataset)

    def write_dataset(self, dataset: Dataset) -> None:
        """Write dataset.json."""
        write_json(self.path / "dataset.json", dataset)

    def resumed(self) -> Resumed | None:
        """Which run this one goes on from."""
        return read_json(self.path / "resumed.json", Resumed)

    def write_resumed(self, resumed: Resumed) -> None:
        """Write resumed.json."""
        write_json(self.path / "resumed.json", resumed)

    def exit(self) -> Exit | None:
        """How the worker ended."""
        return read_json(self.path / "exit.json", Exit)

    def write_exit(self, exit: Exit) -> None:
        """Write exit.json."""
        write_json(self.path / "exit.json", exit)

    def keep(self, pid: int) -> None:
        """Write down which process looks after this run."""
        keeper = SupervisorProcess(pid=pid, created=psutil.Process(pid).create_time())
        write_json(self.path / "keeper.json", keeper)

    def kept(self) -> bool:
        """Whether that process is alive."""
        keeper = read_json(self.path / "keeper.json", SupervisorProcess)
        if keeper is None:
            return False
        try:
            process = psutil.Process(keeper.pid)
            # A zombie is what a dead keeper is until whoever launched it has looked.
            alive = process.status() != psutil.STATUS_ZOMBIE
            return alive and abs(process.create_time() - keeper.created) < 1.0
        except psutil.NoSuchProcess:
            return False

    def investigation(self, folder: Path) -> Investigation | None:
        """What an investigation of this run ended with, from its folder; None without an end.

        Raises:
            LogError: When the file holds something else; the message names it.
        """
        return read_json(folder / "investigation.json", Investigation)

    def last_words(self, lines: int = 5) -> str:
        """The end of worker.log."""
        try:
            text = self.worker_log.read_text(encoding="utf-8", errors="replace")
        except FileNotFoundError:
            return ""
        return "\n".join(text.rstrip().splitlines()[-lines:])


def config_toml(config: RunConfig) -> bytes:
    """A config as TOML; fields that are not set are left out."""
    import tomli_w

    values = {
        name: value for name, value in msgspec.structs.asdict(config).items() if value is not None
    }
    return tomli_w.dumps(values).encode()

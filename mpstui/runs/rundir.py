"""A run's directory: its files, and whether its supervisor is still alive."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Annotated, TypeVar

import msgspec

from mpstui.domain.bounds import Step
from mpstui.domain.config import SETTINGS, RunConfig, make_config, upgrade_settings
from mpstui.domain.errors import FieldError, LogError
from mpstui.domain.investigation import Investigation
from mpstui.domain.machine import Machine
from mpstui.domain.summary import RunSummary, read_summary
from mpstui.processes.identity import Presence, ProcessIdentity, identify

from .control import Control, Request, write_control
from .disk_space import Reserve
from .files import (
    TEXT_BYTES,
    load,
    open_file,
    read_bytes,
    read_json,
    read_text,
    read_toml,
    remove_unfinished,
    replace,
    write_json,
)
from .script_command import ScriptCommand

T = TypeVar("T")

LOG_TAIL_BYTES = 64 << 10
"""Bytes of worker.log that its last lines are looked for in."""


KILLED = -9
"""Exit status of a process that SIGKILL ended; on Windows too, where it is only a mark."""


class Exit(msgspec.Struct, frozen=True, kw_only=True):
    """exit.json: how the worker ended, recorded by its supervisor."""

    code: Annotated[int, msgspec.Meta(ge=-(2**31), le=2**32)]
    """The exit status; −n if signal n ended it."""
    killed: bool = False
    """Whether the user requested it."""

    @property
    def status(self) -> int:
        """The exit status as a shell reports it: 128 + n for signal n."""
        return self.code if self.code >= 0 else 128 - self.code


class Dataset(msgspec.Struct, frozen=True, kw_only=True):
    """dataset.json: the data chosen before the workers started."""

    source: str
    """``mnist`` or ``embedded``; ``own`` for a workload that brings its own."""
    folder: str = ""
    """The absolute path of MNIST's folder. Older runs have it only in their config."""
    reason: str = ""
    """In older runs: why they were trained on the embedded digits."""
    error: str = ""
    """Why there is no data; empty if there is."""


class Resumed(msgspec.Struct, frozen=True, kw_only=True):
    """resumed.json: the run that this one resumes."""

    run: str
    """Its id."""
    step: Step
    """The last step that it takes over; the step's snapshot is in ``checkpoints``."""
    epoch: Step
    """Epoch of the next batch, or of an evaluation that is still due."""
    replaced: str = ""
    """A note if a mended file replaces the earlier run's; else empty."""


_SNAPSHOT = re.compile(r"step-([0-9]{6,15})\.pt")


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
        """The worker's stderr output."""
        return self.path / "worker.log"

    @property
    def fault(self) -> Path:
        """The copy of the user's file with the simulated fault, if there is one."""
        return self.path / "fault.py"

    @property
    def workload(self) -> Path:
        """The copy of the user's file with the workload, if there is one."""
        return self.path / "workload.py"

    def snapshot(self, step: int) -> Path:
        """Return the path of the snapshot after a step."""
        return self.path / "checkpoints" / f"step-{step:06}.pt"

    def snapshots(self) -> list[tuple[int, Path]]:
        """Return the steps with a snapshot and their files, in ascending order."""
        folder = self.path / "checkpoints"
        try:
            names = os.listdir(folder)
        except OSError:
            return []
        matches = ((_SNAPSHOT.fullmatch(name), folder / name) for name in names)
        return sorted((int(match[1]), path) for match, path in matches if match)

    def config(self) -> RunConfig:
        """Read config.toml.

        Raises:
            LogError: If config.toml is missing or invalid; the message names it.
        """
        path = self.path / "config.toml"
        values = read_toml(path, within=self.path)
        if values is None:
            raise LogError(f"{path}: missing; allowed: a run's directory")
        try:
            return make_config(upgrade_settings(values))
        except FieldError as error:
            raise LogError(f"{path}: {error}") from error

    def write_config(self, config: RunConfig) -> None:
        """Write config.toml."""
        replace(self.path / "config.toml", config_toml(config))

    def machine(self) -> Machine | None:
        """Read machine.json, which describes the machine that the run used."""
        return self._json("machine.json", Machine)

    def write_machine(self, machine: Machine) -> None:
        """Write machine.json."""
        write_json(self.path / "machine.json", machine)

    def request(self) -> Request:
        """Read the user's current request. An unreadable file counts as none."""
        try:
            control = self._json("control.json", Control)
        except LogError:  # no reason to stop a working run
            control = None
        return (control or Control()).request

    def write_request(self, request: Request) -> None:
        """Write a request; the worker follows it within a tenth of a second or a step.

        Raises:
            OSError: If the file cannot be written. A full disk is no such reason.
        """
        write_control(self.path / "control.json", Control(request=request))

    def summary(self) -> RunSummary | None:
        """Read the summary; None before the run has ended. Its id is the folder's name.

        Raises:
            LogError: When the file holds something else; the message names it.
        """
        path = self.path / "summary.json"

        def decode(content: bytes) -> RunSummary:
            document = msgspec.json.decode(content, type=dict[str, object])
            return read_summary({**document, "run_id": self.id})

        return load(path, decode, within=self.path)

    def write_summary(self, summary: RunSummary) -> None:
        """Write summary.json."""
        write_json(self.path / "summary.json", summary)

    def dataset(self) -> Dataset | None:
        """Read dataset.json: the chosen data."""
        return self._json("dataset.json", Dataset)

    def write_dataset(self, dataset: Dataset) -> None:
        """Write dataset.json."""
        write_json(self.path / "dataset.json", dataset)

    def resumed(self) -> Resumed | None:
        """Read resumed.json: the run that this one resumes."""
        return self._json("resumed.json", Resumed)

    def write_resumed(self, resumed: Resumed) -> None:
        """Write resumed.json."""
        write_json(self.path / "resumed.json", resumed)

    def script(self) -> ScriptCommand | None:
        """Read script.json: how recorded code of the user's is started; None for other runs."""
        return self._json("script.json", ScriptCommand)

    def write_script(self, command: ScriptCommand) -> None:
        """Write script.json."""
        write_json(self.path / "script.json", command)

    def exit(self) -> Exit | None:
        """Read exit.json: how the worker ended."""
        return self._json("exit.json", Exit)

    def write_exit(self, exit: Exit) -> None:
        """Write exit.json."""
        write_json(self.path / "exit.json", exit)

    def record_supervisor(self, pid: int) -> None:
        """Record the process that supervises this run, in supervisor.json.

        From then on requests have their space: control.json exists.
        """
        write_json(self.path / "supervisor.json", identify(pid))
        if not (self.path / "control.json").exists():
            self.write_request("run")

    def forget_supervisor(self) -> None:
        """Remove supervisor.json: no process supervises this run any more."""
        (self.path / "supervisor.json").unlink(missing_ok=True)

    def clear(self) -> None:
        """Remove what a worker that was killed leaves: half-written files and reserved space."""
        Reserve(self.path).release()
        for folder in (self.path, self.path / "checkpoints"):
            remove_unfinished(folder)

    def record_worker(self, pid: int) -> None:
        """Record the process that trains, in worker.json."""
        write_json(self.path / "worker.json", identify(pid))

    def supervisor(self) -> ProcessIdentity | None:
        """Read supervisor.json: the process that supervises the run's worker."""
        return self._json("supervisor.json", ProcessIdentity) or self._json(
            "keeper.json", ProcessIdentity
        )  # the file's name in earlier versions

    def worker(self) -> ProcessIdentity | None:
        """Read worker.json: the process that trains; None before it starts, and in older runs."""
        return self._json("worker.json", ProcessIdentity)

    def presence(self) -> Presence:
        """Return whether the run's processes exist: its supervisor's, else its worker's.

        A run that was never started has none.

        Raises:
            LogError: If supervisor.json or worker.json is damaged; the message names it.
        """
        processes = (self.supervisor(), self.worker())
        presences = {process.presence for process in processes if process is not None}
        for presence in (Presence.ALIVE, Presence.ELSEWHERE):
            if presence in presences:
                return presence
        return Presence.ENDED

    def place(self) -> str:
        """Return in words where a run's processes are that this machine cannot see."""
        process = self.worker() or self.supervisor()
        host = f", {process.host}" if process is not None and process.host else ""
        return f"another machine or container{host}"

    def supervisor_alive(self) -> bool:
        """Return whether the run's supervisor exists on this machine."""
        supervisor = self.supervisor()
        return supervisor is not None and supervisor.presence is Presence.ALIVE

    def is_under_way(self) -> bool:
        """Return whether the run may still train: it has no recorded exit, and a process.

        A process on another machine counts, since nothing here shows its end.
        """
        return self.exit() is None and self.presence() is not Presence.ENDED

    def investigations(self) -> list[Path]:
        """Return the folders of investigations, newest first."""
        folder = self.path / "investigations"
        try:
            paths = [folder / name for name in sorted(os.listdir(folder), reverse=True)]
        except OSError:
            return []
        return [path for path in paths if os.path.isdir(path)]

    def investigation(self, folder: Path) -> Investigation | None:
        """Read an investigation's result from its folder; None before it has ended.

        Raises:
            LogError: When the file holds something else; the message names it.
        """
        path = folder / "investigation.json"
        return read_json(path, Investigation, TEXT_BYTES, within=self.path)

    def text(self, name: str) -> str | None:
        """Read a text file in UTF-8 by its path in the folder; None if there is none.

        Raises:
            LogError: If it is no such text, or lies outside of the folder; the message names it.
        """
        return read_text(self.path / name, within=self.path)

    def source(self, name: str) -> bytes:
        """Read a copy of the user's code by its path in the folder.

        Raises:
            OSError: If it cannot be read, or lies outside of the folder.
        """
        return read_bytes(self.path / name, TEXT_BYTES, within=self.path)

    def worker_log_tail(self, lines: int = 5) -> str:
        """Return the last lines of worker.log; empty if it cannot be read."""
        try:
            with open_file(self.worker_log, within=self.path) as file:
                file.seek(max(os.fstat(file.fileno()).st_size - LOG_TAIL_BYTES, 0))
                text = file.read(LOG_TAIL_BYTES).decode(errors="replace")
        except OSError:
            return ""
        return "\n".join(text.rstrip().splitlines()[-lines:])

    def _json(self, name: str, kind: type[T]) -> T | None:
        return read_json(self.path / name, kind, within=self.path)


def config_toml(config: RunConfig) -> bytes:
    """Encode a config as TOML, without fields that are None; a class's None is written as []."""
    import tomli_w

    values = {
        name: value for name, value in msgspec.structs.asdict(config).items() if value is not None
    }
    settings = values.pop(SETTINGS)
    if settings:
        table = {name: [] if value is None else value for name, value in settings.items()}
        values[SETTINGS] = table
    return tomli_w.dumps(values).encode()

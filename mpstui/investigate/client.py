"""Starts an investigation and follows its progress; does not import torch."""

from __future__ import annotations

import sys
from collections.abc import Callable
from contextlib import closing
from datetime import datetime
from pathlib import Path
from typing import Protocol

import msgspec

from mpstui.domain.config import recorded_config
from mpstui.domain.devices import parse_device
from mpstui.domain.errors import FieldError
from mpstui.domain.investigation import TOO_SLOW, Investigation, ProgressMessage, Verdict
from mpstui.modes.journal import JournalEntry, last_entry
from mpstui.processes.client import ProcessClient, ProcessFailed, ProcessTooSlow, ProcessUndecided
from mpstui.processes.command import module_command
from mpstui.runs.dataset import check_data, dataset_of
from mpstui.runs.files import replace
from mpstui.runs.paths import home
from mpstui.runs.rundir import RunDir
from mpstui.runs.script_command import ScriptCommand
from mpstui.runs.store import read_own_files
from mpstui.runs.view import RunView

from .bad_step import first_bad_step
from .request import InvestigationFolder, InvestigationRequest

OnProgress = Callable[[ProgressMessage], None]

PATIENCE = 180.0
"""Seconds without CPU time or sign of life, after which the worker counts as stuck: no op started
or returned while a step was under way."""


class InvestigationProcess(Protocol):
    """An investigation that can be run and stopped."""

    def run(self, on_progress: OnProgress) -> Investigation:
        """Investigate in the calling thread, and call ``on_progress`` there with each message."""

    def stop(self) -> None:
        """Stop it from another thread; ``run`` then returns the result so far."""


def create_folder(
    request: InvestigationRequest, now: datetime, out: Path | None = None
) -> InvestigationFolder:
    """Create an investigation's directory, with the request in it.

    Args:
        request: The request.
        now: The time for the folder's name.
        out: The directory; None for one in the run's folder, or without a run in mpstui's own.

    Raises:
        FieldError: If the directory cannot be created, a file of the user cannot be read, or the
            data folder has no data.
    """
    files = {} if request.run else read_own_files(request.config, request.config.spec)
    if not request.run:
        check_data(request.config)
    if out is None:
        parent = Path(request.run) if request.run else home()
        out = parent / "investigations" / f"{now:%Y%m%d-%H%M%S}"
    folder = InvestigationFolder(out)
    is_in_run = bool(request.run) and Path(request.run) == out.parent.parent
    try:
        if is_in_run:  # a deleted run's folder is not made anew
            out.parent.mkdir(exist_ok=True)
        out.mkdir(parents=not is_in_run, exist_ok=True)
        for stale in ("investigation.json", "report.md", "repro.py", "begun.bin"):
            (out / stale).unlink(missing_ok=True)
        folder.write_request(request)
        for name, text in files.items():  # as in a run's folder
            replace(out / name, text, parents=True)
        if not request.run:
            run = RunDir(out)
            run.write_dataset(dataset_of(request.config, run.workload, lambda *_: None))
    except OSError as error:
        problem = f"{out}: {error.strerror}"
        raise FieldError("out", problem, "a writable folder") from error
    return folder


SCRIPT_STEPS = 3
"""Steps of a script that are checked."""


def request_for_run(run: RunDir) -> InvestigationRequest:
    """Return the request to investigate a run; a script is started again near its alarm.

    Raises:
        FieldError: If the run is recorded code that cannot be started again.
    """
    command, config = run.script(), run.config()
    if config.info.is_recorded:
        if command is None or command.script.kind == "loop":
            problem = f"{run.id} is a part of a program, which is not started again"
            raise FieldError("run", problem, "a run of mpstui run, or mpstui check SCRIPT")
        return InvestigationRequest(
            config=config,
            run=str(run.path),
            steps=SCRIPT_STEPS,
            script=command,
            from_step=max((first_bad_step(run) or 0) - SCRIPT_STEPS + 1, 0),
        )
    view = RunView(run)
    view.catch_up()
    return InvestigationRequest(config=view.config, run=str(run.path))  # with its epochs' length


def request_for_script(
    command: ScriptCommand, steps: int, from_step: int, fault: str
) -> InvestigationRequest:
    """Return the request to check a script.

    Args:
        command: How the script is started.
        steps: Optimizer steps to check.
        from_step: Plain steps before them.
        fault: A simulated fault; empty for none.

    Raises:
        FieldError: If there is no such fault.
    """
    device = f"cpu@fault={fault}" if fault else "cpu"
    config = recorded_config(command.ref).on(parse_device(device), "")
    return InvestigationRequest(config=config, script=command, steps=steps, from_step=from_step)


class InvestigationClient(InvestigationProcess):
    """A client of the worker process; it starts a second one if the fault ends the first.

    Args:
        folder: The folder of the request.
        patience: Seconds, as :data:`PATIENCE`.
        on_output: Called with each line that the user's script prints.
    """

    def __init__(
        self,
        folder: InvestigationFolder,
        patience: float = PATIENCE,
        on_output: Callable[[str], object] = lambda line: None,
    ) -> None:
        self._folder = folder
        self._on_output = on_output
        self._patience = patience
        self._client = ProcessClient()

    def run(self, on_progress: OnProgress) -> Investigation:  # noqa: D102 - see the protocol
        try:
            return self._run(on_progress)
        finally:
            for path in (self._folder.state, self._folder.journal):
                path.unlink(missing_ok=True)

    def _run(self, on_progress: OnProgress) -> Investigation:
        died = ""
        try:
            died = self._run_worker(on_progress)
            last_op = self._last_op()
            # An op that has returned did not end the process.
            if died and last_op and not last_op.over and self._folder.finding() is None:
                died = self._run_worker(on_progress, died)
        except (
            ProcessTooSlow
        ):  # exceeding mpstui's limit proves nothing about an op; its call alone may
            return self._folder.finding() or self._after_too_long(on_progress)
        except ProcessUndecided as error:  # neither does a kill
            died = str(error)
        return self._folder.finding() or self._incomplete(
            f"the investigation ended early: {died or 'its worker found nothing'}",
            died or "the worker ended without a finding",
        )

    def _last_op(self) -> JournalEntry | None:
        return last_entry(self._folder.journal)

    def _after_too_long(self, on_progress: OnProgress) -> Investigation:
        """Find what took too long: an op, which is tried alone, or the model's code between two."""
        last_op = self._last_op()
        limit = f"for more than {self._patience:g} s"
        if last_op is None:
            message = f"Not completed, too slow: the worker gave no sign of life {limit}."
            return self._incomplete(message, "", TOO_SLOW)
        where = f"op {last_op.index}, {last_op.op}, in {last_op.phase} of step {last_op.step}"
        if last_op.over:
            message = (
                f"Not completed, too slow: no op ran {limit}. The last one, {where}, had returned: "
                "what the model's own code does on the device or on the CPU takes that long."
            )
            return self._incomplete(message, "", TOO_SLOW)
        error = ""
        try:
            self._run_worker(on_progress, "")
        except ProcessUndecided as undecided:
            error = str(undecided)
        message = (
            f"Not completed, too slow: {where} was under way {limit}, and was not tried alone."
        )
        return self._folder.finding() or self._incomplete(message, error, TOO_SLOW)

    def _incomplete(self, summary: str, error: str, kind: str = "") -> Investigation:
        request = self._folder.request()
        assert request is not None  # create_folder wrote it
        return Investigation(
            workload=request.config.workload,
            device=request.config.device,
            run=Path(request.run).name,
            verdict=Verdict.INCOMPLETE,
            kind=kind,
            summary=summary,
            error=error,
        )

    def stop(self) -> None:  # noqa: D102 - see the protocol
        self._client.stop()

    def _run_worker(self, on_progress: OnProgress, died: str | None = None) -> str:
        """Run the worker; returns how it died, or "" if it did not.

        Args:
            on_progress: Called with its messages.
            died: How the previous worker ended; empty if it was too slow; None for the first one.

        Raises:
            ProcessTooSlow: If it exceeded the time limit.
            ProcessUndecided: If it was stopped, or killed from outside.
        """
        arguments = [str(self._folder.path), *(["--died", died] if died is not None else [])]
        command = module_command("mpstui.investigate.worker", *arguments)
        try:
            with closing(self._client.lines(command, self._patience)) as lines:
                for line in lines:
                    try:
                        message = msgspec.json.decode(line, type=ProgressMessage)
                        if message.output:
                            self._on_output(message.output)
                        elif not message.alive:
                            on_progress(message)
                    except msgspec.DecodeError:  # output of a library
                        sys.stderr.write(line)
        except ProcessUndecided:
            raise
        except ProcessFailed as error:
            return str(error)
        return ""

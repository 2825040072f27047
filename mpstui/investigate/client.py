"""Start an investigation and follow it. Whoever asks imports no torch."""

from __future__ import annotations

import sys
from collections.abc import Callable
from contextlib import closing
from datetime import datetime
from pathlib import Path
from typing import Protocol

import msgspec

from mpstui.domain.errors import FieldError
from mpstui.domain.investigation import TOO_SLOW, Investigation, ProgressMessage, Verdict
from mpstui.modes.journal import JournalEntry, last_entry
from mpstui.processes.client import ProcessClient, ProcessFailed, ProcessTooSlow, ProcessUndecided
from mpstui.processes.command import module_command
from mpstui.runs.dataset import check_data, dataset_of
from mpstui.runs.files import replace
from mpstui.runs.paths import home
from mpstui.runs.rundir import RunDir
from mpstui.runs.store import read_own_files

from .request import InvestigationFolder, InvestigationRequest

Tell = Callable[[ProgressMessage], None]

PATIENCE = 180.0
"""Seconds without CPU time and without a sign of life, after which the worker is given up: no op
began or returned while a step was under way."""


class InvestigationProcess(Protocol):
    """An investigation that can be followed and ended."""

    def run(self, tell: Tell) -> Investigation:
        """Investigate, in the calling thread; ``tell`` is called there with each thing it says."""

    def stop(self) -> None:
        """End it, from another thread; ``run`` then returns what there is."""


def new_folder(
    request: InvestigationRequest, now: datetime, out: Path | None = None
) -> InvestigationFolder:
    """Make an investigation's directory, with what is asked in it.

    Args:
        request: What is asked.
        now: Names the folder.
        out: The directory; None for one inside the run's, or without a run in the program's own.

    Raises:
        FieldError: When the directory cannot be made, a custom file cannot be read, or the data
            folder holds no data.
    """
    files = {} if request.run else read_own_files(request.config, request.config.spec)
    if not request.run:
        check_data(request.config)
    if out is None:
        base = Path(request.run) if request.run else home()
        out = base / "investigations" / f"{now:%Y%m%d-%H%M%S}"
    folder = InvestigationFolder(out)
    try:
        out.mkdir(parents=True, exist_ok=True)
        for stale in ("investigation.json", "report.md", "repro.py", "begun.bin"):
            (out / stale).unlink(missing_ok=True)
        folder.write_request(request)
        for name, text in files.items():  # as a run keeps them
            replace(out / name, text)
        if not request.run:
            run = RunDir(out)
            run.write_dataset(dataset_of(request.config, run.workload, lambda *_: None))
    except OSError as error:
        problem = f"{out}: {error.strerror}"
        raise FieldError("out", problem, "a folder that can be written") from error
    return folder


def of_run(run: RunDir) -> InvestigationRequest:
    """What to ask about a run."""
    return InvestigationRequest(config=run.config(), run=str(run.path))


class InvestigationClient(InvestigationProcess):
    """Asks a worker process, and a second one when the first dies of the fault it looks for."""

    def __init__(self, folder: InvestigationFolder, patience: float = PATIENCE) -> None:
        self._folder = folder
        self._patience = patience
        self._asker = ProcessClient()

    def run(self, tell: Tell) -> Investigation:  # noqa: D102 - the protocol says it
        try:
            return self._run(tell)
        finally:
            for left in (self._folder.state, self._folder.begun):
                left.unlink(missing_ok=True)

    def _run(self, tell: Tell) -> Investigation:
        died = ""
        try:
            died = self._ask(tell)
            begun = self._begun()
            # An op that has returned ended nothing.
            if died and begun and not begun.over and self._folder.finding() is None:
                died = self._ask(tell, died)
        except ProcessTooSlow:  # no op is to blame for our time limit: only its call alone may be
            return self._folder.finding() or self._after_too_long(tell)
        except ProcessUndecided as error:  # nor for a kill
            died = str(error)
        return self._folder.finding() or self._incomplete(
            f"the investigation ended early: {died or 'its worker found nothing'}",
            died or "the worker ended without a finding",
        )

    def _begun(self) -> JournalEntry | None:
        return last_entry(self._folder.begun)

    def _after_too_long(self, tell: Tell) -> Investigation:
        """What took too long: an op, which is tried alone, or what the model does between two."""
        begun = self._begun()
        limit = f"for more than {self._patience:g} s"
        if begun is None:
            words = f"Not completed, too slow: the worker gave no sign of life {limit}."
            return self._incomplete(words, "", TOO_SLOW)
        where = f"op {begun.index}, {begun.op}, in {begun.phase} of step {begun.step}"
        if begun.over:
            words = (
                f"Not completed, too slow: no op ran {limit}. The last one, {where}, had returned: "
                "what the model's own code does on the device or on the CPU takes that long."
            )
            return self._incomplete(words, "", TOO_SLOW)
        error = ""
        try:
            self._ask(tell, "")
        except ProcessUndecided as undecided:
            error = str(undecided)
        words = f"Not completed, too slow: {where} was under way {limit}, and was not tried alone."
        return self._folder.finding() or self._incomplete(words, error, TOO_SLOW)

    def _incomplete(self, summary: str, error: str, kind: str = "") -> Investigation:
        request = self._folder.request()
        assert request is not None  # new_folder wrote it
        return Investigation(
            workload=request.config.workload,
            device=request.config.device,
            run=Path(request.run).name,
            verdict=Verdict.INCOMPLETE,
            kind=kind,
            summary=summary,
            error=error,
        )

    def stop(self) -> None:  # noqa: D102 - the protocol says it
        self._asker.stop()

    def _ask(self, tell: Tell, died: str | None = None) -> str:
        """Run the worker; returns how it died, or nothing when it did not.

        Args:
            tell: Takes what it says.
            died: How the last one ended; empty when it was given up; None for a first one.

        Raises:
            ProcessTooSlow: When it was given up.
            Undecided: When it was stopped, or killed from outside.
        """
        arguments = [str(self._folder.path), *(["--died", died] if died is not None else [])]
        command = module_command("mpstui.investigate.worker", *arguments)
        try:
            with closing(self._asker.lines(command, self._patience)) as lines:
                for line in lines:
                    try:
                        told = msgspec.json.decode(line, type=ProgressMessage)
                        if not told.alive:
                            tell(told)
                    except msgspec.DecodeError:  # a library that prints where it should not
                        sys.stderr.write(line)
        except ProcessUndecided:
            raise
        except ProcessFailed as error:
            return str(error)
        return ""

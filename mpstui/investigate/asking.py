"""Start an investigation and follow it. Whoever asks imports no torch."""

from __future__ import annotations

import sys
from collections.abc import Callable
from contextlib import closing
from datetime import datetime
from pathlib import Path
from typing import Protocol

import msgspec

from mpstui.doctor.child import Asker
from mpstui.doctor.probes import ProbeFailed, Undecided
from mpstui.domain.errors import FieldError
from mpstui.domain.investigation import Investigation, Told, Verdict
from mpstui.runs.child import module_command
from mpstui.runs.dataset import check_data, dataset_of
from mpstui.runs.files import replace
from mpstui.runs.paths import home
from mpstui.runs.rundir import RunDir
from mpstui.runs.store import own_files

from .request import Folder, Request

Tell = Callable[[Told], None]

PATIENCE = 180.0
"""Seconds that the worker may say nothing, before it counts as hanging."""


class Investigating(Protocol):
    """An investigation that can be followed and ended."""

    def run(self, tell: Tell) -> Investigation:
        """Investigate, in the calling thread; ``tell`` is called there with each thing it says."""

    def stop(self) -> None:
        """End it, from another thread; ``run`` then returns what there is."""


def new_folder(request: Request, now: datetime, out: Path | None = None) -> Folder:
    """Make an investigation's directory, with what is asked in it.

    Args:
        request: What is asked.
        now: Names the folder.
        out: The directory; None for one inside the run's, or without a run in the program's own.

    Raises:
        FieldError: When the directory cannot be made, an own file cannot be read, or the data
            folder holds no data.
    """
    files = {} if request.run else own_files(request.config, request.config.spec)
    if not request.run:
        check_data(request.config)
    if out is None:
        base = Path(request.run) if request.run else home()
        out = base / "investigations" / f"{now:%Y%m%d-%H%M%S}"
    folder = Folder(out)
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


def of_run(run: RunDir) -> Request:
    """What to ask about a run."""
    return Request(config=run.config(), run=str(run.path))


class Investigator(Investigating):
    """Asks a worker process, and a second one when the first dies of the fault it looks for."""

    def __init__(self, folder: Folder, patience: float = PATIENCE) -> None:
        self._folder = folder
        self._patience = patience
        self._asker = Asker()

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
            if self._folder.finding() is None and self._folder.begun.exists():
                died = self._ask(tell, died)
        except Undecided as error:  # no op is to blame for our time limit, nor for a kill
            died = str(error)
        finding = self._folder.finding()
        if finding is None:
            request = self._folder.request()
            assert request is not None  # new_folder wrote it
            finding = Investigation(
                workload=request.config.workload,
                device=request.config.device,
                run=Path(request.run).name,
                verdict=Verdict.INCOMPLETE,
                summary=f"the investigation ended early: {died or 'its worker found nothing'}",
                error=died or "the worker ended without a finding",
            )
        return finding

    def stop(self) -> None:  # noqa: D102 - the protocol says it
        self._asker.stop()

    def _ask(self, tell: Tell, died: str = "") -> str:
        """Run the worker; returns how it died, or nothing when it did not.

        Raises:
            Undecided: When it was stopped, given up, or killed from outside.
        """
        arguments = [str(self._folder.path), *(["--died", died] if died else [])]
        command = module_command("mpstui.investigate.worker", *arguments)
        try:
            with closing(self._asker.lines(command, self._patience)) as lines:
                for line in lines:
                    try:
                        tell(msgspec.json.decode(line, type=Told))
                    except msgspec.DecodeError:  # a library that prints where it should not
                        sys.stderr.write(line)
        except Undecided:
            raise
        except ProbeFailed as error:
            return str(error)
        return ""

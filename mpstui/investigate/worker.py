"""The worker process: ``python -m mpstui.investigate.worker FOLDER [--died HOW]``.

It reads request.json, prints one :class:`~mpstui.domain.investigation.ProgressMessage` per line and
writes investigation.json and report.md. If an op ends the process, begun.bin names it; a second
worker, started with ``--died``, then investigates that op.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import sys
import threading
import time
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, TextIO

from msgspec.structs import replace

from mpstui.domain.errors import MpstuiError
from mpstui.domain.investigation import Investigation, ProgressMessage, Stage, Verdict
from mpstui.domain.workloads import short_name
from mpstui.processes.parent import end_with_parent
from mpstui.processes.stdio import json_writer, take_stdout
from mpstui.runs.rundir import Dataset, RunDir
from mpstui.runs.user_code import USER_ERRORS, describe_error

from .progress import ProgressReporter
from .request import InvestigationFolder, InvestigationRequest

if TYPE_CHECKING:
    from mpstui.modes.journal import Journal

BEAT_SECONDS = 5.0
"""Seconds between two signs of life."""


def main(arguments: Sequence[str]) -> int:
    """Investigate; returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m mpstui.investigate.worker")
    parser.add_argument("folder", type=Path)
    parser.add_argument("--died")
    options = parser.parse_args(arguments)
    end_with_parent()
    folder = InvestigationFolder(options.folder.absolute())  # it moves to the user's folder
    request = folder.request()
    if request is None:
        parser.error(f"{options.folder}: holds no request.json")
    # Otherwise ops that MPS lacks would run on the CPU, and the CPU would be checked.
    os.environ.pop("PYTORCH_ENABLE_MPS_FALLBACK", None)
    with take_stdout() as out:
        beat = Heartbeat(out)
        beat.start()
        return _in_one_thread(
            lambda: investigate(folder, request, options.died, _reporter_for(beat), beat)
        )


def investigate(
    folder: InvestigationFolder,
    request: InvestigationRequest,
    died: str | None,
    reporter: ProgressReporter,
    beat: Heartbeat | None = None,
) -> Investigation:
    """Investigate, write the finding, and return it.

    Args:
        folder: The investigation's folder.
        request: The request.
        died: How the previous worker ended; empty if it was too slow; None for the first one.
        reporter: Reports the progress.
        beat: Gets the journal, to signal progress of ops.
    """
    try:
        finding = _search(folder, request, died, reporter, beat)
    except USER_ERRORS as error:  # the finding reports any error
        traceback.print_exc()
        message = str(error) if isinstance(error, MpstuiError) else describe_error(error)
        finding = folder.finding() or Investigation(  # an earlier finding has priority
            workload=request.config.workload,
            device=request.config.device,
            run=Path(request.run).name,
            verdict=Verdict.INCOMPLETE,
            summary=f"the investigation ended early: {message}",
        )
        finding = replace(finding, error=message, seconds=reporter.seconds)
    from .report import write_report

    reporter.report(Stage.REPORT, "writing")
    write_report(folder, request, finding)
    reporter.finish(Stage.REPORT, folder.report.name)
    folder.write_finding(replace(finding, seconds=reporter.seconds))
    return finding


def _search(
    folder: InvestigationFolder,
    request: InvestigationRequest,
    died: str | None,
    reporter: ProgressReporter,
    beat: Heartbeat | None,
) -> Investigation:
    reporter.report(Stage.PREPARE, "importing torch")
    import torch

    if request.script is not None:
        from .script_check.search import ScriptSearch

        return ScriptSearch(folder, request, reporter).run()

    from mpstui.modes.journal import Journal, last_entry
    from mpstui.modes.step import StepState

    from .search import Search
    from .start import start_of
    from .twin import build

    run_dir = Path(request.run) if request.run else folder.path
    last_op = last_entry(folder.journal) if died is not None else None
    reporter.report(Stage.PREPARE, "building model and data, twice")
    dataset = RunDir(run_dir).dataset() or Dataset(source="embedded")
    twin = build(request.config, dataset, run_dir)
    start = start_of(request.run)
    bad = "" if start.bad_step is None else f", which went wrong by step {start.bad_step}"
    suffix = f" of {run_dir.name}{bad}" if request.run else ""
    workload = short_name(request.config.workload)
    reporter.finish(Stage.PREPARE, f"{workload} on {request.config.label}{suffix}")
    journal = Journal(folder.journal)
    if beat is not None:
        beat.journal = journal
    search = Search(twin, request, folder, reporter, journal)
    try:
        if last_op is not None and folder.state.is_file():
            state = StepState(**torch.load(folder.state, weights_only=True))
            return search.after_death(last_op, state, died or "")
        return search.run(start)
    finally:
        search.close()
        folder.state.unlink(missing_ok=True)


class Heartbeat:
    """A thread that prints a line regularly while the worker makes progress.

    During a step, progress means that an op starts or returns; otherwise, that the process runs.
    The client gives up only on a worker that prints nothing.

    Args:
        out: The stream for the lines.
    """

    def __init__(self, out: TextIO) -> None:
        self.journal: Journal | None = None
        self._write = json_writer(out)
        self._lock = threading.Lock()

    def start(self) -> None:
        """Start the thread."""
        threading.Thread(target=self._beat, daemon=True).start()

    def send(self, message: ProgressMessage) -> None:
        """Write one line."""
        with self._lock:
            self._write(message)

    def _beat(self) -> None:
        last = -1
        with contextlib.suppress(ValueError, OSError):  # closed: the worker is ending
            while True:
                time.sleep(BEAT_SECONDS)
                journal = self.journal
                if journal is None or not journal.is_stepping or journal.count != last:
                    self.send(ProgressMessage(stage=Stage.PREPARE, alive=True))
                last = journal.count if journal is not None else -1


def _reporter_for(beat: Heartbeat) -> ProgressReporter:
    return ProgressReporter(beat.send)


def _in_one_thread(work: Callable[[], object]) -> int:
    """Run all uses of torch in one thread other than the main one, as a run's worker does."""
    done: list[object] = []
    thread = threading.Thread(target=lambda: done.append(work()), name="investigation")
    thread.start()
    thread.join()
    return 0 if done else 1  # an error is on stderr


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

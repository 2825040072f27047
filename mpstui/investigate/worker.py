"""The process that investigates: ``python -m mpstui.investigate.worker FOLDER [--died HOW]``.

It reads request.json, prints a :class:`~mpstui.domain.investigation.Told` a line and writes
investigation.json and report.md. An op that ends the process leaves its name in begun.bin; a
second worker is then asked with ``--died`` what it was.
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
from mpstui.processes.stdio import json_writer, take_stdout
from mpstui.runs.rundir import Dataset, RunDir

from .progress import ProgressReporter
from .request import InvestigationFolder, InvestigationRequest

if TYPE_CHECKING:
    from mpstui.modes.journal import Journal

BEAT_SECONDS = 5.0
"""Between two signs of life."""


def main(arguments: Sequence[str]) -> int:
    """Investigate; returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m mpstui.investigate.worker")
    parser.add_argument("folder", type=Path)
    parser.add_argument("--died")
    asked = parser.parse_args(arguments)
    folder = InvestigationFolder(asked.folder)
    request = folder.request()
    if request is None:
        parser.error(f"{asked.folder}: holds no request.json")
    # With it, ops that MPS lacks would run on the CPU, and the CPU would be judged.
    os.environ.pop("PYTORCH_ENABLE_MPS_FALLBACK", None)
    with take_stdout() as out:
        beat = Heartbeat(out)
        beat.start()
        return _in_one_thread(lambda: investigate(folder, request, asked.died, _teller(beat), beat))


def investigate(
    folder: InvestigationFolder,
    request: InvestigationRequest,
    died: str | None,
    teller: ProgressReporter,
    beat: Heartbeat | None = None,
) -> Investigation:
    """Investigate, write the finding down, and return it.

    Args:
        folder: Where.
        request: What is asked.
        died: How the last worker's process ended; empty when it was given up as too slow; None in
            a first one.
        teller: Told what is done.
        beat: Told of the journal, to show that ops go on.
    """
    try:
        finding = _search(folder, request, died, teller, beat)
    except Exception as error:  # noqa: BLE001 - whatever it was, the finding has to say so
        traceback.print_exc()
        shown = str(error) if isinstance(error, MpstuiError) else f"{type(error).__name__}: {error}"
        finding = folder.finding() or Investigation(  # what was written down before stays
            workload=request.config.workload,
            device=request.config.device,
            run=Path(request.run).name,
            verdict=Verdict.INCOMPLETE,
            summary=f"the investigation ended early: {shown}",
        )
        finding = replace(finding, error=shown, seconds=teller.seconds)
    from .report import write_report

    teller.say(Stage.REPORT, "writing")
    write_report(folder, request, finding)
    teller.done(Stage.REPORT, folder.report.name)
    folder.write_finding(replace(finding, seconds=teller.seconds))
    return finding


def _search(
    folder: InvestigationFolder,
    request: InvestigationRequest,
    died: str | None,
    teller: ProgressReporter,
    beat: Heartbeat | None,
) -> Investigation:
    teller.say(Stage.PREPARE, "importing torch")
    import torch

    from mpstui.modes.journal import Journal, last_entry
    from mpstui.modes.step import StepState

    from .search import Search
    from .start import start_of
    from .twin import build

    run_dir = Path(request.run) if request.run else folder.path
    begun = last_entry(folder.begun) if died is not None else None
    teller.say(Stage.PREPARE, "building model and data, twice")
    dataset = RunDir(run_dir).dataset() or Dataset(source="embedded")
    twin = build(request.config, dataset, run_dir)
    start = start_of(request.run)
    bad = "" if start.bad_step is None else f", which went wrong by step {start.bad_step}"
    of = f" of {run_dir.name}{bad}" if request.run else ""
    named = short_name(request.config.workload)
    teller.done(Stage.PREPARE, f"{named} on {request.config.device}{of}")
    journal = Journal(folder.begun)
    if beat is not None:
        beat.journal = journal
    search = Search(twin, request, folder, teller, journal)
    try:
        if begun is not None and folder.state.is_file():
            kept = StepState(**torch.load(folder.state, weights_only=True))
            return search.after_death(begun, kept, died or "")
        return search.run(start)
    finally:
        search.close()
        folder.state.unlink(missing_ok=True)


class Heartbeat:
    """Shows that the worker is at work: a line now and then, as long as there is progress.

    While a step is under way progress is an op that begins or returns; else it is that the process
    runs. Whoever follows gives a worker up only when no line comes.

    Args:
        out: Where lines go.
    """

    def __init__(self, out: TextIO) -> None:
        self.journal: Journal | None = None
        self._write = json_writer(out)
        self._lock = threading.Lock()

    def start(self) -> None:
        """Begin."""
        threading.Thread(target=self._beat, daemon=True).start()

    def say(self, told: ProgressMessage) -> None:
        """Write one line."""
        with self._lock:
            self._write(told)

    def _beat(self) -> None:
        last = -1
        with contextlib.suppress(ValueError, OSError):  # closed: the worker is at its end
            while True:
                time.sleep(BEAT_SECONDS)
                journal = self.journal
                if journal is None or not journal.is_stepping or journal.count != last:
                    self.say(ProgressMessage(stage=Stage.PREPARE, alive=True))
                last = journal.count if journal is not None else -1


def _teller(beat: Heartbeat) -> ProgressReporter:
    return ProgressReporter(beat.say)


def _in_one_thread(work: Callable[[], object]) -> int:
    """As in a run's worker, whatever touches torch is in one thread that is not the main one."""
    done: list[object] = []
    thread = threading.Thread(target=lambda: done.append(work()), name="investigation")
    thread.start()
    thread.join()
    return 0 if done else 1  # what it raised is on stderr


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

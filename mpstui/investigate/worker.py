"""The process that investigates: ``python -m mpstui.investigate.worker FOLDER [--died HOW]``.

It reads request.json, prints a :class:`~mpstui.domain.investigation.Told` a line and writes
investigation.json and report.md. An op that ends the process leaves its name in begun.bin; a
second worker is then asked with ``--died`` what it was.
"""

from __future__ import annotations

import argparse
import os
import sys
import threading
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TextIO

import msgspec

from mpstui.domain.errors import MpstuiError
from mpstui.domain.investigation import Investigation, Stage, Told, Verdict
from mpstui.domain.workloads import short_name
from mpstui.runs.rundir import Dataset, RunDir

from .request import Folder, Request
from .telling import Teller


def main(arguments: Sequence[str]) -> int:
    """Investigate; returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m mpstui.investigate.worker")
    parser.add_argument("folder", type=Path)
    parser.add_argument("--died", default="")
    asked = parser.parse_args(arguments)
    folder = Folder(asked.folder)
    request = folder.request()
    if request is None:
        parser.error(f"{asked.folder}: holds no request.json")
    # With it, ops that MPS lacks would run on the CPU, and the CPU would be judged.
    os.environ.pop("PYTORCH_ENABLE_MPS_FALLBACK", None)
    with os.fdopen(os.dup(1), "w", encoding="utf-8") as out:
        os.dup2(2, 1)
        return _in_one_thread(lambda: investigate(folder, request, asked.died, _teller(out)))


def investigate(folder: Folder, request: Request, died: str, teller: Teller) -> Investigation:
    """Investigate, write the finding down, and return it."""
    try:
        finding = _search(folder, request, died, teller)
    except Exception as error:  # noqa: BLE001 - whatever it was, the finding has to say so
        traceback.print_exc()
        shown = str(error) if isinstance(error, MpstuiError) else f"{type(error).__name__}: {error}"
        finding = Investigation(
            workload=request.config.workload,
            device=request.config.device,
            run=Path(request.run).name,
            verdict=Verdict.INCOMPLETE,
            summary=f"the investigation ended early: {shown}",
            error=shown,
            seconds=teller.seconds,
        )
    from .report import write_report

    teller.say(Stage.REPORT, "writing")
    write_report(folder, request, finding)
    teller.done(Stage.REPORT, folder.report.name)
    folder.write_finding(msgspec.structs.replace(finding, seconds=teller.seconds))
    return finding


def _search(folder: Folder, request: Request, died: str, teller: Teller) -> Investigation:
    teller.say(Stage.PREPARE, "importing torch")
    import torch

    from mpstui.divergence.journal import last_begun
    from mpstui.divergence.step import State

    from .search import Search
    from .start import start_of
    from .twin import build

    run_dir = Path(request.run) if request.run else folder.path
    begun = last_begun(folder.begun) if died else None
    teller.say(Stage.PREPARE, "building model and data, twice")
    dataset = RunDir(run_dir).dataset() or Dataset(source="embedded")
    twin = build(request.config, dataset, run_dir)
    start = start_of(request.run)
    bad = "" if start.bad_step is None else f", which went wrong by step {start.bad_step}"
    of = f" of {run_dir.name}{bad}" if request.run else ""
    named = short_name(request.config.workload)
    teller.done(Stage.PREPARE, f"{named} on {request.config.device}{of}")
    search = Search(twin, request, folder, teller)
    try:
        if begun is not None and folder.state.is_file():
            kept = State(**torch.load(folder.state, weights_only=True))
            return search.after_death(begun, kept, died)
        return search.run(start)
    finally:
        folder.state.unlink(missing_ok=True)


def _teller(out: TextIO) -> Teller:
    def tell(told: Told) -> None:
        out.write(msgspec.json.encode(told).decode() + "\n")
        out.flush()

    return Teller(tell)


def _in_one_thread(work: Callable[[], object]) -> int:
    """As in a run's worker, whatever touches torch is in one thread that is not the main one."""
    done: list[object] = []
    thread = threading.Thread(target=lambda: done.append(work()), name="investigation")
    thread.start()
    thread.join()
    return 0 if done else 1  # what it raised is on stderr


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

"""An app in which nothing trains, with recorded runs and some that grow while it is used."""

from __future__ import annotations

import os
import shutil
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from mpstui.coverage.client import CoverageProcess
from mpstui.domain.coverage import Coverage
from mpstui.investigate.request import InvestigationFolder
from mpstui.runs.rundir import Exit, RunDir
from mpstui.ui.app import MpstuiApp
from tests.builders.hostile import RECORDED, hostile_runs
from tests.builders.investigations import ConstructedInvestigating

from tests.ui.conftest import LINUX, ConstructedProbes  # isort: skip

GROWTH_SECONDS = 0.05
"""Pause of the thread that lets runs grow; no test waits for it."""

_VARIABLES = ("MPSTUI_HOME", "HOME")


class Playground:
    """A folder of runs, and apps on it. Use it as a context."""

    def __init__(self, folder: Path) -> None:
        self.home = folder / "home"
        self.store = self.home / "runs"
        self._growing: dict[RunDir, list[bytes]] = {}
        self._stop = threading.Event()
        self._lock = threading.Lock()

    @contextmanager
    def growing(self) -> Iterator[Playground]:
        """Let runs grow in the background, and give the process a home of its own."""
        before = {name: os.environ.get(name) for name in _VARIABLES}
        os.environ["MPSTUI_HOME"], os.environ["HOME"] = str(self.home), str(self.home)
        hostile_runs(self.store)
        thread = threading.Thread(target=self._grow)
        thread.start()
        try:
            yield self
        finally:
            self._stop.set()
            thread.join()
            for name, value in before.items():
                if value is None:
                    del os.environ[name]
                else:
                    os.environ[name] = value

    @contextmanager
    def at_rest(self) -> Iterator[None]:
        """Let no run grow meanwhile, so that no file of theirs is open."""
        with self._lock:
            yield

    def app(self) -> MpstuiApp:
        """Return an app on these runs."""
        app = MpstuiApp(
            runs_dir=self.store,
            probes=ConstructedProbes(LINUX, mps=False),
            start=self.start,
            start_investigation=_investigate,
            start_coverage=_cover,
        )
        # The test raises the error; drawing it with every variable takes seconds.
        app._fatal_error = app._close_messages_no_wait  # type: ignore[method-assign]
        return app

    def add(self, name: str) -> RunDir:
        """Add a run that grows as the recorded one did."""
        source = sorted(RECORDED.glob("*vae*"))[0]
        run = RunDir(self.store / name)
        shutil.copytree(
            source, run.path, ignore=shutil.ignore_patterns("*.pt", "*.json", "*.jsonl")
        )
        self.start([run])
        return run

    def start(self, runs: Sequence[RunDir]) -> None:
        """Let runs grow, in place of training."""
        for run, source in zip(runs, sorted(RECORDED.glob("*vae*")), strict=False):
            run.record_supervisor(os.getpid())
            with self._lock:
                self._growing[run] = (source / "events.jsonl").read_bytes().splitlines(True)

    def _grow(self) -> None:
        while not self._stop.wait(GROWTH_SECONDS):
            with self._lock:
                for run, lines in list(self._growing.items()):
                    try:
                        self._grow_run(run, lines)
                    except OSError:  # the app moved it to the trash
                        del self._growing[run]

    def _grow_run(self, run: RunDir, lines: list[bytes]) -> None:
        request = run.request()
        if request == "pause":
            return
        if request in ("stop", "kill") or not lines:
            run.write_exit(Exit(code=0 if request == "stop" else -9, killed=request == "kill"))
            del self._growing[run]
            return
        with run.events.open("r+b" if run.events.exists() else "wb") as log:
            log.seek(0, os.SEEK_END)
            log.write(lines.pop(0))


def _investigate(folder: InvestigationFolder) -> ConstructedInvestigating:
    return ConstructedInvestigating()(folder)


class _Covering(CoverageProcess):
    """An answer at once; no step is recorded."""

    def run(self, tell: Any) -> Coverage:
        tell("recording a step")
        return Coverage(workload="mnist", torch="2.14.1", recorded_with="2.14.1")

    def stop(self) -> None:
        pass


def _cover(workload: str, torch: str, values: Mapping[str, Any]) -> CoverageProcess:
    return _Covering()

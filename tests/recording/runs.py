"""Runs a script as a user does, with ``mpstui run``, and reads what it printed and recorded."""

from __future__ import annotations

import atexit
import csv
import io
import os
import shutil
import subprocess
import sys
import tempfile
from functools import cache
from pathlib import Path
from typing import NamedTuple

import numpy as np

from mpstui.domain.history import RunHistory
from mpstui.runs.export import export_text
from mpstui.runs.rundir import RunDir
from mpstui.runs.view import RunView

SCRIPTS = Path(__file__).parent / "scripts"


class ScriptRun(NamedTuple):
    """A script's run."""

    code: int
    output: str
    """Of the script, on stdout."""
    errors: str
    """Of the script and of mpstui, on stderr."""
    history: RunHistory
    view: RunView

    def printed(self, name: str = "LOSS") -> list[float]:
        """The numbers behind a word, as float32."""
        words = [line.split() for line in self.output.replace("\r", "\n").splitlines()]
        numbers = [float(line[1]) for line in words if line and line[0] == name]
        return [float(number) for number in np.asarray(numbers, "<f4")]

    def column(self, name: str) -> list[float]:
        """A column of the export, rows without a value left out, as float32."""
        rows = list(csv.DictReader(io.StringIO(export_text([self.view], "csv"))))
        numbers = [float(row[name]) for row in rows if row[name]]
        return [float(number) for number in np.asarray(numbers, "<f4")]

    @property
    def traceback(self) -> str:
        """What the script's end printed."""
        lines = self.errors.splitlines(keepends=True)
        return "".join(line for line in lines if not line.startswith("mpstui: "))


@cache
def run(*command: str) -> ScriptRun:
    """Run a script of this folder once in a test session: ``run("vae.py", "--epochs", "1")``."""
    folder = tempfile.mkdtemp(prefix="mpstui-test-")
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    done = _start(
        [sys.executable, "-m", "mpstui", "run", "--no-ui", "--runs-dir", folder, *command]
    )
    (path,) = (entry for entry in Path(folder).iterdir() if (entry / "config.toml").is_file())
    view = RunView(RunDir(path))
    view.catch_up()
    return ScriptRun(done.returncode, done.stdout, done.stderr, view.history, view)


def run_alone(*command: str) -> subprocess.CompletedProcess[str]:
    """Run a script without mpstui."""
    return _start([sys.executable, *command])


def _start(command: list[str]) -> subprocess.CompletedProcess[str]:
    root = str(SCRIPTS.parents[2])
    path = os.pathsep.join(filter(None, [root, os.environ.get("PYTHONPATH", "")]))
    environment = {**os.environ, "PYTHONPATH": path}
    done = subprocess.run(
        command,
        cwd=SCRIPTS,
        env=environment,
        capture_output=True,
        stdin=subprocess.DEVNULL,
        check=False,
    )
    # Not as text, which would make a progress bar's carriage returns into lines.
    output, errors = done.stdout.decode(), done.stderr.decode()
    return subprocess.CompletedProcess(command, done.returncode, output, errors)

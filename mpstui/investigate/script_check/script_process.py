"""Starts the process of a checked script, and follows it."""

from __future__ import annotations

import subprocess
import threading
from typing import IO

from mpstui.domain.investigation import Stage
from mpstui.investigate.progress import ProgressReporter
from mpstui.investigate.request import InvestigationFolder
from mpstui.modes.journal import last_entry
from mpstui.processes.command import (
    describe_exit,
    file_command,
    is_from_outside,
    user_environment,
)
from mpstui.processes.patience import CHECK_SECONDS, Patience, cpu_seconds

from .outcome import NAME

PATIENCE = 180.0
"""Seconds without CPU time or another op, after which the script counts as stuck."""

OUTPUT_SECONDS = 2.0
"""How long to wait for the rest of a script's output; its own processes may hold the pipe."""


class ScriptProcess:
    """The process of a checked script.

    Args:
        folder: The investigation's folder.
        reporter: Gets the script's output, and the op under way.
        patience: Seconds, as :data:`PATIENCE`.
    """

    def __init__(
        self,
        folder: InvestigationFolder,
        reporter: ProgressReporter,
        patience: float = PATIENCE,
    ) -> None:
        self._folder, self._reporter, self._patience = folder, reporter, patience
        self.is_stuck = False
        """Whether it was ended because it made no progress."""
        self.was_killed = False
        """Whether it was ended from outside."""

    def run(self, *flags: str) -> str:
        """Run it to its end; returns how it died, or "" if it did not.

        Args:
            flags: Of :func:`mpstui.investigate.script_check.checked_script.main`.
        """
        folder = str(self._folder.path.absolute())
        command = file_command("mpstui.investigate.script_check.checked_script", folder, *flags)
        # Compiled code has no single ops.
        environment = {**user_environment(), "TORCHDYNAMO_DISABLE": "1"}
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            encoding="utf-8",
            errors="replace",
            env=environment,
        )
        assert process.stdout is not None
        forwarding = threading.Thread(target=self._forward, args=(process.stdout,), daemon=True)
        forwarding.start()
        code = self._wait(process)
        forwarding.join(OUTPUT_SECONDS)
        self.was_killed = is_from_outside(code) and not self.is_stuck
        return "" if code == 0 else describe_exit(code)

    def _forward(self, output: IO[str]) -> None:
        for line in output:
            self._reporter.forward(line)

    def _wait(self, process: subprocess.Popen[str]) -> int:
        patience = Patience(lambda: cpu_seconds(process.pid), self._patience)
        last = None
        while True:
            try:
                return process.wait(CHECK_SECONDS)
            except subprocess.TimeoutExpired:
                entry = last_entry(self._folder.script_journal)
                if entry != last and entry is not None:
                    patience.reset()
                    where = f"op {entry.index}, {entry.op}, in {entry.phase}"
                    self._reporter.report(Stage.OPS, f"step {entry.step}: {where}")
                last = entry
                if patience.is_over():
                    self.is_stuck = True
                    process.kill()
                    return process.wait()


def remove_files(folder: InvestigationFolder) -> None:
    """Remove what only the search needs."""
    for path in (folder.script_journal, folder.path / NAME, *folder.path.glob("call-*.pt")):
        path.unlink(missing_ok=True)

"""Checks whether a workload runs on MPS, in a separate process that imports torch."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from contextlib import closing
from typing import Any, Protocol

import msgspec

from mpstui.domain.config import BY_NAME
from mpstui.domain.coverage import Coverage, CoverageProgress, CoverageRefused
from mpstui.domain.errors import MpstuiError, UsageError
from mpstui.processes.client import ProcessClient, ProcessFailed
from mpstui.processes.command import module_command
from mpstui.runs.script_command import ScriptCommand

Tell = Callable[[str], None]
"""Receives the worker's current activity."""

PATIENCE = 180.0
"""Seconds that the worker may be silent: it imports torch and builds the user's data."""


class CoverageProcess(Protocol):
    """A coverage check that can be followed and stopped."""

    def run(self, report: Tell) -> Coverage:
        """Run the check in the calling thread; ``report`` is called there."""

    def stop(self) -> None:
        """Stop the check from another thread; ``run`` then raises."""


class CoverageClient(CoverageProcess):
    """Runs the check in a worker process.

    Args:
        workload: ``mnist``, ``vae`` or ``path/to/file.py:Class``.
        torch: The version to check, ``2.15`` or ``2.15.0``; empty for the installed one.
        patience: Seconds that the worker may be silent.
        script: How the workload is started, if it is a script.
        values: What the user set for the workload, as for ``make_config``; by default nothing.
    """

    def __init__(
        self,
        workload: str,
        torch: str = "",
        patience: float = PATIENCE,
        script: ScriptCommand | None = None,
        values: Mapping[str, Any] | None = None,
    ) -> None:
        self._workload = BY_NAME["workload"].check(workload)
        self._script = script
        self._values = {**(values or {}), "workload": self._workload}
        self._torch = torch
        self._patience = patience
        self._asker = ProcessClient()

    def run(self, tell: Tell) -> Coverage:
        """Check the ops of the workload.

        Raises:
            UsageError: If there is no table for that version, or no such workload.
            MpstuiError: If its data cannot be read, or the worker exits without an answer.
        """
        document = msgspec.json.encode(self._values).decode()
        arguments = [document, *(["--torch", self._torch] if self._torch else [])]
        if self._script is not None:
            arguments[0] = f"--script={msgspec.json.encode(self._script).decode()}"
        command = module_command("mpstui.coverage.worker", *arguments)
        with closing(self._asker.lines(command, self._patience)) as lines:
            for line in lines:
                match _decode(line):
                    case CoverageProgress(text=text):
                        tell(text)
                    case Coverage() as coverage:
                        return coverage
                    case CoverageRefused(text=text, usage=usage):
                        raise (UsageError if usage else MpstuiError)(text)
                    case None:  # output of a library
                        sys.stderr.write(line)
        raise ProcessFailed("the worker ended without an answer")

    def stop(self) -> None:  # noqa: D102 - documented in the protocol
        self._asker.stop()


def _decode(line: str) -> CoverageProgress | Coverage | CoverageRefused | None:
    try:
        return msgspec.json.decode(line, type=CoverageProgress | Coverage | CoverageRefused)
    except msgspec.DecodeError:
        return None

"""Ask whether a workload runs on MPS. No torch here: a process of its own imports it."""

from __future__ import annotations

import sys
from collections.abc import Callable
from contextlib import closing
from typing import Protocol

import msgspec

from mpstui.domain.config import BY_NAME
from mpstui.domain.coverage import Coverage, CoverageProgress, CoverageRefused
from mpstui.domain.errors import MpstuiError, UsageError
from mpstui.processes.client import ProcessClient, ProcessFailed
from mpstui.processes.command import module_command

Tell = Callable[[str], None]
"""Called with what the worker does now."""

PATIENCE = 180.0
"""Seconds that the worker may say nothing: it imports torch, and builds the user's data."""


class CoverageProcess(Protocol):
    """A question that can be followed and ended."""

    def run(self, tell: Tell) -> Coverage:
        """Ask, in the calling thread; ``tell`` is called there."""

    def stop(self) -> None:
        """End it, from another thread; ``run`` then raises."""


class CoverageClient(CoverageProcess):
    """Asks a worker process.

    Args:
        workload: ``mnist``, ``vae`` or ``path/to/file.py:Class``.
        torch: The version that is asked about, ``2.15`` or ``2.15.0``; empty for the installed one.
    """

    def __init__(self, workload: str, torch: str = "", patience: float = PATIENCE) -> None:
        self._workload = BY_NAME["workload"].check(workload)
        self._torch = torch
        self._patience = patience
        self._asker = ProcessClient()

    def run(self, tell: Tell) -> Coverage:
        """The ops of the workload, judged.

        Raises:
            UsageError: When there is no table of that version, or no such workload.
            MpstuiError: When its data cannot be read, or the worker ended without an answer.
        """
        arguments = [self._workload, *(["--torch", self._torch] if self._torch else [])]
        command = module_command("mpstui.coverage.worker", *arguments)
        with closing(self._asker.lines(command, self._patience)) as lines:
            for line in lines:
                match _decoded(line):
                    case CoverageProgress(text=text):
                        tell(text)
                    case Coverage() as coverage:
                        return coverage
                    case CoverageRefused(text=text, usage=usage):
                        raise (UsageError if usage else MpstuiError)(text)
                    case None:  # a library that prints where it should not
                        sys.stderr.write(line)
        raise ProcessFailed("the worker ended without an answer")

    def stop(self) -> None:  # noqa: D102 - the protocol says it
        self._asker.stop()


def _decoded(line: str) -> CoverageProgress | Coverage | CoverageRefused | None:
    try:
        return msgspec.json.decode(line, type=CoverageProgress | Coverage | CoverageRefused)
    except msgspec.DecodeError:
        return None

"""The process of a checked script: the script's own main thread, with the check around its ops."""

from __future__ import annotations

import argparse
import contextlib
import os
import sys
import traceback
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING

from mpstui.investigate.request import InvestigationFolder, InvestigationRequest
from mpstui.processes.parent import end_with_parent
from mpstui.recording.as_main import (
    enter_command,
    error_text,
    run_as_main,
    strip_own_frames,
)
from mpstui.recording.late_import import on_import

if TYPE_CHECKING:
    from .checker import ScriptChecker

FLAG = "--stop-at"


def main(argv: Sequence[str]) -> None:
    """Run the script of an investigation's request and check its ops; exits with 0 when done."""
    parser = argparse.ArgumentParser(prog="mpstui.investigate.script_check.checked_script")
    parser.add_argument("folder", type=Path)
    parser.add_argument(FLAG, nargs=2, type=int)
    arguments = parser.parse_args(argv)
    folder = InvestigationFolder(arguments.folder.absolute())
    request = folder.request()
    if request is None or request.script is None:
        parser.error(f"{arguments.folder}: holds no request for a script")
    end_with_parent()
    sys.stdout.reconfigure(line_buffering=True)  # type: ignore[union-attr]
    stop_at = tuple(arguments.stop_at) if arguments.stop_at else None
    checked = CheckedScript(folder, request, stop_at)
    checked.run()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(0)  # its threads and loaders would keep the process


class CheckedScript:
    """A script in this process. The check begins when the script imports torch.

    Args:
        folder: The investigation's folder.
        request: The request.
        stop_at: The step and the number of an op that must not run.
    """

    def __init__(
        self,
        folder: InvestigationFolder,
        request: InvestigationRequest,
        stop_at: tuple[int, int] | None = None,
    ) -> None:
        self._folder, self._request, self._stop_at = folder, request, stop_at
        self._modes = contextlib.ExitStack()
        self._checker: ScriptChecker | None = None

    def run(self) -> None:
        """Run the script until the check is over, or to its own end."""
        command = self._request.script
        assert command is not None
        enter_command(command)
        on_import("torch", self._begin)
        error = ""
        try:
            run_as_main(command.script, command.arguments)
        except SystemExit as exit:
            if exit.code not in (None, 0):
                error = f"the script exited with {exit.code}"
        except BaseException as raised:  # noqa: BLE001 - the outcome has it
            if type(raised).__name__ != "CheckIsOver":
                strip_own_frames(raised)
                traceback.print_exception(raised)
                error = error_text(raised)
        self._finish(error)

    def _begin(self, torch: ModuleType) -> None:
        from mpstui.faults.load import load_fault

        from .checker import ScriptChecker

        request = self._request
        run_dir = Path(request.run) if request.run else self._folder.path
        fault = request.config.spec.option("fault")
        if fault:
            self._modes.enter_context(load_fault(fault, run_dir))
        # What it does not override does nothing, as its protocol's empty methods.
        self._checker = ScriptChecker(  # type: ignore[abstract]
            self._folder.path,
            self._folder.script_journal,
            request.from_step,
            request.steps,
            self._stop_at,
        )
        self._checker.start()
        self._modes.enter_context(self._checker.shadow)

    def _finish(self, error: str) -> None:
        if self._checker is not None:
            self._checker.error = error
            self._checker.finish()
            return
        from .outcome import ScriptOutcome

        outcome = ScriptOutcome(error=error or "the script imports no torch")
        outcome.write(self._folder.path)

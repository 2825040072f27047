"""Start runs: one keeper process for a run or a comparison, one worker process for each run.

The keeper outlives whoever launched it, so leaving the screen, or the program, never stops a run.
It may be started before there are runs, so that its workers have imported torch when these come.
"""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Sequence
from typing import IO

from mpstui.processes.command import child_environment, module_command

from .rundir import RunDir

_NEW_PROCESS_GROUP = 0x0000_0200
_NO_WINDOW = 0x0800_0000
"""Values of Windows' process creation flags; ``subprocess`` has their names there only."""


class PrewarmedSupervisor:
    """A keeper that waits for runs with workers that have imported torch.

    It ends by itself when this process does, however that ends, unless it was given runs.
    """

    def __init__(self) -> None:
        self._keeper: subprocess.Popen[bytes] | None = None

    @property
    def waiting(self) -> bool:
        """Whether one was started for the next runs. One that has died is found out then."""
        return self._keeper is not None

    def heat(self, workers: int) -> None:
        """Start one, if none waits; its workers import in the background.

        Not while a run is timed: the import would take its cores.
        """
        if self._keeper is None:
            arguments = ("--warm", str(workers))
            self._keeper = _start(arguments, subprocess.PIPE, subprocess.DEVNULL)

    def take(self, runs: Sequence[RunDir]) -> subprocess.Popen[bytes] | None:
        """Give runs to the one that waits; None when there is none or it has died."""
        keeper, self._keeper = self._keeper, None
        if keeper is None or keeper.poll() is not None:
            return None
        assert keeper.stdin is not None
        line = json.dumps([str(run.path) for run in runs]) + "\n"
        try:
            with keeper.stdin as pipe:
                pipe.write(line.encode())
        except OSError:
            return None
        return keeper

    def close(self) -> None:
        """Let the one that waits end: no run will come."""
        keeper, self._keeper = self._keeper, None
        if keeper is not None and keeper.stdin is not None:
            keeper.stdin.close()


def launch(
    runs: Sequence[RunDir], warm: PrewarmedSupervisor | None = None
) -> subprocess.Popen[bytes]:
    """Start the keeper of some runs, in a session of its own, and write down its pid in each.

    Args:
        runs: A run, or the runs of a comparison.
        warm: Where a keeper may wait already; a new one is started where none does.
    """
    keeper = warm.take(runs) if warm is not None else None
    if keeper is None:
        with (runs[0].path / "keeper.log").open("ab") as log:
            keeper = _start([str(run.path) for run in runs], subprocess.DEVNULL, log)
    for run in runs:
        run.keep(keeper.pid)
    return keeper


def _start(
    arguments: Sequence[str], stdin: int, output: int | IO[bytes]
) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        module_command("mpstui.runs.supervisor", *arguments),
        stdin=stdin,
        stdout=output,
        stderr=output,
        env=child_environment(),
        start_new_session=True,  # Windows has no sessions, and subprocess passes over it there
        creationflags=creation_flags(os.name),
    )


def creation_flags(system: str) -> int:
    """What lets a keeper outlive the console window that it was started in.

    When a console window is closed, Windows ends every process attached to that console
    (CTRL_CLOSE_EVENT), whatever its process group. CREATE_NO_WINDOW gives the keeper a console of
    its own that is never shown, and its workers inherit that one. DETACHED_PROCESS would leave it
    without any, and each worker would open a window. CREATE_NEW_PROCESS_GROUP keeps Ctrl-C away.

    Source: Microsoft, "Process Creation Flags" and "CTRL+CLOSE Signal".

    Args:
        system: ``os.name``.
    """
    return _NO_WINDOW | _NEW_PROCESS_GROUP if system == "nt" else 0

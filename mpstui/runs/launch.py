"""Starts runs: one keeper process for a run or a comparison, one worker process per run.

The keeper outlives the process that launched it, so closing the screen or the program never stops a
run. It may start ahead of its runs, so that its workers have already imported torch.
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
"""Windows' process creation flags; ``subprocess`` defines them only on Windows."""


class PrewarmedSupervisor:
    """A prestarted keeper whose workers have imported torch and wait for runs.

    It exits when this process ends, however that ends, unless it has received runs.
    """

    def __init__(self) -> None:
        self._keeper: subprocess.Popen[bytes] | None = None

    @property
    def waiting(self) -> bool:
        """Whether a keeper was started for the next runs. ``take`` checks if it is alive."""
        return self._keeper is not None

    def heat(self, workers: int) -> None:
        """Start a keeper if none waits; its workers import torch in the background.

        Don't call this while a run is timed: the imports would use its cores.
        """
        if self._keeper is None:
            arguments = ("--warm", str(workers))
            self._keeper = _start(arguments, subprocess.PIPE, subprocess.DEVNULL)

    def take(self, runs: Sequence[RunDir]) -> subprocess.Popen[bytes] | None:
        """Hand runs to the waiting keeper; None if there is none or it has died."""
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
        """Let the waiting keeper exit without runs."""
        keeper, self._keeper = self._keeper, None
        if keeper is not None and keeper.stdin is not None:
            keeper.stdin.close()


def launch(
    runs: Sequence[RunDir], warm: PrewarmedSupervisor | None = None
) -> subprocess.Popen[bytes]:
    """Start a keeper for runs in its own session, and record its pid in each run.

    Args:
        runs: A run, or the runs of a comparison.
        warm: May have a waiting keeper; otherwise a new one is started.
    """
    keeper = warm.take(runs) if warm is not None else None
    if keeper is None:
        with (runs[0].path / "keeper.log").open("ab") as log:
            keeper = _start([str(run.path) for run in runs], subprocess.DEVNULL, log)
    for run in runs:
        run.record_keeper(keeper.pid)
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
        start_new_session=True,  # ignored on Windows
        creationflags=creation_flags(os.name),
    )


def creation_flags(system: str) -> int:
    """Return the flags that let a keeper outlive the console window that it was started in.

    When a console window is closed, Windows ends every process attached to that console
    (CTRL_CLOSE_EVENT), regardless of process group. CREATE_NO_WINDOW gives the keeper its own
    hidden console, which its workers inherit. With DETACHED_PROCESS it would have none, and each
    worker would open a window. CREATE_NEW_PROCESS_GROUP shields it from Ctrl-C.

    Source: Microsoft, "Process Creation Flags" and "CTRL+CLOSE Signal".

    Args:
        system: ``os.name``.
    """
    return _NO_WINDOW | _NEW_PROCESS_GROUP if system == "nt" else 0

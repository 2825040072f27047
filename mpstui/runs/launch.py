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

from .child import environment, module_command
from .rundir import RunDir


class Warm:
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


def launch(runs: Sequence[RunDir], warm: Warm | None = None) -> subprocess.Popen[bytes]:
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
    command = module_command("mpstui.runs.keeper", *arguments)
    detached = (
        {"creationflags": subprocess.CREATE_NEW_PROCESS_GROUP}  # type: ignore[attr-defined,unused-ignore]
        if os.name == "nt"
        else {"start_new_session": True}
    )
    return subprocess.Popen(
        command, stdin=stdin, stdout=output, stderr=output, env=environment(), **detached
    )

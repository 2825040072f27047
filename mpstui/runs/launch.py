"""Start runs: one keeper process for a run or a comparison, one worker process for each run.

The keeper outlives whoever launched it, so leaving the screen, or the program, never stops a run.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Sequence

from .child import environment, module_command
from .rundir import RunDir


def launch(runs: Sequence[RunDir]) -> subprocess.Popen[bytes]:
    """Start the keeper of some runs, in a session of its own, and write down its pid in each."""
    command = module_command("mpstui.runs.keeper", *(str(run.path) for run in runs))
    detached = (
        {"creationflags": subprocess.CREATE_NEW_PROCESS_GROUP}  # type: ignore[attr-defined,unused-ignore]
        if os.name == "nt"
        else {"start_new_session": True}
    )
    with (runs[0].path / "keeper.log").open("ab") as log:
        keeper = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=environment(), **detached
        )
    for run in runs:
        run.keep(keeper.pid)
    return keeper

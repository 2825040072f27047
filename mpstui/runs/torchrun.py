"""Starts several processes of a script with torch.distributed's own launcher."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from typing import IO

from .foreground import passing_signals
from .launch import creation_flags
from .rundir import Exit, RunDir
from .script_command import RANK_RUNS_VARIABLE, ScriptCommand


def start_ranks(
    runs: Sequence[RunDir],
    command: ScriptCommand,
    output: IO[bytes] | IO[str] | None = None,
    detached: bool = False,
) -> subprocess.Popen[bytes]:
    """Start a rank for each run; the launcher ends when all ranks have.

    Args:
        runs: The runs in the order of ranks.
        command: The script.
        output: Receives stdout and stderr of all ranks; None for this process's own.
        detached: Whether the ranks outlive this process and its terminal.
    """
    launcher = subprocess.Popen(
        torchrun_command(len(runs), command),
        stdin=subprocess.DEVNULL if detached else None,
        stdout=output,
        stderr=output if output is None or detached else None,
        env={**os.environ, RANK_RUNS_VARIABLE: json.dumps([str(run.path) for run in runs])},
        start_new_session=detached,
        creationflags=creation_flags(os.name) if detached else 0,
    )
    for run in runs:
        run.record_supervisor(launcher.pid)  # until the rank records itself
    return launcher


def torchrun_command(processes: int, command: ScriptCommand) -> list[str]:
    """Return the launcher's command line."""
    script = command.script
    module = ["-m", script.target] if script.kind == "module" else [script.target]
    return [
        *(sys.executable, "-m", "torch.distributed.run", "--standalone"),
        *("--nproc-per-node", str(processes), "-m", "mpstui.record"),
        *module,
        *command.arguments,
    ]


def wait_for_ranks(launcher: subprocess.Popen[bytes], runs: Sequence[RunDir]) -> int:
    """Wait for a launcher's end and return its exit status as a shell would report it.

    A rank that was ended without a chance to record that gets the launcher's status.
    """
    with passing_signals() as receiver:
        receiver.start(launcher.send_signal)
        code = launcher.wait()
    exit = Exit(code=code)
    if code:
        for run in runs:
            if run.exit() is None:
                run.write_exit(exit)
    return exit.status

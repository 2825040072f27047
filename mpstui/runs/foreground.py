"""Runs a script's worker in this terminal, without a supervisor: its stdin, stdout and stderr."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from .rundir import Exit, RunDir
from .script_command import worker_command

POLL_SECONDS = 0.1


def run_in_foreground(run: RunDir, to_stderr: bool = False) -> int:
    """Run and record a script, and return its exit status as a shell would report it.

    This process is the supervisor: it records how the worker ended, and kills it on request.
    Ctrl-C reaches the script itself, since both are in the terminal's foreground.

    Args:
        run: The run, with its script.json.
        to_stderr: Whether the script's stdout goes to stderr.
    """
    sys.stdout.flush()
    with _left_to_script():
        worker = subprocess.Popen(
            worker_command(run.path, "--foreground"), stdout=sys.stderr if to_stderr else None
        )
        run.record_supervisor(os.getpid())
        # A job scheduler ends this process; the script gets the signal as if it ran alone.
        terminate = signal.signal(signal.SIGTERM, lambda number, frame: worker.terminate())
        killed = False
        while True:
            try:
                code = worker.wait(POLL_SECONDS)
                break
            except subprocess.TimeoutExpired:
                if not killed and run.request() == "kill":
                    killed = True
                    worker.kill()
        signal.signal(signal.SIGTERM, terminate)
    exit = Exit(code=code, killed=killed)
    run.write_exit(exit)
    return exit.status


@contextmanager
def _left_to_script() -> Iterator[None]:
    """Ignore Ctrl-C in this process, but not in one that it starts.

    A signal with a Python handler has its default action again in a new program.
    """
    before = signal.signal(signal.SIGINT, lambda number, frame: None)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)

"""Requests from outside: pause, stop or kill any run, from any process."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Callable

import psutil

from mpstui.domain.errors import UsageError
from mpstui.processes.identity import Presence, ProcessIdentity

from .control import Request
from .rundir import KILLED, Exit, RunDir
from .view import RunView

CHECK_SECONDS = 0.2
OBEY_CHECKS = 25
"""Checks in which a run's own processes may obey a request to kill."""

OBEYED = "is killed"
"""What :func:`kill` returns if nothing special happened."""


def send_request(run: RunDir, request: Request) -> None:
    """Send a request to a run that is under way.

    Raises:
        UsageError: If it is over; the message says how it ended.
        LogError: If its files cannot be read.
        OSError: If the request cannot be written.
    """
    view = RunView(run)
    view.catch_up()
    if view.history.state.over:
        state = view.history.state.value
        raise UsageError(f"{run.id}: {state} already; allowed: a run that is under way")
    run.write_request(request)


def kill(run: RunDir, wait: Callable[[float], object] = time.sleep) -> str:
    """Kill a run's worker: by a request, or directly if neither it nor its supervisor obeys.

    Args:
        run: A run that is under way.
        wait: Waits for the given seconds.

    Returns:
        What happened, after the run's id.

    Raises:
        UsageError: If the run is over.
        LogError: If its files cannot be read.
    """
    problem = ""
    try:
        send_request(run, "kill")
    except OSError as error:  # the processes can be killed without it
        problem = f"; control.json could not be written: {error}"
    for _ in range(OBEY_CHECKS):
        wait(CHECK_SECONDS)
        if not run.is_under_way():
            return f"{OBEYED}{problem}"
    if run.presence() is Presence.ELSEWHERE:
        return f"is on another machine or container; a request to kill it is in its folder{problem}"
    # The supervisor first: it would record the worker's end as a crash if it could not read why.
    for process in (run.supervisor(), run.worker()):
        _kill_process(process)
    run.clear()
    with contextlib.suppress(OSError):
        if run.exit() is None:
            run.write_exit(Exit(code=KILLED, killed=True))
    return f"did not obey; its processes are killed{problem}"


def _kill_process(process: ProcessIdentity | None) -> None:
    if process is None or process.pid == os.getpid():  # a command may supervise its own run
        return
    if process.presence is Presence.ALIVE:
        with contextlib.suppress(psutil.NoSuchProcess):
            psutil.Process(process.pid).kill()

"""Runs a script's worker in this terminal, without a supervisor: its stdin, stdout and stderr."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from mpstui.processes.stdio import print_error

from .rundir import Exit, RunDir
from .script_command import worker_command

POLL_SECONDS = 0.1

PASSED = ("SIGINT", "SIGTERM", "SIGHUP", "SIGUSR1", "SIGUSR2")
"""Signals that are the script's: a scheduler sends them to the process that it started."""


def run_in_foreground(run: RunDir, to_stderr: bool = False) -> int:
    """Run and record a script, and return its exit status as a shell would report it.

    This process is the supervisor: it records how the worker ended, and kills it on request.
    Signals are passed on. Ctrl-C reaches the script itself: both are in the terminal's foreground.

    Args:
        run: The run, with its script.json.
        to_stderr: Whether the script's stdout goes to stderr.
    """
    sys.stdout.flush()
    with passing_signals() as receiver:
        worker = subprocess.Popen(
            worker_command(run.path, "--foreground"), stdout=sys.stderr if to_stderr else None
        )
        receiver.start(worker.send_signal)
        with contextlib.suppress(OSError):  # a full disk must not end the user's script
            run.record_supervisor(os.getpid())
            run.record_worker(worker.pid)
        while True:
            try:
                code = worker.wait(POLL_SECONDS)
                break
            except subprocess.TimeoutExpired:
                if run.request() == "kill":
                    worker.kill()
    exit = Exit(code=code, killed=code != 0 and run.request() == "kill")
    try:
        run.write_exit(exit)
    except OSError as error:  # the script's exit status is more important
        print_error(f"mpstui: exit.json could not be written: {error}")
    return exit.status


class SignalReceiver:
    """Passes signals to the script, once it runs."""

    def __init__(self) -> None:
        self._send: Callable[[int], object] | None = None
        self._early: list[int] = []

    def start(self, send: Callable[[int], object]) -> None:
        """Pass on what came before the script was started, and all that follows."""
        self._send = send
        for number in self._early:
            send(number)

    def receive(self, number: int, frame: object) -> None:
        """Pass a signal on; the terminal itself sends Ctrl-C to the script too."""
        if number == signal.SIGINT and _has_terminal():
            return
        if self._send is None:
            self._early.append(number)
        else:
            self._send(number)


@contextmanager
def passing_signals() -> Iterator[SignalReceiver]:
    """Leave signals to the script, as if this process were the script.

    A signal with a Python handler has its default action again in a program that is started; one
    that is ignored, as under ``nohup``, stays ignored there.
    """
    receiver = SignalReceiver()
    numbers = [getattr(signal, name) for name in PASSED if hasattr(signal, name)]
    before = {
        number: signal.signal(number, receiver.receive)
        for number in numbers
        if signal.getsignal(number) is not signal.SIG_IGN
    }
    try:
        yield receiver
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _has_terminal() -> bool:
    """Return whether this process is in the foreground of a terminal.

    On Windows a console sends Ctrl-C to all of its processes.
    """
    if sys.platform == "win32":
        return True
    try:
        terminal = os.open("/dev/tty", os.O_RDONLY | os.O_NOCTTY)
    except OSError:
        return False
    try:
        return os.tcgetpgrp(terminal) == os.getpgrp()
    except OSError:
        return False
    finally:
        os.close(terminal)

"""The worker's end of the pipes to its supervisor, and the redirection of its own output."""

from __future__ import annotations

import contextlib
import json
import os
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TextIO

from mpstui.processes.stdio import take_stdout
from mpstui.runs.rundir import RunDir


def take_pipes() -> tuple[TextIO, int]:
    """Move the pipes to and from the supervisor off stdout and stdin.

    Libraries' output must not mix with our messages. And a DataLoader's forked process first closes
    its ``sys.stdin``: it would wait forever for the lock of a thread that reads it.

    Returns:
        The output to the supervisor, and the file descriptor of the input from it.
    """
    output, input_fd = take_stdout(), os.dup(0)
    devnull = os.open(os.devnull, os.O_RDONLY)
    os.dup2(devnull, 0)
    os.close(devnull)
    return output, input_fd


def message_sender(output: TextIO) -> Callable[[str], None]:
    """Return a function that sends the supervisor a message, if it is still running."""

    def send(message: str) -> None:
        with contextlib.suppress(OSError):  # the listening thread stops the run
            output.write(f"{message}\n")
            output.flush()

    return send


def supervisor_messages(input_fd: int) -> Iterator[bytes]:
    """Yield the supervisor's messages, one a line, until it exits."""
    # Plain reads: a thread inside a buffered file would hold its lock when the process ends.
    rest = b""
    while block := os.read(input_fd, 64):
        *messages, rest = (rest + block).split(b"\n")
        yield from messages


def wait_for_run(messages: Iterator[bytes]) -> Path:
    """Wait for the supervisor to send a run, and print to its worker.log from then on.

    The process exits if none comes.
    """
    with tempfile.TemporaryFile() as early:  # holds what torch prints during its import
        _print_to(early.fileno())
        message = next(messages, None)
        if message is None:
            os._exit(0)  # immediately, whatever the training thread is importing
        run = RunDir(Path(json.loads(message.removeprefix(b"run "))))
        with run.worker_log.open("ab", buffering=0) as log:
            _print_to(log.fileno())
            early.seek(0)
            log.write(early.read())
    return run.path


def _print_to(file: int) -> None:
    for stream in (1, 2):
        os.dup2(file, stream)

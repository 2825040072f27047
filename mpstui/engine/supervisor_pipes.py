"""The worker's end of the pipes to its supervisor, and where it prints meanwhile."""

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
    """The pipes to and from the supervisor, taken out of stdout's and stdin's place.

    What libraries print must not mix with our words. And a DataLoader's forked process closes its
    ``sys.stdin`` first of all: it would wait for ever for the lock of a thread that reads there.
    """
    said, supervisor = take_stdout(), os.dup(0)
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.close(nothing)
    return said, supervisor


def word_sender(said: TextIO) -> Callable[[str], None]:
    """What says a word to the supervisor; one that is gone does not hear it."""

    def say(word: str) -> None:
        with contextlib.suppress(OSError):  # whoever hears its words stops the run
            said.write(f"{word}\n")
            said.flush()

    return say


def supervisor_words(supervisor: int) -> Iterator[bytes]:
    """What the supervisor says, a line each, until it is gone."""
    # Plain reads: a thread inside a buffered file would hold its lock when the process ends.
    rest = b""
    while block := os.read(supervisor, 64):
        *words, rest = (rest + block).split(b"\n")
        yield from words


def wait_for_run(words: Iterator[bytes]) -> Path:
    """Wait for the supervisor to name a run, and print into its worker.log from then on.

    The process ends if none comes.
    """
    with tempfile.TemporaryFile() as early:  # what torch says as it is imported belongs there too
        _print_to(early.fileno())
        word = next(words, None)
        if word is None:
            os._exit(0)  # at once, whatever the training thread imports just now
        run = RunDir(Path(json.loads(word.removeprefix(b"run "))))
        with run.worker_log.open("ab", buffering=0) as log:
            _print_to(log.fileno())
            early.seek(0)
            log.write(early.read())
    return run.path


def _print_to(file: int) -> None:
    for stream in (1, 2):
        os.dup2(file, stream)

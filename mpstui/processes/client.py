"""A client for short-lived processes: a driver can abort, crash or hang the process that calls it.

An abort or a crash is an answer too: it becomes a :class:`ProcessFailed` that describes it. What
mpstui or somebody else did to the process says nothing about it: that becomes a
:class:`ProcessUndecided`.
"""

from __future__ import annotations

import queue
import subprocess
import tempfile
import threading
from collections.abc import Generator, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import IO

from mpstui.domain.errors import MpstuiError
from mpstui.domain.facts import ImportFact

from .command import child_environment, ending, is_from_outside
from .patience import Patience, cpu_seconds

GRACE = 5.0
"""Seconds that a process is waited for once its answer is complete, and again once it is killed:
one that hangs in its driver may never go."""


class ProcessClient:
    """Runs one question at a time, and can be told to stop from another thread.

    Args:
        grace: Seconds that a process is waited for after it has closed its stdout, or was killed.
    """

    def __init__(self, grace: float = GRACE) -> None:
        self._grace = grace
        self._process: subprocess.Popen[str] | None = None
        self._stopped = False

    def stop(self) -> None:
        """End the question under way, and ask no more: the app is closing."""
        self._stopped = True
        if self._process is not None:
            self._process.kill()

    def lines(self, command: Sequence[str], timeout: float) -> Generator[str, None, None]:
        """The lines that a command prints, as they come.

        Args:
            command: What to run.
            timeout: Seconds without a line and without CPU time, after which the process is given
                up; see :class:`~mpstui.processes.patience.Patience`.

        Raises:
            ProcessTooSlow: When the process was given up.
            Undecided: When it was stopped, or killed from outside.
            ProcessFailed: When it died. One that has printed everything and only takes long to end
                has done none of these.
        """
        with tempfile.TemporaryFile("w+", encoding="utf-8", errors="replace") as stderr:
            with self._started(command, stderr) as process:
                yield from _read(process, timeout)
                with suppress(subprocess.TimeoutExpired):
                    process.wait(self._grace)
                # All that it has to say is there. If it does not end in time it is killed, and
                # that signal is ours: it says nothing about the process.
                ended_alone = process.poll() is not None
            if self._stopped:
                raise ProcessUndecided("stopped")
            if ended_alone and process.returncode != 0:
                stderr.seek(0)
                raise _how_it_ended(process.returncode, stderr.read()[-20_000:])

    @contextmanager
    def _started(self, command: Sequence[str], stderr: IO[str]) -> Iterator[subprocess.Popen[str]]:
        if self._stopped:
            raise ProcessUndecided("stopped")
        process = subprocess.Popen(
            list(command),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=stderr,
            encoding="utf-8",
            errors="replace",
            env=child_environment(),
        )
        self._process = process
        try:
            yield process
        finally:
            self._process = None
            if process.poll() is None:
                process.kill()
                with suppress(subprocess.TimeoutExpired):
                    process.wait(self._grace)


def _read(process: subprocess.Popen[str], timeout: float) -> Iterator[str]:
    """Lines from a thread of their own, since a pipe cannot be waited for with a limit."""
    lines: queue.SimpleQueue[str | None] = queue.SimpleQueue()

    def hear() -> None:
        for line in process.stdout or ():
            lines.put(line)
        lines.put(None)

    threading.Thread(target=hear, daemon=True).start()
    patience = Patience(lambda: cpu_seconds(process.pid), timeout)
    while True:
        try:
            line = lines.get(timeout=patience.look)
        except queue.Empty:
            if patience.is_over():
                words = f"no answer within {timeout:g} s; mpstui ended the process"
                raise ProcessTooSlow(words) from None
            continue
        if line is None:
            return
        yield line
        patience.hear()


def _how_it_ended(code: int, stderr: str) -> ProcessFailed:
    lines = [line.strip() for line in stderr.splitlines() if line.strip()]
    last = lines[-1][:300] if lines else ""
    if is_from_outside(code):
        return ProcessUndecided(f"the process was killed from outside ({ending(code)})")
    if code > 0:
        if last == "ModuleNotFoundError: No module named 'torch'":
            return ProcessFailed(TORCH_MISSING)
        return ProcessFailed(last or f"the process ended with status {code} and without a word")
    name = ending(code)
    verb = "aborted" if name == "SIGABRT" else "was killed"
    return ProcessFailed(f"the process {verb} ({name})" + (f": {last}" if last else ""))


TORCH_MISSING = "torch is not installed"


class ProcessFailed(MpstuiError):
    """A probe came back without an answer; the message says why.

    Args:
        why: The reason, in words.
        imported: How torch was imported, where the probe came to say so.
    """

    title = "Probe failed"

    def __init__(self, why: str, imported: ImportFact | None = None) -> None:
        super().__init__(why)
        self.imported = imported


class ProcessUndecided(ProcessFailed):
    """No answer, for a reason that says nothing about what was asked.

    Our own time limit, our own stop, our own error, or a kill from outside.
    """

    title = "Not decided"


class ProcessTooSlow(ProcessUndecided):
    """A process exceeded a limit of ours: that says nothing about what it was asked."""

"""Probes run in a child process, because a driver can abort, crash or hang its process.

Each of these outcomes is an answer and raises :class:`ProcessFailed` with a
description. When mpstui or another program ended the process, nothing was learnt: that raises
:class:`ProcessUndecided`.
"""

from __future__ import annotations

import queue
import subprocess
import tempfile
import threading
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import IO

from mpstui.domain.errors import MpstuiError
from mpstui.domain.facts import ImportFact

from .command import child_environment, describe_exit, is_from_outside
from .patience import Patience, cpu_seconds

GRACE = 5.0
"""Seconds to wait for a process after its answer is complete, and again after killing it: a
process that hangs in its driver may never exit."""


TORCH_MISSING = "torch is not installed"


class ProcessFailed(MpstuiError):
    """A process returned no answer; the message is the reason.

    Args:
        reason: The message.
        imported: How the import of torch went, if the process reported it.
    """

    title = "Probe failed"

    def __init__(self, reason: str, imported: ImportFact | None = None) -> None:
        super().__init__(reason)
        self.imported = imported


class ProcessUndecided(ProcessFailed):
    """A process returned no answer, for a reason that says nothing about what it was asked.

    Causes are mpstui's time limit, stop or error, and a kill from outside.
    """

    title = "Not decided"


class ProcessTooSlow(ProcessUndecided):
    """A process exceeded mpstui's time limit, which says nothing about what it was asked."""


class ProcessClient:
    """A runner of one probe command at a time; another thread may stop it.

    Args:
        grace: Seconds to wait for a process that has closed its stdout, or was killed.
    """

    def __init__(self, grace: float = GRACE) -> None:
        self._grace = grace
        self._process: subprocess.Popen[str] | None = None
        self._stopped = False

    def stop(self) -> None:
        """Kill the running command and start no more: the app is closing."""
        self._stopped = True
        if self._process is not None:
            self._process.kill()

    def lines(self, command: Sequence[str], timeout: float) -> Generator[str, None, None]:
        """Yield the lines that a command prints, as they arrive.

        Args:
            command: The command line to run.
            timeout: Seconds without a line and without CPU time, after which the process is
                killed; see :class:`~mpstui.processes.patience.Patience`.

        Raises:
            ProcessTooSlow: The process exceeded ``timeout``.
            ProcessUndecided: It was stopped, or killed from outside.
            ProcessFailed: It crashed or exited with an error. A process that has printed everything
                and is only slow to exit raises nothing.
        """
        with tempfile.TemporaryFile("w+", encoding="utf-8", errors="replace") as stderr:
            with self._start(command, stderr) as process:
                yield from read_lines(process.stdout, lambda: cpu_seconds(process.pid), timeout)
                with suppress(subprocess.TimeoutExpired):
                    process.wait(self._grace)
                # The output is complete. If the process does not exit in time, mpstui kills it,
                # and its exit status then says nothing about the probe.
                exited_itself = process.poll() is not None
            if self._stopped:
                raise ProcessUndecided("stopped")
            if exited_itself and process.returncode != 0:
                stderr.seek(0)
                raise _failure_from_exit(process.returncode, stderr.read()[-20_000:])

    @contextmanager
    def _start(self, command: Sequence[str], stderr: IO[str]) -> Iterator[subprocess.Popen[str]]:
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


def read_lines(
    output: Iterable[str] | None, used_seconds: Callable[[], float], timeout: float
) -> Iterator[str]:
    """Yield a process's lines as they arrive; a thread reads: a pipe has no timeout.

    Args:
        output: The process's output.
        used_seconds: Returns the CPU time that the process has used.
        timeout: Seconds without a line and without CPU time, after which reading ends.

    Raises:
        ProcessTooSlow: The process exceeded ``timeout``.
    """
    lines: queue.SimpleQueue[str | None] = queue.SimpleQueue()

    def read_output() -> None:
        for line in output or ():
            lines.put(line)
        lines.put(None)

    threading.Thread(target=read_output, daemon=True).start()
    patience = Patience(used_seconds, timeout)
    while True:
        try:
            line = lines.get(timeout=patience.interval)
        except queue.Empty:
            if patience.is_over():
                message = f"no answer within {timeout:g} s; mpstui ended the process"
                raise ProcessTooSlow(message) from None
            continue
        if line is None:
            return
        yield line
        patience.reset()


def _failure_from_exit(code: int, stderr: str) -> ProcessFailed:
    lines = [line.strip() for line in stderr.splitlines() if line.strip()]
    last_line = lines[-1][:300] if lines else ""
    if is_from_outside(code):
        return ProcessUndecided(f"the process was killed from outside ({describe_exit(code)})")
    if code > 0:
        if last_line == "ModuleNotFoundError: No module named 'torch'":
            return ProcessFailed(TORCH_MISSING)
        return ProcessFailed(
            last_line or f"the process ended with status {code} and without a message"
        )
    name = describe_exit(code)
    verb = "aborted" if name == "SIGABRT" else "was killed"
    return ProcessFailed(f"the process {verb} ({name})" + (f": {last_line}" if last_line else ""))

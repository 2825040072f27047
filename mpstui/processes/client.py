"""Asking in a process of its own: a driver can abort, crash or hang the process that asks it.

Each of these is an answer too, and becomes a :class:`~mpstui.doctor.probes.ProbeFailed` that says
it in words. What we or somebody else did to the process is none: that becomes
:class:`~mpstui.doctor.probes.Undecided`.
"""

from __future__ import annotations

import queue
import subprocess
import tempfile
import threading
from collections.abc import Generator, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import IO

from mpstui.doctor.probes import TORCH_MISSING, ProbeFailed, ProbeTooSlow, ProbeUndecided

from .command import child_environment, describe_exit, is_from_outside
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
            ProbeTooSlow: When the process was given up.
            Undecided: When it was stopped, or killed from outside.
            ProbeFailed: When it died. One that has printed everything and only takes long to end
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
                raise ProbeUndecided("stopped")
            if ended_alone and process.returncode != 0:
                stderr.seek(0)
                raise _how_it_ended(process.returncode, stderr.read()[-20_000:])

    @contextmanager
    def _started(self, command: Sequence[str], stderr: IO[str]) -> Iterator[subprocess.Popen[str]]:
        if self._stopped:
            raise ProbeUndecided("stopped")
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
                raise ProbeTooSlow(words) from None
            continue
        if line is None:
            return
        yield line
        patience.hear()


def _how_it_ended(code: int, stderr: str) -> ProbeFailed:
    lines = [line.strip() for line in stderr.splitlines() if line.strip()]
    last = lines[-1][:300] if lines else ""
    if is_from_outside(code):
        return ProbeUndecided(f"the process was killed from outside ({describe_exit(code)})")
    if code > 0:
        if last == "ModuleNotFoundError: No module named 'torch'":
            return ProbeFailed(TORCH_MISSING)
        return ProbeFailed(last or f"the process ended with status {code} and without a word")
    name = describe_exit(code)
    verb = "aborted" if name == "SIGABRT" else "was killed"
    return ProbeFailed(f"the process {verb} ({name})" + (f": {last}" if last else ""))

"""Runs calls in a separate process, and decides what a missing answer means.

A call may end its process, or never return. It *hangs* only if the process has reported that torch
is imported and how long the CPU took for the same call, and the device then exceeds a limit scaled
by that time. Anything else that takes too long stays undecided.
"""

from __future__ import annotations

import queue
import subprocess
import tempfile
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import IO

import msgspec

from mpstui.ops.call import Call
from mpstui.processes.command import (
    child_environment,
    describe_exit,
    is_from_outside,
    module_command,
)
from mpstui.processes.patience import CHECK_SECONDS, Patience, cpu_seconds

from .attempt import CallContext
from .replay import Answer, ReferenceDone, ReplayOutcome, ReplayReady, ReplayRequest

START_SECONDS = 180.0
"""Seconds without CPU time that a process may take until it is ready."""

LEAST_SECONDS = 60.0
"""Least time limit of a call on a device, which may include compiling kernels."""

TIMES_CPU = 200.0
"""Time limit of a call as a multiple of the CPU's time."""


class ReplayUndecided(Exception):
    """Raised if a trial has no outcome; the message says why."""


class ReplayDied(Exception):
    """Raised if the process ended by itself in a trial; the message says how."""


class ReplayClient:
    """A client of a process that runs calls on a device, restarted when it ended.

    Args:
        device: The device's name, without options.
        fault: A simulated fault by name; empty for none.
        run_dir: The run's folder, with the copy of a fault's file.
        least: The least time limit of a call, in seconds.
    """

    def __init__(
        self, device: str, fault: str, run_dir: Path | None, least: float = LEAST_SECONDS
    ) -> None:
        self._command = module_command("mpstui.investigate.repro.replay", device)
        self._command += ["--fault", fault] if fault else []
        self._command += ["--dir", str(run_dir)] if run_dir else []
        self._least = least
        self._process: _ReplayProcess | None = None

    def fresh(self, call: Call, context: CallContext, dense: bool = False) -> ReplayOutcome:
        """Run a call in a fresh process."""
        self.close()
        return self.again(call, context, dense)

    def again(self, call: Call, context: CallContext, dense: bool = False) -> ReplayOutcome:
        """Run a call in the current process."""
        with tempfile.TemporaryDirectory() as folder:
            paths = [Path(folder) / f"{n}.pt" for n in range(1 + len(context.before))]
            for path, saved in zip(paths, (call, *context.before), strict=True):
                saved.save(path)
            request = ReplayRequest(
                call=str(paths[0]),
                backward=context.backward,
                times=context.times,
                before=tuple(str(path) for path in paths[1:]),
                dense=dense,
            )
            try:
                return self._run(request)
            except ReplayUndecided as error:
                text = f"not decided: {error}"
                return ReplayOutcome(wrong=0, times=0, text=text)
            except ReplayDied as error:
                return ReplayOutcome(wrong=1, times=1, text=str(error), died=True)

    def close(self) -> None:
        """End the process."""
        if self._process is not None:
            self._process.close()
            self._process = None

    def _run(self, request: ReplayRequest) -> ReplayOutcome:
        if self._process is None:
            self._process = _ReplayProcess(self._command)
        try:
            return self._process.run(request, self._least)
        except (ReplayUndecided, ReplayDied):
            self.close()
            raise


class _ReplayProcess:
    def __init__(self, command: Sequence[str]) -> None:
        self._stderr: IO[str] = tempfile.TemporaryFile(  # noqa: SIM115 - closed with the process
            "w+", encoding="utf-8", errors="replace"
        )
        self._process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._stderr,
            encoding="utf-8",
            env=child_environment(),
        )
        self._lines: queue.SimpleQueue[str | None] = queue.SimpleQueue()
        listening = (self._process.stdout, self._lines)
        threading.Thread(target=_read_lines, args=listening, daemon=True).start()
        self._is_ready = False

    def run(self, request: ReplayRequest, least: float) -> ReplayOutcome:
        """Send a trial and wait for its outcome.

        Raises:
            ReplayUndecided: If the process was not ready in time, or was killed from outside.
            ReplayDied: If it ended by itself after it was ready.
        """
        if not self._is_ready:
            self._receive("importing torch", START_SECONDS, ReplayReady)
            self._is_ready = True
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(msgspec.json.encode(request).decode() + "\n")
            self._process.stdin.flush()
        except BrokenPipeError as error:
            raise ReplayUndecided("the process was gone before the trial") from error
        timed = self._receive("the call on the CPU", START_SECONDS, ReferenceDone)
        assert isinstance(timed, ReferenceDone)
        limit = max(least, TIMES_CPU * timed.seconds)
        answer = self._device_answer(limit)
        if answer is None:
            text = (
                f"hangs: no result within {limit:.0f} s, where the CPU took {timed.seconds:.2g} s"
            )
            return ReplayOutcome(wrong=1, times=1, text=text, hangs=True, died=True)
        assert isinstance(answer, ReplayOutcome)
        return answer

    def _receive(self, doing: str, limit: float, kind: type[Answer]) -> Answer:
        """Wait for the next answer in a stage without device work."""
        patience = Patience(lambda: cpu_seconds(self._process.pid), limit)
        while True:
            try:
                answer = self._next(patience.interval)
            except queue.Empty:
                if patience.is_over():
                    raise ReplayUndecided(f"{doing} took too long") from None
                continue
            if isinstance(answer, kind):
                return answer

    def _device_answer(self, limit: float) -> Answer | None:
        """Wait for the device's answer; None if it exceeds the limit.

        Polls are counted instead of seconds, because a suspended machine does not poll.
        """
        for _ in range(max(round(limit / CHECK_SECONDS), 1)):
            try:
                return self._next(CHECK_SECONDS)
            except queue.Empty:
                continue
        return None

    def _next(self, seconds: float) -> Answer:
        line = self._lines.get(timeout=seconds)
        if line is None:
            raise self._exit_error()
        answer: Answer = msgspec.json.decode(line, type=Answer)
        return answer

    def _exit_error(self) -> Exception:
        code = self._process.wait()
        self._stderr.seek(0)
        lines = [line.strip() for line in self._stderr.read()[-20_000:].splitlines()]
        last = next((line for line in reversed(lines) if line), "")[:160]
        message = f"the process ended with {describe_exit(code)}" + (f": {last}" if last else "")
        if code >= 0 or not self._is_ready:
            return ReplayUndecided(message)  # an error of mpstui, or at startup
        if is_from_outside(code):
            return ReplayUndecided(f"{message}, from outside")
        return ReplayDied(message)

    def close(self) -> None:
        """End the process."""
        self._process.kill()
        with self._process:  # closes its pipes and waits
            pass
        self._stderr.close()


def _read_lines(stdout: IO[str], lines: queue.SimpleQueue[str | None]) -> None:
    for line in stdout:
        lines.put(line)
    lines.put(None)

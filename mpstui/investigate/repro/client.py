"""Trials of a call in processes of their own, and what an answer that does not come is evidence of.

A call may end its process, or never return. It *hangs* only when the process has said that torch is
imported and how long the CPU took for the same call there, and the device then exceeds a limit
scaled by that. Anything else that takes too long is not decided.
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
"""How long a process may be silent, without CPU time, before it says that it is ready."""

LEAST_SECONDS = 60.0
"""How long a device may take for a call, at least, before it hangs: kernels are compiled too."""

TIMES_CPU = 200.0
"""How many times as long as the CPU it may take."""


class ReplayUndecided(Exception):
    """A trial has no outcome; the message says why."""


class ReplayDied(Exception):
    """The process ended by itself in a trial; the message says how."""


class ReplayClient:
    """A process that tries calls on a device; a new one when the last one is gone.

    Args:
        device: The device's name, without options.
        fault: A simulated fault by name; empty for none.
        run_dir: The run's folder, with the copy of a fault's file.
        least: Seconds that a call may take at least.
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
        """Try a call in a process that has done nothing else."""
        self.close()
        return self.again(call, context, dense)

    def again(self, call: Call, context: CallContext, dense: bool = False) -> ReplayOutcome:
        """Try a call in the process that is there."""
        with tempfile.TemporaryDirectory() as folder:
            paths = [Path(folder) / f"{n}.pt" for n in range(1 + len(context.before))]
            for path, saved in zip(paths, (call, *context.before), strict=True):
                saved.save(path)
            trial = ReplayRequest(
                call=str(paths[0]),
                backward=context.backward,
                times=context.times,
                before=tuple(str(path) for path in paths[1:]),
                dense=dense,
            )
            try:
                return self._ask(trial)
            except ReplayUndecided as error:
                words = f"not decided: {error}"
                return ReplayOutcome(wrong=0, times=0, words=words)
            except ReplayDied as error:
                return ReplayOutcome(wrong=1, times=1, words=str(error), died=True)

    def close(self) -> None:
        """End the process."""
        if self._process is not None:
            self._process.close()
            self._process = None

    def _ask(self, trial: ReplayRequest) -> ReplayOutcome:
        if self._process is None:
            self._process = _ReplayProcess(self._command)
        try:
            return self._process.ask(trial, self._least)
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
        threading.Thread(target=_listen, args=listening, daemon=True).start()
        self._is_ready = False

    def ask(self, trial: ReplayRequest, least: float) -> ReplayOutcome:
        """Put a trial and wait for its outcome.

        Raises:
            Undecided: When the process was not ready in time, or was killed from outside.
            Died: When it ended by itself once it was ready.
        """
        if not self._is_ready:
            self._hear("importing torch", START_SECONDS, ReplayReady)
            self._is_ready = True
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(msgspec.json.encode(trial).decode() + "\n")
            self._process.stdin.flush()
        except BrokenPipeError as error:
            raise ReplayUndecided("the process was gone before the trial") from error
        timed = self._hear("the call on the CPU", START_SECONDS, ReferenceDone)
        assert isinstance(timed, ReferenceDone)
        limit = max(least, TIMES_CPU * timed.seconds)
        answer = self._device_answer(limit)
        if answer is None:
            words = (
                f"hangs: no result within {limit:.0f} s, where the CPU took {timed.seconds:.2g} s"
            )
            return ReplayOutcome(wrong=1, times=1, words=words, hangs=True, died=True)
        assert isinstance(answer, ReplayOutcome)
        return answer

    def _hear(self, doing: str, limit: float, kind: type[Answer]) -> Answer:
        """The next answer of a stage in which no device is at work."""
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
        """What the device made of the call; None when it exceeds the limit.

        Looks are counted in place of seconds: a machine that sleeps takes none.
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
            raise self._how_it_ended()
        answer: Answer = msgspec.json.decode(line, type=Answer)
        return answer

    def _how_it_ended(self) -> Exception:
        code = self._process.wait()
        self._stderr.seek(0)
        lines = [line.strip() for line in self._stderr.read()[-20_000:].splitlines()]
        last = next((line for line in reversed(lines) if line), "")[:160]
        words = f"the process ended with {describe_exit(code)}" + (f": {last}" if last else "")
        if code >= 0 or not self._is_ready:
            return ReplayUndecided(words)  # an error of ours, or of the start
        if is_from_outside(code):
            return ReplayUndecided(f"{words}, from outside")
        return ReplayDied(words)

    def close(self) -> None:
        """End it."""
        self._process.kill()
        with self._process:  # closes its pipes and waits
            pass
        self._stderr.close()


def _listen(stdout: IO[str], lines: queue.SimpleQueue[str | None]) -> None:
    for line in stdout:
        lines.put(line)
    lines.put(None)

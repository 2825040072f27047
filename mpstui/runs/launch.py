"""Starts runs: one supervisor process for a run or a comparison, one worker process per run.

The supervisor outlives the process that launched it, so closing the app never
stops a run. It may start ahead of its runs, so that its workers have already imported torch.
"""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Sequence
from typing import IO

from mpstui.domain.facts import TorchFacts
from mpstui.processes.client import ProcessTooSlow, read_lines
from mpstui.processes.command import FACTS_FLAG, child_environment, module_command
from mpstui.processes.patience import IMPORT_SECONDS, tree_cpu_seconds
from mpstui.processes.stdio import read_answer

from .rundir import RunDir

_NEW_PROCESS_GROUP = 0x0000_0200
_NO_WINDOW = 0x0800_0000
"""Windows' process creation flags; ``subprocess`` defines them only on Windows."""


class PrewarmedSupervisor:
    """A prestarted supervisor whose workers have imported torch and wait for runs.

    It exits when this process ends, however that ends, unless it has received runs.
    """

    def __init__(self) -> None:
        self._supervisor: subprocess.Popen[bytes] | None = None

    @property
    def waiting(self) -> bool:
        """Whether a supervisor was started for the next runs. ``take`` checks if it is alive."""
        return self._supervisor is not None

    def prewarm(self, workers: int) -> None:
        """Start a supervisor if none waits; its workers import torch in the background.

        Don't call this while a run is timed: the imports would use its cores.
        """
        if self._supervisor is None:
            arguments = ("--warm", str(workers))
            nowhere = subprocess.DEVNULL
            self._supervisor = _start(arguments, subprocess.PIPE, nowhere, nowhere)

    def torch_facts(self, workers: int, timeout: float = IMPORT_SECONDS) -> TorchFacts | None:
        """Start a supervisor whose workers import torch, and ask one of them for torch's facts.

        So one process answers for the devices, and trains.

        Args:
            workers: How many workers to start.
            timeout: Seconds that all of them may be idle; see
                :class:`~mpstui.processes.patience.Patience`.

        Returns:
            The facts; None if the process has none, for instance because its import failed. The
            doctor's probe knows why.

        Raises:
            ProcessTooSlow: There was no answer in time; the processes are ended.
        """
        self.close()
        arguments = ("--warm", str(workers), FACTS_FLAG)
        supervisor = _start(arguments, subprocess.PIPE, subprocess.PIPE, subprocess.DEVNULL)
        self._supervisor = supervisor
        assert supervisor.stdout is not None
        lines = (line.decode(errors="replace") for line in supervisor.stdout)
        answers = read_lines(lines, lambda: tree_cpu_seconds(supervisor.pid), timeout)
        try:
            return read_answer(next(answers, ""), TorchFacts)
        except ProcessTooSlow:
            self.close()  # a worker that hangs in its import must get no run
            raise

    def take(self, runs: Sequence[RunDir]) -> subprocess.Popen[bytes] | None:
        """Hand runs to the waiting supervisor; None if there is none or it has died."""
        supervisor, self._supervisor = self._supervisor, None
        if supervisor is None or supervisor.poll() is not None:
            return None
        assert supervisor.stdin is not None
        line = json.dumps([str(run.path) for run in runs]) + "\n"
        try:
            with supervisor.stdin as pipe:
                pipe.write(line.encode())
        except OSError:
            return None
        return supervisor

    def close(self) -> None:
        """Let the waiting supervisor exit without runs."""
        supervisor, self._supervisor = self._supervisor, None
        if supervisor is not None and supervisor.stdin is not None:
            supervisor.stdin.close()


def launch(
    runs: Sequence[RunDir], warm: PrewarmedSupervisor | None = None
) -> subprocess.Popen[bytes]:
    """Start a supervisor for runs in its own session, and record its pid in each run.

    Args:
        runs: A run, or the runs of a comparison.
        warm: May have a waiting supervisor; otherwise a new one is started.

    Raises:
        OSError: If it cannot be started, or not be recorded. Then it is killed, and none of the
            runs is under way.
    """
    supervisor = None
    try:
        supervisor = warm.take(runs) if warm is not None else None
        if supervisor is None:
            with (runs[0].path / "supervisor.log").open("ab") as log:
                paths = [str(run.path) for run in runs]
                supervisor = _start(paths, subprocess.DEVNULL, log, log)
        for run in runs:
            run.record_supervisor(supervisor.pid)
    except OSError:
        if supervisor is not None:
            supervisor.kill()
            supervisor.wait()
        for run in runs:
            run.forget_supervisor()
        raise
    return supervisor


def _start(
    arguments: Sequence[str],
    stdin: int,
    stdout: int | IO[bytes],
    stderr: int | IO[bytes],
) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        module_command("mpstui.runs.supervisor", *arguments),
        stdin=stdin,
        stdout=stdout,
        stderr=stderr,
        env=child_environment(),
        start_new_session=True,  # ignored on Windows
        creationflags=creation_flags(os.name),
    )


def creation_flags(system: str) -> int:
    """Return the flags that let a supervisor outlive the console window that it was started in.

    When a console window is closed, Windows ends every process attached to that console
    (CTRL_CLOSE_EVENT), regardless of process group. CREATE_NO_WINDOW gives the supervisor its own
    hidden console, which its workers inherit. With DETACHED_PROCESS it would have none, and each
    worker would open a window. CREATE_NEW_PROCESS_GROUP shields it from Ctrl-C.

    Source: Microsoft, "Process Creation Flags" and "CTRL+CLOSE Signal".

    Args:
        system: ``os.name``.
    """
    return _NO_WINDOW | _NEW_PROCESS_GROUP if system == "nt" else 0

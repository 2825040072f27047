"""A supervisor's worker processes: each has a run, or is prestarted and waits for one.

A supervisor and a worker exchange one-line messages: ``run …``, ``go``, ``wait`` and ``alarm …`` to
the worker; ``ready``, ``yielded``, ``paused`` and ``resumed`` to the supervisor. A prestarted
worker may answer with torch's facts first, as a line of JSON.
"""

from __future__ import annotations

import contextlib
import json
import queue
import subprocess
import threading
from collections.abc import Callable, Mapping, Sequence
from typing import IO

from mpstui.processes.command import (
    FACTS_FLAG,
    child_environment,
    module_command,
    user_environment,
)
from mpstui.processes.patience import cpu_seconds
from mpstui.processes.stdio import print_error

from .rundir import Exit, RunDir
from .script_command import worker_command


def _start(
    command: Sequence[str], environment: Mapping[str, str] | None, stderr: int | IO[bytes]
) -> subprocess.Popen[str]:
    return subprocess.Popen(
        command,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=stderr,
        text=True,
        bufsize=1,
        errors="replace",
        env=environment,
    )


class SpareWorker:
    """A worker process without a run: it imports torch, waits, and exits with its supervisor.

    Args:
        on_facts: Receives the process's first line, which has torch's facts, or an empty line if it
            exits without. By default it is not asked for them.
    """

    def __init__(self, on_facts: Callable[[str], None] | None = None) -> None:
        command = module_command("mpstui.engine.worker", *([FACTS_FLAG] if on_facts else []))
        # Once it has a run, it writes to the run's log.
        self._process = _start(command, child_environment(), stderr=subprocess.DEVNULL)
        self._answer: threading.Thread | None = None
        if on_facts is not None:
            self._answer = threading.Thread(target=self._answer_to, args=(on_facts,), daemon=True)
            self._answer.start()

    def _answer_to(self, on_facts: Callable[[str], None]) -> None:
        assert self._process.stdout is not None
        on_facts(self._process.stdout.readline())

    def take(self, run: RunDir) -> subprocess.Popen[str] | None:
        """Hand it a run; None if the process has exited, which is not an error for a spare.

        A run comes after torch's facts, if they were asked for.
        """
        if self._answer is not None:
            self._answer.join()
        if self._process.poll() is not None:
            return None
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(f"run {json.dumps(str(run.path))}\n")
            self._process.stdin.flush()
        except OSError:
            return None
        return self._process

    def end(self) -> None:
        """Kill the process; without a run it has nothing to lose."""
        self._process.kill()
        with self._process:  # closes its pipes and waits
            pass


class RunWorker:
    """A worker process that has a run."""

    def __init__(
        self,
        run: RunDir,
        messages: queue.Queue[tuple[RunWorker, str]],
        spare: SpareWorker | None = None,
    ) -> None:
        """Start the worker.

        Args:
            run: The run to train.
            messages: Receives the worker's messages.
            spare: A process to use instead of a new one, if it is still alive.
        """
        self.run = run
        self.state = "starting"
        """``starting``, ``ready``, ``running``, ``yielding``, ``paused`` or ``gone``."""
        self._killed = False
        warm = spare.take(run) if spare is not None else None
        if warm is None:
            is_script = run.script() is not None
            command = (
                worker_command(run.path)
                if is_script
                else module_command("mpstui.engine.worker", str(run.path))
            )
            # A script and its own processes get the user's environment, without a change.
            environment = user_environment() if is_script else child_environment()
            with run.worker_log.open("ab") as log:
                self._process = _start(command, environment, stderr=log)
        else:
            self._process = warm
        with contextlib.suppress(OSError):  # a full disk, or a folder that is gone
            run.record_worker(self._process.pid)
        for target in (self._listen, self._wait):
            threading.Thread(target=target, args=(messages,), daemon=True).start()

    def _listen(self, messages: queue.Queue[tuple[RunWorker, str]]) -> None:
        """Pass on messages. The pipe may stay open after the worker's end: its children have it."""
        assert self._process.stdout is not None
        for line in self._process.stdout:
            messages.put((self, line.strip()))

    def _wait(self, messages: queue.Queue[tuple[RunWorker, str]]) -> None:
        """Wait for the worker's end and record it; the run is over, whatever can be written."""
        try:
            code = self._process.wait()
            self.run.clear()
            is_killed = self._killed or (code != 0 and self.run.request() == "kill")
            self.run.write_exit(Exit(code=code, killed=is_killed))
        except OSError as error:  # readers see by the processes that the run is over
            print_error(f"{self.run.id}: exit.json could not be written: {error}")
        finally:
            messages.put((self, "gone"))

    def send(self, message: str) -> None:
        """Send a message to the worker; ignored if the worker has exited."""
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(f"{message}\n")
            self._process.stdin.flush()
        except (BrokenPipeError, OSError):
            pass
        else:
            self.state = {"go": "running", "wait": "yielding"}.get(message, self.state)

    def receive(self, message: str) -> None:
        """Update the state by a message from the worker; the last one is its end."""
        if self.state == "gone":
            return
        states = {
            "ready": "ready",
            "yielded": "ready",
            "resumed": "ready",
            "paused": "paused",
            "gone": "gone",
        }
        self.state = states.get(message, self.state)

    def cpu_seconds(self) -> float:
        """Return the worker's CPU time so far, in seconds."""
        return cpu_seconds(self._process.pid)

    def kill_if_requested(self) -> None:
        """Kill the process if the user requested it."""
        if not self._killed and self.state != "gone" and self.run.request() == "kill":
            self._killed = True
            self._process.kill()

"""Worker processes as their keeper knows them: each has a run, or waits warm for one.

Between a keeper and a worker go single words, one a line: ``run …``, ``go``, ``wait`` and
``alarm …`` one way; ``ready``, ``yielded``, ``paused`` and ``resumed`` the other.
"""

from __future__ import annotations

import json
import queue
import subprocess
import threading
from typing import IO

from mpstui.processes.command import child_environment, module_command

from .rundir import Exit, RunDir


def _start(*arguments: str, stderr: int | IO[bytes]) -> subprocess.Popen[str]:
    return subprocess.Popen(
        module_command("mpstui.engine.worker", *arguments),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=stderr,
        text=True,
        bufsize=1,
        errors="replace",
        env=child_environment(),
    )


class SpareWorker:
    """A worker process without a run: it imports torch, then waits. It ends with its keeper."""

    def __init__(self) -> None:
        self._process = _start(stderr=subprocess.DEVNULL)  # it keeps its words for its run's log

    def take(self, run: RunDir) -> subprocess.Popen[str] | None:
        """Give it a run; None when it has gone meanwhile, which is no error: it was a spare one."""
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
        """End it: there is no run for it, and nothing to lose."""
        self._process.kill()
        with self._process:  # closes its pipes and waits
            pass


class RunWorker:
    """A worker process that has a run."""

    def __init__(
        self,
        run: RunDir,
        said: queue.Queue[tuple[RunWorker, str]],
        spare: SpareWorker | None = None,
    ) -> None:
        """Start it.

        Args:
            run: What it trains.
            said: Where its words go.
            spare: A process to take instead of a new one, if it is still there.
        """
        self.run = run
        self.state = "starting"
        """``starting``, ``ready``, ``running``, ``yielding``, ``paused`` or ``gone``."""
        self._killed = False
        warm = spare.take(run) if spare is not None else None
        if warm is None:
            with run.worker_log.open("ab") as log:
                self._process = _start(str(run.path), stderr=log)
        else:
            self._process = warm
        threading.Thread(target=self._listen, args=(said,), daemon=True).start()

    def _listen(self, said: queue.Queue[tuple[RunWorker, str]]) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            said.put((self, line.strip()))
        code = self._process.wait()
        self.run.write_exit(Exit(code=code, killed=self._killed))
        said.put((self, "gone"))

    def tell(self, word: str) -> None:
        """Say a word to the worker; one that is gone does not hear it."""
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(f"{word}\n")
            self._process.stdin.flush()
        except (BrokenPipeError, OSError):
            pass
        else:
            self.state = {"go": "running", "wait": "yielding"}.get(word, self.state)

    def hear(self, word: str) -> None:
        """Take in what the worker said."""
        states = {
            "ready": "ready",
            "yielded": "ready",
            "resumed": "ready",
            "paused": "paused",
            "gone": "gone",
        }
        self.state = states.get(word, self.state)

    def obey(self) -> None:
        """End the process if a person asks for that."""
        if not self._killed and self.state != "gone" and self.run.wish() == "kill":
            self._killed = True
            self._process.kill()

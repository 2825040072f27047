"""Counts of what was tried and what failed, and of what a process leaves behind."""

from __future__ import annotations

import os
import threading
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil


@dataclass
class Tally:
    """What was tried of one kind."""

    kind: str
    tried: int = 0
    failures: list[str] = field(default_factory=list)
    note: str = ""
    """Why nothing was tried, or what else there is to say."""

    def __post_init__(self) -> None:
        self._lock = threading.Lock()

    def attempt(self, name: str, scenario: Callable[[], None]) -> None:
        """Run a scenario, which raises if it fails; any thread may."""
        failure = ""
        try:
            scenario()
        except Exception as error:  # noqa: BLE001 - the next scenario is tried as well
            last = traceback.extract_tb(error.__traceback__)[-1]
            text = f"{type(error).__name__}: {error}".strip()
            failure = f"{name}: {text} ({os.path.basename(last.filename)}:{last.lineno})"
        with self._lock:
            self.tried += 1
            if failure:
                self.failures.append(failure)

    def line(self) -> str:
        """Return the row of the table."""
        note = f"  {self.note}" if self.note else ""
        return f"{self.kind:<22} {self.tried:>6} tried {len(self.failures):>4} failed{note}"


@contextmanager
def leaks(tally: Tally, folder: Path) -> Iterator[None]:
    """Add a failure for each thread, file descriptor or process that stays behind.

    Args:
        tally: Receives the failures.
        folder: Whoever names it in its command line, or is a child of this process, is a leak.
    """
    process: Any = psutil.Process()  # Windows has no num_fds
    files = process.num_fds() if hasattr(process, "num_fds") else 0
    threads = threading.active_count()
    yield
    children = {child.pid for child in process.children(recursive=True)}
    for other in psutil.process_iter(["cmdline", "status", "pid"]):
        words = " ".join(other.info["cmdline"] or ())
        is_ours = other.pid in children or str(folder) in words
        if is_ours and other.pid != process.pid and other.info["status"] != psutil.STATUS_ZOMBIE:
            tally.failures.append(f"leaked process {other.pid}: {words[:120]}")
    left = (process.num_fds() if files else 0) - files, threading.active_count() - threads
    for count, name in zip(left, ("file descriptors", "threads"), strict=True):
        if count > 0:
            tally.failures.append(f"leaked {count} {name}")

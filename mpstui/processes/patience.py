"""How long a silent process is waited for.

A limit in seconds of the clock proves nothing: on a busy machine, or one that sleeps, a healthy
process exceeds it. So looks are counted in place of seconds, and a process that uses CPU time is at
work, however slowly.
"""

from __future__ import annotations

from collections.abc import Callable
from math import ceil

LOOK = 1.0
"""Seconds between two looks, at least; a busy or sleeping machine makes them rarer."""

AT_WORK = 10
"""How many times the limit a process may stay silent while it uses CPU time."""


class Patience:
    """Counts the looks at a process that has not answered.

    Args:
        cpu_seconds: The process's CPU time so far, with that of its ended children.
        limit: Seconds without a line and without CPU time, after which it is given up.
    """

    def __init__(self, cpu_seconds: Callable[[], float], limit: float) -> None:
        self.look = min(LOOK, limit)
        """Seconds to wait before the next look."""
        self._cpu_seconds = cpu_seconds
        self._looks = ceil(limit / self.look)
        self._silent = self._idle = 0
        self._used: float | None = None

    def hear(self) -> None:
        """The process has said something: start anew."""
        self._silent = self._idle = 0
        self._used = None

    def is_over(self) -> bool:
        """Look once; True when the process is to be given up."""
        used = self._cpu_seconds()
        self._idle = self._idle + 1 if used == self._used else 0
        self._silent, self._used = self._silent + 1, used
        return self._idle >= self._looks or self._silent >= AT_WORK * self._looks


def cpu_seconds(pid: int) -> float:
    """The CPU time of a process and its ended children in seconds; 0 when it cannot be read."""
    import psutil  # a quick answer does without

    try:
        times = psutil.Process(pid).cpu_times()
    except psutil.Error:
        return 0.0
    ended = getattr(times, "children_user", 0.0) + getattr(times, "children_system", 0.0)
    return float(times.user + times.system + ended)

"""How long mpstui waits for a silent process.

Wall-clock seconds prove nothing: on a busy machine, or one that sleeps, a healthy process exceeds
any limit. So this module counts checks instead of seconds, and a process that uses CPU time counts
as working, however slowly.
"""

from __future__ import annotations

from collections.abc import Callable
from math import ceil, inf

CHECK_SECONDS = 1.0
"""Least seconds between two checks; a busy or sleeping machine makes them rarer."""

WORKING_FACTOR = 10
"""A process that uses CPU time may stay silent for this multiple of the limit."""


IMPORT_SECONDS = 120.0
"""Seconds that a process may be idle while it imports torch and asks it for its devices."""

SAMPLING_SHARE = 0.05
"""Most of a core that a worker's main thread uses; it samples the machine while training hangs."""


class Patience:
    """A counter of checks on a process that has not answered.

    Args:
        cpu_seconds: Returns the process's CPU time so far, with that of its finished children.
        limit: Seconds without a line and without CPU time, after which waiting ends.
        idle_share: Share of a core that the process uses without working.
    """

    def __init__(
        self, cpu_seconds: Callable[[], float], limit: float, idle_share: float = 0.0
    ) -> None:
        self.interval = min(CHECK_SECONDS, limit)
        """Seconds to wait before the next check."""
        self._cpu_seconds = cpu_seconds
        self._idle_seconds = idle_share * self.interval
        self._max_checks = ceil(limit / self.interval)
        self._silent_checks = self._idle_checks = 0
        self._last_cpu_seconds = -inf

    def reset(self) -> None:
        """Start counting again: the process has printed a line."""
        self._silent_checks = self._idle_checks = 0
        self._last_cpu_seconds = -inf

    def is_over(self) -> bool:
        """Count one check; return True when the wait is over."""
        used = self._cpu_seconds()
        is_idle = used - self._last_cpu_seconds <= self._idle_seconds
        self._idle_checks = self._idle_checks + 1 if is_idle else 0
        self._silent_checks, self._last_cpu_seconds = self._silent_checks + 1, used
        return (
            self._idle_checks >= self._max_checks
            or self._silent_checks >= WORKING_FACTOR * self._max_checks
        )


def tree_cpu_seconds(pid: int) -> float:
    """Return the CPU seconds of a process and its descendants; 0 when unreadable."""
    import psutil

    try:
        children = psutil.Process(pid).children(recursive=True)
    except psutil.Error:
        return 0.0
    return cpu_seconds(pid) + sum(cpu_seconds(child.pid) for child in children)


def cpu_seconds(pid: int) -> float:
    """Return the CPU seconds of a process and its finished children; 0 when unreadable."""
    import psutil  # late: a quick answer does not need it

    try:
        times = psutil.Process(pid).cpu_times()
    except psutil.Error:
        return 0.0
    of_children = getattr(times, "children_user", 0.0) + getattr(times, "children_system", 0.0)
    return float(times.user + times.system + of_children)

"""Load of the machine and of a process between two samples.

Processor load is a difference of counters over an interval, so the first sample has none.
``psutil.cpu_percent`` is not used, since all callers in a thread share its counters: two samplers
would disturb each other.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping
from functools import lru_cache

import msgspec
import psutil

_SHORTEST = 0.1
"""Seconds; the kernel counts in ticks of 10 ms, so a shorter interval reads as noise."""


class SystemReading(msgspec.Struct, frozen=True, kw_only=True):
    """One sample. Memory in bytes, load in percent."""

    cores: tuple[float, ...]
    """Load of each logical core, 0 to 100; empty before an interval has passed."""
    memory_used: int
    """Total minus the memory that is available without swapping."""
    memory_total: int
    swap_used: int
    swap_total: int
    process_cpu: float | None
    """Percent of one core, over all threads of the process; None before an interval has passed, and
    for a process that has exited or cannot be read."""
    process_rss: int | None
    """Resident memory; None for a process that has exited or cannot be read."""


@lru_cache(maxsize=1)
def _own_process(pid: int) -> psutil.Process:
    return psutil.Process(pid)


def resident_bytes() -> int | None:
    """Return this process's resident memory; None if unreadable. Takes a few microseconds."""
    try:
        return int(_own_process(os.getpid()).memory_info().rss)
    except psutil.Error:
        return None


class SystemSampler:
    """Takes samples, each over the time since the last one.

    Args:
        pid: The process to watch; by default this one.
        clock: A monotonic clock in seconds; for tests.
    """

    def __init__(self, pid: int | None = None, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._process: psutil.Process | None
        try:
            self._process = psutil.Process(pid)
        except psutil.Error:
            self._process = None
        self._at: float | None = None
        self._cores: list[tuple[float, float]] = []
        self._process_seconds: float | None = None

    def sample(self) -> SystemReading:
        """Take a sample.

        Returns:
            The reading. Load is unknown (``()`` and None) in the first one, and less than 0.1 s
            after the last reading with a load.
        """
        time = self._clock()
        seconds, rss = self._read_process()
        cores: tuple[float, ...] = ()
        process_cpu: float | None = None
        if self._at is None or time - self._at >= _SHORTEST:
            counters = [busy_and_total(core._asdict()) for core in psutil.cpu_times(percpu=True)]
            if self._at is not None:
                cores = _loads(self._cores, counters)
                if seconds is not None and self._process_seconds is not None:
                    spent = seconds - self._process_seconds
                    process_cpu = max(0.0, 100 * spent / (time - self._at))
            self._at, self._cores, self._process_seconds = time, counters, seconds
        memory, swap = psutil.virtual_memory(), psutil.swap_memory()
        return SystemReading(
            cores=cores,
            memory_used=memory.total - memory.available,
            memory_total=memory.total,
            swap_used=swap.used,
            swap_total=swap.total,
            process_cpu=process_cpu,
            process_rss=rss,
        )

    def _read_process(self) -> tuple[float | None, int | None]:
        """Return processor seconds and resident bytes; both None if the process has exited."""
        if self._process is None:
            return None, None
        try:
            if not self._process.is_running():  # the id may have been reused
                return None, None
            times, memory = self._process.cpu_times(), self._process.memory_info()
        except psutil.Error:
            return None, None
        return times.user + times.system, int(memory.rss)


def busy_and_total(times: Mapping[str, float]) -> tuple[float, float]:
    """Return the busy seconds of a processor and all of its seconds, by psutil's counters."""
    # A guest's time is already included in user and nice; waiting for a disk is not load.
    total = sum(times.values()) - times.get("guest", 0.0) - times.get("guest_nice", 0.0)
    return total - times["idle"] - times.get("iowait", 0.0), total


def _loads(
    earlier: list[tuple[float, float]], later: list[tuple[float, float]]
) -> tuple[float, ...]:
    if len(earlier) != len(later):  # a core went offline or came back: not comparable
        return ()
    loads = []
    for (busy_before, total_before), (busy_after, total_after) in zip(earlier, later, strict=True):
        total = total_after - total_before
        if total <= 0:  # counters that did not change or were reset give no load
            return ()
        loads.append(min(100.0, max(0.0, 100 * (busy_after - busy_before) / total)))
    return tuple(loads)

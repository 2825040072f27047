"""The cores that this process may use: in a container, or under taskset, not all of them."""

from __future__ import annotations

import os

from .machine import LocalMachine

QUOTA_FILE = "/sys/fs/cgroup/cpu.max"
"""A container's quota: ``QUOTA PERIOD`` in microseconds. Source: Linux, "Control Group v2"."""


def affinity() -> int | None:
    """Return the number of cores that the scheduler gives this process; None if not known."""
    get_affinity = getattr(os, "sched_getaffinity", None)
    return len(get_affinity(0)) if get_affinity else None


def core_limit(affinity: int | None, quota_text: str | None) -> int | None:
    """Return the lower of the scheduler's and the container's number of cores; None if unlimited.

    Args:
        affinity: The scheduler's.
        quota_text: The content of ``QUOTA_FILE``.
    """
    limits = [affinity]
    quota, _, period = (quota_text or "").strip().partition(" ")
    if quota.isdecimal() and period.isdecimal() and int(period):
        limits.append(max(1, int(quota) // int(period)))
    return min((limit for limit in limits if limit), default=None)


def usable_cores() -> int:
    """Return the number of cores that this process may use, at least 1."""
    return core_limit(affinity(), LocalMachine().text(QUOTA_FILE)) or os.cpu_count() or 1

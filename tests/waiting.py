"""Processes of others, as tests look at them."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable

import psutil

PATIENCE = 600.0
"""Seconds that only a hang takes, on any machine and under any load."""


def wait_until_ended(processes: Iterable[psutil.Process]) -> None:
    """Wait for processes that are no children of ours.

    A zombie has ended, and whoever adopted it may take long to look.
    """
    deadline = time.monotonic() + PATIENCE
    for process in processes:
        while not _ended(process):
            assert time.monotonic() < deadline, process
            time.sleep(0.02)


def wait_until(condition: Callable[[], bool]) -> None:
    """Wait for something that another thread or process does."""
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def _ended(process: psutil.Process) -> bool:
    try:
        return process.status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True

"""The processor time that other processes use."""

from __future__ import annotations

import os

import psutil

from mpstui.processes.patience import tree_cpu_seconds
from mpstui.telemetry.system import busy_and_total


class OtherProcesses:
    """Measures what other processes use, between its creation and a question, or two questions.

    This process and its descendants, such as those of a DataLoader, are not among them.
    """

    def __init__(self) -> None:
        self._before = _read()

    def share(self) -> float:
        """Return the others' share of all processors' time since the last question, 0 to 1.

        It is 0 where the system's counters did not advance.
        """
        (busy, total, own), before = _read(), self._before
        self._before = busy, total, own
        if total <= before[1]:
            return 0.0
        spent = (busy - before[0]) - (own - before[2])
        return min(max(spent / (total - before[1]), 0.0), 1.0)


def _read() -> tuple[float, float, float]:
    """Return the processors' busy seconds, all their seconds, and those of this process."""
    return *busy_and_total(psutil.cpu_times()._asdict()), tree_cpu_seconds(os.getpid())

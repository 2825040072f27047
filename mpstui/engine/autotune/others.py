"""The processor time that other processes use."""

from __future__ import annotations

import os

import psutil

from mpstui.processes.patience import tree_cpu_seconds
from mpstui.telemetry.system import busy_and_total


class OtherProcesses:
    """Measures what other processes use from its creation on.

    This process and its descendants, such as those of a DataLoader, are not among them.
    """

    def __init__(self) -> None:
        self._before = _read()

    def share(self) -> float:
        """Return the others' share of all processors' time, 0 to 1.

        It is 0 where the system's counters did not advance.
        """
        busy, total, own = (now - then for now, then in zip(_read(), self._before, strict=True))
        return min(max((busy - own) / total, 0.0), 1.0) if total > 0 else 0.0


def _read() -> tuple[float, float, float]:
    """Return the processors' busy seconds, all their seconds, and those of this process."""
    return *busy_and_total(psutil.cpu_times()._asdict()), tree_cpu_seconds(os.getpid())

"""Stands for zeus-apple-silicon 1.1.0: constructed energy, under the real package's names."""

from __future__ import annotations

import time
from dataclasses import dataclass

CPU_WATTS, GPU_WATTS = 2.0, 5.0


@dataclass(frozen=True)
class AppleEnergyMetrics:
    """Millijoules since a window began. The real class has more fields of this kind."""

    cpu_total_mj: int | None
    gpu_mj: int | None


class AppleEnergyMonitor:
    """Counts at a constant power."""

    def __init__(self) -> None:
        self._windows: dict[str, float] = {}

    def begin_window(self, key: str) -> None:
        """Start a window."""
        self._windows[key] = time.monotonic()

    def end_window(self, key: str) -> AppleEnergyMetrics:
        """End a window."""
        milliseconds = 1000 * (time.monotonic() - self._windows.pop(key))
        # At least 1 mJ: the program takes a GPU that used nothing for one that is not counted.
        return AppleEnergyMetrics(
            cpu_total_mj=1 + int(CPU_WATTS * milliseconds),
            gpu_mj=1 + int(GPU_WATTS * milliseconds),
        )

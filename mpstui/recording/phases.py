"""Where a step's time goes: a few steps that wait for the device after each phase.

They are the script's own steps; only the clock excludes them. Without a hook in the model, forward
is all that the script does from the batch to ``backward()``.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable

from mpstui.backends import Backend
from mpstui.domain.anatomy import LAUNCH, OTHER
from mpstui.engine.meter import PROFILE_STEPS

from .copies import CopyTimer

LAUNCHING = frozenset({"forward", "backward", "optimizer"})


class PhaseSampler:
    """Times the phases of consecutive steps while ``active``."""

    def __init__(self, clock: Callable[[], float] = time.perf_counter) -> None:
        self.active = False
        self.done = False
        self.laps: list[dict[str, float]] = []
        self._backend: Backend | None = None
        self._clock = clock
        self._seconds: dict[str, float] = {}
        self._copies: CopyTimer | None = None  # on the CPU nothing is copied
        self._seen: set[str] = set()
        self._mark = 0.0

    def start(self, backend: Backend) -> None:
        """Start with the next step; the device is idle."""
        self._backend, self.active = backend, True
        if backend.is_asynchronous:
            self._copies = CopyTimer(backend.synchronize, self._clock)
            self._copies.start()
        self._begin()

    def _begin(self) -> None:
        assert self._backend is not None
        self._seconds = dict.fromkeys(("data", "forward", "backward", "optimizer", OTHER), 0.0)
        if self._backend.is_asynchronous:
            self._seconds[LAUNCH] = self._seconds["transfer"] = 0.0
        if self._copies is not None:
            self._copies.seconds = 0.0
        self._mark = self._clock()

    def lap(self, phase: str) -> None:
        """End a phase: wait for the device, and add the time since the last end."""
        assert self._backend is not None
        returned = self._clock()
        self._backend.synchronize()
        end = self._clock()
        copied = self._take_copied()
        self._seconds[phase] += end - self._mark - copied
        self._seen.add(phase)
        if phase in LAUNCHING and LAUNCH in self._seconds:
            self._seconds[LAUNCH] += max(returned - self._mark - copied, 0.0)
        self._mark = end

    def _take_copied(self) -> float:
        """Move the time in copies since the last lap to its own phase, and return it."""
        if self._copies is None:
            return 0.0
        copied, self._copies.seconds = self._copies.seconds, 0.0
        self._seconds["transfer"] += copied
        return copied

    def stop(self) -> None:
        """End without a result, when the script ends first."""
        if self._copies is not None:
            self._copies.stop()
        self.active = False

    def step_ended(self) -> bool:
        """End a step; returns True when all of them are complete."""
        self.laps.append(self._seconds)
        if len(self.laps) < PROFILE_STEPS:
            self._begin()
            return False
        self.stop()
        self.done = True
        return True

    def interrupted(self) -> None:
        """Drop the step under way: the script evaluates, or a pause begins."""
        if self.active:
            self._begin()

    def medians(self) -> dict[str, float]:
        """Return the median seconds by phase, without phases that could not be distinguished.

        Without a DataLoader the script's own loading is a part of ``forward``.
        """
        names = [name for name in self.laps[0] if name in self._seen or name == LAUNCH]
        return {name: statistics.median(lap[name] for lap in self.laps) for name in names}

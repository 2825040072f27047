"""Workers that import torch for the next runs, while the machine is idle."""

from __future__ import annotations

from contextlib import suppress

from mpstui.domain.errors import MpstuiError
from mpstui.runs.last_settings import load_last
from mpstui.runs.launch import PrewarmedSupervisor

from .state import AppState

MOST_WORKERS = 2
"""Workers kept warm at a time. A comparison of two starts when both are ready, so one would save
nothing; more would hold memory that few comparisons use."""


class Prewarming:
    """Keeps a supervisor with idle workers."""

    def __init__(self, state: AppState, supervisor: PrewarmedSupervisor) -> None:
        self._state = state
        self._supervisor = supervisor

    def prewarm_if_idle(self) -> None:
        """Start the workers, unless torch is missing or a timed run is under way anywhere."""
        state = self._state
        if self._supervisor.waiting or state.facts is None or state.facts.torch is None:
            return
        if state.is_live:
            return
        with suppress(MpstuiError, OSError):  # the screens report damage
            if not any(run.is_under_way() for run in state.store.newest_group()):
                last = load_last()
                devices = len(last[1] if last else state.facts.default_devices())
                self._supervisor.prewarm(min(devices, MOST_WORKERS))

    def close(self) -> None:
        """End the workers."""
        self._supervisor.close()

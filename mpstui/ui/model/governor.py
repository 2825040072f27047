"""Keeps the app's CPU use within a budget by refreshing less often.

It measures the CPU time of the whole process, which includes reading logs, drawing charts and
tables, layout, and writing to the terminal.
"""

from __future__ import annotations

from collections import deque

TIMING_BUDGET = 0.02
"""Share of one core that the app may use while a run is being timed."""

IDLE_BUDGET = 0.10

LONGEST = 10.0
"""Seconds after which the app refreshes in any case. That breaks the budget only if a refresh
costs more than 0.2 s; the share then shows it."""

ANSWERING = 1.0
"""Seconds after a key or click in which refreshes are not delayed: the user is waiting."""

SPAN = 20.0
"""Seconds over which the share is measured."""


class Governor:
    """A limiter that decides when to refresh, by the CPU time used since the last refresh."""

    def __init__(self) -> None:
        self._refreshes: deque[tuple[float, float]] = deque()
        self._last_refresh: tuple[float, float] | None = None
        self._input_cpu_seconds = 0.0  # CPU time since the last refresh that answered the user
        self._last_cpu_seconds = 0.0
        self._last_input = float("-inf")

    def note_input(self, clock_seconds: float) -> None:
        """Note user input: its cost shows in the share, but does not delay refreshes."""
        self._last_input = clock_seconds

    def due(self, clock_seconds: float, cpu_seconds: float, timing: bool) -> bool:
        """Return whether to refresh now; cheap enough to call often.

        Args:
            clock_seconds: Monotonic clock, seconds.
            cpu_seconds: Total CPU time of this process, seconds.
            timing: True while a run is being timed.
        """
        answering = clock_seconds - self._last_input < ANSWERING
        if answering:
            self._input_cpu_seconds += cpu_seconds - self._last_cpu_seconds
        self._last_cpu_seconds = cpu_seconds
        if self._last_refresh is not None and not answering:
            at, previous_cpu = self._last_refresh
            cost = cpu_seconds - previous_cpu - self._input_cpu_seconds
            budget = TIMING_BUDGET if timing else IDLE_BUDGET
            if cost > budget * (clock_seconds - at) and clock_seconds - at < LONGEST:
                return False
        self._last_refresh, self._input_cpu_seconds = (clock_seconds, cpu_seconds), 0.0
        self._refreshes.append(self._last_refresh)
        while clock_seconds - self._refreshes[0][0] > SPAN and len(self._refreshes) > 2:
            self._refreshes.popleft()
        return True

    @property
    def share(self) -> float | None:
        """The measured share of one core over the last seconds, input included; None at first."""
        if len(self._refreshes) < 2:
            return None
        (start, before), (end, after) = self._refreshes[0], self._refreshes[-1]
        return (after - before) / (end - start) if end > start else None

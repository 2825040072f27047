"""Keeps what watching costs within its budget, by looking less often.

Its measure is the processor time of the whole program: reading the logs, figures, charts, tables,
laying out, writing to the terminal, and whatever else there is.
"""

from __future__ import annotations

from collections import deque

TIMING_BUDGET = 0.02
"""Share of one core that the program may take while a run's clock is on."""

IDLE_BUDGET = 0.10

LONGEST = 10.0
"""Seconds after which a look comes in any case. Only where one costs more than 0.2 s does that
break the budget; the share then says so."""

ANSWERING = 1.0
"""Seconds after a key or a click that are not held back: a person waits for an answer."""

SPAN = 20.0
"""Seconds over which the share is measured."""


class Governor:
    """Decides when to look at the runs again, from what everything since the last look cost."""

    def __init__(self) -> None:
        self._looks: deque[tuple[float, float]] = deque()
        self._began: tuple[float, float] | None = None
        self._answered = 0.0  # of what was spent since the last look, on a person's behalf
        self._seen = 0.0
        self._asked = float("-inf")

    def asked(self, now: float) -> None:
        """A person asked for something: what it costs is shown, but not saved up for."""
        self._asked = now

    def due(self, now: float, spent: float, timing: bool) -> bool:
        """Whether to look at the runs now; asked often, and cheap.

        Args:
            now: Monotonic clock, seconds.
            spent: Processor time of this process in all, seconds.
            timing: Whether a run's clock is on.
        """
        answering = now - self._asked < ANSWERING
        if answering:
            self._answered += spent - self._seen
        self._seen = spent
        if self._began is not None and not answering:
            at, before = self._began
            cost = spent - before - self._answered
            budget = TIMING_BUDGET if timing else IDLE_BUDGET
            if cost > budget * (now - at) and now - at < LONGEST:
                return False
        self._began, self._answered = (now, spent), 0.0
        self._looks.append(self._began)
        while now - self._looks[0][0] > SPAN and len(self._looks) > 2:
            self._looks.popleft()
        return True

    @property
    def share(self) -> float | None:
        """Measured share of one core over the last seconds, answers included; None at first."""
        if len(self._looks) < 2:
            return None
        (start, before), (end, after) = self._looks[0], self._looks[-1]
        return (after - before) / (end - start) if end > start else None

"""Keeps drawing within its budget, by drawing less often."""

from __future__ import annotations

TIMING_BUDGET = 0.02
"""Share of one core that charts may take while a clock runs."""

IDLE_BUDGET = 0.10


class Governor:
    """Decides when charts are drawn again, from what the last drawings cost."""

    def __init__(self) -> None:
        self._next = 0.0
        self._spent = 0.0
        self._began: float | None = None
        self.share: float | None = None
        """Measured share of one core since the runs came on screen; None before two looks."""

    def due(self, now: float) -> bool:
        """Whether it is time to draw. ``now`` is monotonic, seconds."""
        if self._began is None:
            self._began = now
        return now >= self._next

    def drew(self, now: float, spent: float, timing: bool) -> None:
        """Take in what has been spent on drawing in all, in seconds."""
        cost = spent - self._spent
        self._spent = spent
        budget = TIMING_BUDGET if timing else IDLE_BUDGET
        self._next = now + cost / budget
        if self._began is not None and now > self._began:
            self.share = spent / (now - self._began)

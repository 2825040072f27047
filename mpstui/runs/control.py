"""control.json: the user's request to a run. The newest one wins; it replaces the file."""

from __future__ import annotations

from typing import Literal

import msgspec

from mpstui.domain.events import AlarmRaised

Request = Literal["run", "pause", "stop", "kill"]


class Control(msgspec.Struct, frozen=True, kw_only=True):
    """The request: run, pause, stop between two steps, or kill the worker immediately."""

    request: Request = msgspec.field(default="run", name="wish")
    """``wish`` in the file, as every version has written it."""


class GapAlarm(msgspec.Struct, frozen=True, array_like=True):
    """A supervisor's message to a worker whose run diverged from the comparison's first run."""

    against: str
    """The first run's device spec."""
    step: int
    value: float
    other: float
    gap: float

    def event(self, at: float, policy: str) -> AlarmRaised:
        """Return the event for the run's log.

        Args:
            at: Unix time in seconds.
            policy: What the run does next.
        """
        return AlarmRaised(
            at=at,
            step=self.step,
            value=self.value,
            other=self.other,
            gap=self.gap,
            against=self.against,
            policy=policy,
        )

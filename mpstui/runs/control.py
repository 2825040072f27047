"""control.json: what a person asks of a run. The newest wish wins; the file is replaced whole."""

from __future__ import annotations

from typing import Literal

import msgspec

from mpstui.domain.events import AlarmRaised

Wish = Literal["run", "pause", "stop", "kill"]


class Control(msgspec.Struct, frozen=True, kw_only=True):
    """The wish: go on, pause, stop between two steps, or end the worker at once."""

    wish: Wish = "run"


class GapAlarm(msgspec.Struct, frozen=True, array_like=True):
    """What a keeper tells a worker whose run left the course of the comparison's first run."""

    against: str
    """That run's device spec."""
    step: int
    value: float
    other: float
    gap: float

    def event(self, at: float, policy: str) -> AlarmRaised:
        """What the run's log says of it: when it was raised, and what the run then does."""
        return AlarmRaised(
            at=at,
            step=self.step,
            value=self.value,
            other=self.other,
            gap=self.gap,
            against=self.against,
            policy=policy,
        )

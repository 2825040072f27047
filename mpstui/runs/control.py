"""control.json: the user's request to a run; the newest one wins."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import msgspec

from mpstui.domain.events import AlarmRaised

from .disk_space import is_full
from .files import replace

Request = Literal["run", "pause", "stop", "kill"]


class Control(msgspec.Struct, frozen=True, kw_only=True):
    """The request: run, pause, stop between two steps, or kill the worker immediately."""

    request: Request = msgspec.field(default="run", name="wish")
    """``wish`` in the file, as every version has written it."""


SIZE = 32
"""Bytes of control.json: every request fills the same block."""


def write_control(path: Path, control: Control) -> None:
    """Replace the file atomically or, on a full disk, overwrite its bytes, which needs no space.

    Raises:
        OSError: If the file cannot be written.
    """
    content = msgspec.json.encode(control).ljust(SIZE - 1) + b"\n"
    try:
        replace(path, content)
    except OSError as error:
        if not is_full(error):
            raise
        with path.open("r+b", buffering=0) as file:
            file.write(content)


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

"""Results of an op check: of each case, and of a whole device."""

from __future__ import annotations

from enum import Enum
from typing import Literal

import msgspec
from msgspec.structs import replace

Kind = Literal["known fault", "everyday"]


class OpStatus(str, Enum):
    """The status of a case on a device."""

    SOUND = "sound"
    FAULTY = "faulty"
    NOT_RUN = "not run"
    UNDECIDED = "not decided"
    """It began, but mpstui's time limit or something else ended its process."""


class OpResult(msgspec.Struct, frozen=True, kw_only=True):
    """The result of one case on one device."""

    case: str
    """A catalogue row's id, or ``everyday/softmax[transposed,float16]``."""
    kind: Kind
    status: OpStatus
    error: float | None = None
    """Largest difference from the reference as a share of its largest absolute value; None if
    nothing was compared or the difference has no size (not finite, another shape, another truth
    value)."""
    where: str = ""
    """Where the error is largest: ``output``, ``gradient of input 2``."""
    reason: str = ""
    """Why it is faulty or was not run."""


class OpsMessage(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A message of a checking process, one per line; one field is set."""

    planned: int | None = None
    """Number of cases."""
    begun: str | None = None
    """The case that begins; it is at fault if the process ends before its result."""
    done: int | None = None
    """Number of completed cases, including those whose layout no input can have."""
    result: OpResult | None = None


class OpsRun(msgspec.Struct, frozen=True, kw_only=True):
    """The check of one device, possibly incomplete."""

    device: str
    planned: int = 0
    """Number of cases; 0 until it is known."""
    done: int = 0
    """Number of completed cases."""
    known: tuple[OpResult, ...] = ()
    """Results of the catalogue's rows."""
    everyday_sound: int = 0
    everyday_odd: tuple[OpResult, ...] = ()
    """Everyday cases that are not sound."""
    seconds: float | None = None
    """Wall time of the whole check; None while it is running."""
    error: str = ""
    """Why it ended early."""
    simulated: str = ""
    """The simulated fault that it ran under, if any."""

    @property
    def everyday(self) -> int:
        """Number of everyday cases that have a result."""
        return self.everyday_sound + len(self.everyday_odd)

    @property
    def faulty(self) -> tuple[OpResult, ...]:
        """Every result that is faulty."""
        both = (*self.known, *self.everyday_odd)
        return tuple(result for result in both if result.status is OpStatus.FAULTY)

    @property
    def undecided(self) -> tuple[OpResult, ...]:
        """Every case without a result because its process was ended."""
        both = (*self.known, *self.everyday_odd)
        return tuple(result for result in both if result.status is OpStatus.UNDECIDED)

    def count(self, status: OpStatus) -> int:
        """Return how many of the catalogue's rows have this status."""
        return sum(result.status is status for result in self.known)


def with_results(run: OpsRun, results: tuple[OpResult, ...]) -> OpsRun:
    """Return the run with further results added."""
    everyday = [result for result in results if result.kind == "everyday"]
    not_sound = tuple(result for result in everyday if result.status is not OpStatus.SOUND)
    return replace(
        run,
        known=(*run.known, *(result for result in results if result.kind == "known fault")),
        everyday_sound=run.everyday_sound + len(everyday) - len(not_sound),
        everyday_odd=(*run.everyday_odd, *not_sound),
    )


def merge_rows(before: OpsRun, again: OpsRun) -> OpsRun:
    """Return an earlier check with the results of the rows that were checked again."""
    fresh = {result.case: result for result in again.known}
    updated = tuple(fresh.pop(result.case, result) for result in before.known)
    return replace(before, known=(*updated, *fresh.values()), error=again.error)

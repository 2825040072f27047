"""What an op check found: each case's result, and a device's results together."""

from __future__ import annotations

from enum import Enum
from typing import Literal

import msgspec
from msgspec.structs import replace

Kind = Literal["known fault", "everyday"]


class OpStatus(str, Enum):
    """How a case stands on a device."""

    SOUND = "sound"
    FAULTY = "faulty"
    NOT_RUN = "not run"
    UNDECIDED = "not decided"
    """It began, and its process was ended by our time limit or from outside."""


class OpResult(msgspec.Struct, frozen=True, kw_only=True):
    """One case on one device."""

    case: str
    """A catalogue row's id, or ``everyday/softmax[transposed,float16]``."""
    kind: Kind
    status: OpStatus
    error: float | None = None
    """Largest difference from the reference as a share of its largest absolute value; None when
    nothing was compared, or when the result is wrong in a way that has no size (not finite, another
    shape, another truth value)."""
    where: str = ""
    """What was worst: ``output``, ``gradient of input 2``."""
    reason: str = ""
    """Why it is faulty or was not run."""


class OpsMessage(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One line of what a checking process says; one field is set."""

    planned: int | None = None
    """How many cases there are."""
    begun: str | None = None
    """The case that begins: the one at fault if the process ends before its result."""
    done: int | None = None
    """How many cases are done, with those whose layout no input can have."""
    result: OpResult | None = None


class OpsRun(msgspec.Struct, frozen=True, kw_only=True):
    """The check of one device, complete or not."""

    device: str
    planned: int = 0
    """How many cases there are; 0 until that is known."""
    done: int = 0
    """How many of them are done."""
    known: tuple[OpResult, ...] = ()
    """Results of the catalogue's rows."""
    everyday_sound: int = 0
    everyday_odd: tuple[OpResult, ...] = ()
    """Everyday cases that are not sound."""
    seconds: float | None = None
    """Wall time of the whole check; None while it is under way."""
    error: str = ""
    """Why it ended early."""
    simulated: str = ""
    """The simulated fault that it ran under, if any."""

    @property
    def everyday(self) -> int:
        """Everyday cases that have a result."""
        return self.everyday_sound + len(self.everyday_odd)

    @property
    def faulty(self) -> tuple[OpResult, ...]:
        """Every result that is faulty."""
        both = (*self.known, *self.everyday_odd)
        return tuple(result for result in both if result.status is OpStatus.FAULTY)

    @property
    def undecided(self) -> tuple[OpResult, ...]:
        """Every case that has no result because its process was ended."""
        both = (*self.known, *self.everyday_odd)
        return tuple(result for result in both if result.status is OpStatus.UNDECIDED)

    def count(self, status: OpStatus) -> int:
        """How many of the catalogue's rows stand so."""
        return sum(result.status is status for result in self.known)


def with_results(run: OpsRun, results: tuple[OpResult, ...]) -> OpsRun:
    """The run with more results."""
    everyday = [result for result in results if result.kind == "everyday"]
    odd = tuple(result for result in everyday if result.status is not OpStatus.SOUND)
    return replace(
        run,
        known=(*run.known, *(result for result in results if result.kind == "known fault")),
        everyday_sound=run.everyday_sound + len(everyday) - len(odd),
        everyday_odd=(*run.everyday_odd, *odd),
    )


def merge_rows(before: OpsRun, again: OpsRun) -> OpsRun:
    """An earlier check, with some rows of the catalogue checked again."""
    fresh = {result.case: result for result in again.known}
    kept = tuple(fresh.pop(result.case, result) for result in before.known)
    return replace(before, known=(*kept, *fresh.values()), error=again.error)

"""How ranks that train together compare: their steps, their pace, and which of them is slowest."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from .anatomy import OTHER
from .history import RunHistory
from .units import DASH, rate

OWN_PHASES = ("data", "transfer", "forward", "optimizer", OTHER)
"""Phases in which a rank works alone; in backward it waits for the others' gradients."""


class RankSkew(NamedTuple):
    """The slowest rank."""

    rank: int
    skew: float
    """How much longer its own phases take than the fastest rank's, as a share of its step."""


def rank_line(rank: int, history: RunHistory) -> str:
    """Return a rank's steps, its pace, and the share of the time that it waits for data."""
    waits = DASH
    if history.data_seconds is not None and history.timed_seconds:
        waits = f"{history.data_seconds / history.timed_seconds:.0%}"
    pace = rate(history.rate_now())
    return f"rank {rank}  step {history.step:,}  {pace} samples/s  data wait {waits}"


def slowest_rank(histories: Sequence[RunHistory]) -> RankSkew | None:
    """Return the slowest rank; None until all ranks have profiled their steps.

    All ranks of a step take equally long, since they wait for each other in backward. So their
    own phases are compared.
    """
    profiles = [history.profile for history in histories]
    if len(profiles) < 2 or any(profile is None for profile in profiles):
        return None
    own = [
        sum(profile.seconds.get(phase, 0.0) for phase in OWN_PHASES)
        for profile in profiles
        if profile is not None
    ]
    slowest = own.index(max(own))
    profile = profiles[slowest]
    step = own[slowest] + (profile.seconds.get("backward", 0.0) if profile is not None else 0.0)
    return RankSkew(slowest, (max(own) - min(own)) / step) if step > 0 else None

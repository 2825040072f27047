"""Saves autotuned plans by their circumstances, each in a small JSON file."""

from __future__ import annotations

import hashlib
from pathlib import Path

import msgspec

from mpstui.domain.errors import LogError
from mpstui.domain.plan import AutotuneResult, PlanKey

from .files import read_json, write_json
from .paths import home


class SavedPlans(msgspec.Struct, frozen=True, kw_only=True):
    """The content of a file: a plan, and when it is valid."""

    circumstances: PlanKey
    result: AutotuneResult


def load_plan(circumstances: PlanKey) -> AutotuneResult | None:
    """Load the plan for exactly these circumstances; None if there is no readable one.

    A file that is damaged or from another version only means autotuning again.
    """
    try:
        stored = read_json(_path(circumstances), SavedPlans)
    except LogError:
        return None
    if stored is None or stored.circumstances != circumstances or not stored.result.plan.is_known:
        return None
    return stored.result


def save_plan(circumstances: PlanKey, result: AutotuneResult) -> None:
    """Save a plan.

    Raises:
        OSError: If the file cannot be written.
    """
    stored = SavedPlans(circumstances=circumstances, result=result)
    write_json(_path(circumstances), stored, parents=True)


def _path(circumstances: PlanKey) -> Path:
    digest = hashlib.sha256(msgspec.json.encode(circumstances)).hexdigest()[:16]
    return home() / "plans" / f"{digest}.json"

"""What calibrations found, kept by circumstances: one small JSON file each."""

from __future__ import annotations

import hashlib
from pathlib import Path

import msgspec

from mpstui.domain.errors import LogError
from mpstui.domain.plan import AutotuneResult, PlanKey

from .files import read_json, write_json
from .paths import home


class SavedPlans(msgspec.Struct, frozen=True, kw_only=True):
    """A file's content."""

    circumstances: PlanKey
    calibration: AutotuneResult


def load_plan(circumstances: PlanKey) -> AutotuneResult | None:
    """What was found under exactly these circumstances; None if nothing was, or nobody can read it.

    A file that is damaged, or of another version, costs a calibration and nothing else.
    """
    try:
        kept = read_json(_path(circumstances), SavedPlans)
    except (LogError, OSError):
        return None
    return kept.calibration if kept and kept.circumstances == circumstances else None


def save_plan(circumstances: PlanKey, calibration: AutotuneResult) -> None:
    """Keep what was found.

    Raises:
        OSError: When there is no writing at that place.
    """
    kept = SavedPlans(circumstances=circumstances, calibration=calibration)
    write_json(_path(circumstances), kept)


def _path(circumstances: PlanKey) -> Path:
    digest = hashlib.sha256(msgspec.json.encode(circumstances)).hexdigest()[:16]
    return home() / "calibrations" / f"{digest}.json"

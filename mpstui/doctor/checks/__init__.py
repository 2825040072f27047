"""Checks turn facts into findings. They are pure, so recorded machines are judged the same."""

from __future__ import annotations

from mpstui.domain.catalogue import BY_ID
from mpstui.domain.errors import FieldError
from mpstui.domain.facts import DoctorFacts, ProbeStage
from mpstui.domain.findings import Finding

from . import accelerator, coverage, machine, packages, prerequisites, settings
from .devices import DEVICE, device_checks, op_checks
from .packages import IMPORTED

FIXED = (
    *prerequisites.CHECKS,
    *packages.CHECKS,
    *accelerator.CHECKS,
    *coverage.CHECKS,
    *settings.CHECKS,
    *machine.CHECKS,
)
"""The checks that every machine gets; devices and ops add theirs."""


def findings(facts: DoctorFacts) -> list[Finding]:
    """Judge the facts so far; findings whose facts are still being probed are ``unknown``.

    Args:
        facts: From :func:`mpstui.doctor.probes.gather`, complete or not.

    Returns:
        The findings in display order.
    """
    first = [check for check in FIXED if check.group in ("Prerequisites", "Torch")]
    rest = [check for check in FIXED if check not in first]
    ordered = (*first, *device_checks(facts), *rest, *op_checks(facts))
    return [check.finding(facts) for check in ordered]


def need_of(id: str) -> ProbeStage:
    """Return the last probe stage that one finding needs.

    Raises:
        FieldError: No finding has this id.
    """
    for check in FIXED:
        if check.id == id:
            return ProbeStage.TORCH if id in IMPORTED else check.need
    if id == "ops" or id in BY_ID:
        return ProbeStage.OPS
    if id.startswith(DEVICE):
        return ProbeStage.USE
    fixed_ids = ", ".join(check.id for check in FIXED)
    raise FieldError(
        "only",
        f"no finding is called {id!r}",
        f"{fixed_ids}, device:NAME, ops, or a known fault's id",
    )

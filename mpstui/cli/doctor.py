"""``mpstui doctor``."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from functools import partial

from mpstui.doctor.checks import findings, need_of
from mpstui.doctor.probes import gather
from mpstui.doctor.report import as_json, as_markdown, as_text, exit_code
from mpstui.doctor.system import SystemProbes
from mpstui.domain.catalogue import BY_ID
from mpstui.domain.facts import DoctorFacts, ProbeStage
from mpstui.domain.findings import Finding

WRITERS: dict[str, Callable[[DoctorFacts, Sequence[Finding]], str]] = {
    "text": partial(as_text, with_names=True),
    "json": as_json,
    "markdown": as_markdown,
}


def doctor(form: str, only: Sequence[str], ops: bool, simulate: str) -> int:
    """Probe the machine and print what was found; 1 when a finding fails.

    Args:
        form: One of :data:`WRITERS`.
        only: Ids of the findings to show; only what they need is probed. All when empty.
        ops: Whether to check the ops of each usable device.
        simulate: A fault to be simulated in that check.

    Raises:
        FieldError: When no finding has one of the ids.
    """
    wanted = [need_of(id) for id in only]
    up_to = max(
        [*wanted, ProbeStage.OPS if ops else ProbeStage.MACHINE if only else ProbeStage.USE]
    )
    rows = frozenset(id for id in only if id in BY_ID)
    if ops or "ops" in only:
        rows = frozenset()
    probes = SystemProbes(simulate=simulate)
    facts = gather(probes, _progress if up_to is ProbeStage.OPS else None, up_to=up_to, only=rows)
    found = [finding for finding in findings(facts) if not only or finding.id in only]
    sys.stdout.write(WRITERS[form](facts, found).rstrip() + "\n")
    return exit_code(found)


def _progress(facts: DoctorFacts) -> None:
    """How far the op check has come, on a terminal's stderr."""
    if not facts.ops or not sys.stderr.isatty():
        return
    run = facts.ops[-1]
    line = f"checking ops on {run.device}: {run.done:,} of {run.planned:,} cases"
    sys.stderr.write(f"\r{line:<70}" if run.seconds is None else f"\r{'':<70}\r")
    sys.stderr.flush()

"""``mpstui doctor``: probes the machine and prints findings."""

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

from .output import clean, print_document

WRITERS: dict[str, Callable[[DoctorFacts, Sequence[Finding]], str]] = {
    "text": partial(as_text, with_names=True),
    "json": as_json,
    "markdown": as_markdown,
}


def doctor(format: str, only: Sequence[str], ops: bool, simulate: str) -> int:
    """Probe the machine and print the findings; return 1 if one fails, else 0.

    Args:
        format: One of :data:`WRITERS`.
        only: Ids of the findings to show; only the probes they need run. Empty for all.
        ops: Check the ops of each usable device.
        simulate: A fault to simulate in that check.

    Raises:
        FieldError: When an id has no finding.
    """
    stages = [need_of(id) for id in only]
    up_to = max(
        [*stages, ProbeStage.OPS if ops else ProbeStage.MACHINE if only else ProbeStage.USE]
    )
    rows = frozenset(id for id in only if id in BY_ID)
    if ops or "ops" in only:
        rows = frozenset()
    probes = SystemProbes(simulate=simulate)
    facts = gather(
        probes, _print_progress if up_to is ProbeStage.OPS else None, up_to=up_to, only=rows
    )
    selection = [finding for finding in findings(facts) if not only or finding.id in only]
    print_document(WRITERS[format](facts, selection).rstrip(), format == "json")
    return exit_code(selection)


def _print_progress(facts: DoctorFacts) -> None:
    """Print the op check's progress, if stderr is a terminal."""
    if not facts.ops or not sys.stderr.isatty():
        return
    run = facts.ops[-1]
    line = clean(f"checking ops on {run.device}: {run.done:,} of {run.planned:,} cases")
    sys.stderr.write(f"\r{line:<70}" if run.seconds is None else f"\r{'':<70}\r")
    sys.stderr.flush()

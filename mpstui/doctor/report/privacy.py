"""Facts and findings without folders and personal names."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from mpstui.domain.facts import DoctorFacts
from mpstui.domain.findings import Finding
from mpstui.runs.privacy import cleaned


def anonymous(facts: DoctorFacts, findings: Sequence[Finding]) -> tuple[DoctorFacts, list[Finding]]:
    """Return facts and findings without folders and personal names."""
    clean_facts = msgspec.convert(cleaned(msgspec.to_builtins(facts)), DoctorFacts)
    clean_findings = msgspec.convert(cleaned(msgspec.to_builtins(findings)), list[Finding])
    return clean_facts, clean_findings

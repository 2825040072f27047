"""Facts and findings without anybody's folders and names."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from mpstui.domain.facts import Facts
from mpstui.domain.findings import Finding
from mpstui.runs.privacy import cleaned


def anonymous(facts: Facts, findings: Sequence[Finding]) -> tuple[Facts, list[Finding]]:
    """Facts and findings without anybody's folders and names."""
    clean_facts = msgspec.convert(cleaned(msgspec.to_builtins(facts)), Facts)
    clean_findings = msgspec.convert(cleaned(msgspec.to_builtins(findings)), list[Finding])
    return clean_facts, clean_findings

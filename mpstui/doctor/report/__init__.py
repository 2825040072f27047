"""The doctor's reports: lines for the terminal, JSON for scripts, Markdown for issues.

All can be posted without revealing folders, user names or host names; the terminal lines can keep
them for the local user.
"""

from __future__ import annotations

from collections.abc import Iterable

from mpstui.domain.findings import Finding, Status
from mpstui.runs.privacy import without_names

from .document import as_json
from .markdown import as_markdown
from .text import as_text

__all__ = ["as_json", "as_markdown", "as_text", "exit_code", "without_names"]


def exit_code(findings: Iterable[Finding]) -> int:
    """Return 1 when anything failed, otherwise 0."""
    return int(any(finding.status is Status.FAIL for finding in findings))

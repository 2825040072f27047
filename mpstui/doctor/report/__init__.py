"""The doctor's answer off the screen: lines for a person, JSON for a script, Markdown for an issue.

All can be pasted somewhere without a folder, a user's or a host's name; the lines keep them for
whoever sits at the machine.
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
    """1 when anything failed, otherwise 0."""
    return int(any(finding.status is Status.FAIL for finding in findings))

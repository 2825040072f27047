"""Findings: rated facts, each with its reason and remedy.

The format follows ``brew doctor`` and ``flutter doctor``: a status, a summary line, the reason and
commands to copy.
"""

from __future__ import annotations

from enum import Enum

import msgspec


class Status(str, Enum):
    """The status of a finding."""

    OK = "ok"
    WARN = "warn"
    FAIL = "fail"
    NOT_APPLICABLE = "not applicable"
    UNKNOWN = "unknown"

    @property
    def mark(self) -> str:
        """One character for a narrow column."""
        return {"ok": "✓", "warn": "!", "fail": "✗", "not applicable": "·", "unknown": "?"}[
            self.value
        ]


class Finding(msgspec.Struct, frozen=True, kw_only=True):
    """A rated fact."""

    id: str
    """Stable, for ``--only`` and for links: ``apple-silicon``."""
    group: str
    """The heading of its group: ``Prerequisites``, ``Machine``, …"""
    status: Status
    title: str
    """What was checked: ``arm64 Python``."""
    summary: str
    """The result in one line."""
    reason: str = ""
    """The facts that the status is based on."""
    remedy: str = ""
    """What to do, as prose."""
    commands: tuple[str, ...] = ()
    """Exact commands to copy."""
    affects: str = ""
    """What it affects: ``every run on mps``, ``timings``."""
    links: tuple[str, ...] = ()
    """Threads and pages for further reading."""
    pending: bool = False
    """Its facts are still being read. A status other than unknown is then the previous one."""

    @property
    def needs_attention(self) -> bool:
        """Whether the user should look at it."""
        return self.status in (Status.WARN, Status.FAIL)

"""Findings: facts judged, each with the reason it rests on and the remedy.

The shape follows ``brew doctor`` and ``flutter doctor``: a tier, one line, what it rests on, and
commands to copy.
"""

from __future__ import annotations

from enum import Enum

import msgspec


class Status(str, Enum):
    """How a finding stands."""

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
    """One judged fact."""

    id: str
    """Stable, for ``--only`` and for links: ``apple-silicon``."""
    group: str
    """The heading that it stands under: ``Prerequisites``, ``Machine``, …"""
    status: Status
    title: str
    """What was checked: ``arm64 Python``."""
    summary: str
    """One line: what was found."""
    reason: str = ""
    """The facts that the status rests on."""
    remedy: str = ""
    """What to do, in words."""
    commands: tuple[str, ...] = ()
    """Exact commands to copy."""
    affects: str = ""
    """What it touches: ``every run on mps``, ``timings``."""
    links: tuple[str, ...] = ()
    """Threads and pages to read on."""
    pending: bool = False
    """Its facts are still being asked for. A status other than unknown is then that of before."""

    @property
    def needs_attention(self) -> bool:
        """Whether a person should look at it."""
        return self.status in (Status.WARN, Status.FAIL)

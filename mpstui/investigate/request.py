"""What is asked of an investigation, and where its files lie. No torch here."""

from __future__ import annotations

from pathlib import Path

import msgspec

from mpstui.domain.config import RunConfig
from mpstui.domain.investigation import Investigation
from mpstui.runs.files import read_json, write_json


class InvestigationRequest(msgspec.Struct, frozen=True, kw_only=True):
    """request.json: what the worker reads."""

    config: RunConfig
    """The run's, or of ``--workload`` and ``--device``."""
    run: str = ""
    """The run's folder, whose snapshots are to be used; empty to begin at the first step."""
    steps: int = 20
    """How many steps are looked at before nothing is found."""
    seconds: float = 40.0
    """About how long steps are looked at before nothing is found."""


class InvestigationFolder:
    """An investigation's directory: request, finding, report and repro."""

    def __init__(self, path: Path) -> None:
        self.path = path

    @property
    def report(self) -> Path:
        """The Markdown report."""
        return self.path / "report.md"

    @property
    def repro(self) -> Path:
        """The script that shows the fault."""
        return self.path / "repro.py"

    @property
    def begun(self) -> Path:
        """The op that was begun last, which names it when the process dies."""
        return self.path / "begun.bin"

    @property
    def state(self) -> Path:
        """What the step under way starts from, while one is."""
        return self.path / "state.pt"

    def request(self) -> InvestigationRequest | None:
        """What was asked."""
        return read_json(self.path / "request.json", InvestigationRequest)

    def write_request(self, request: InvestigationRequest) -> None:
        """Write request.json."""
        write_json(self.path / "request.json", request)

    def finding(self) -> Investigation | None:
        """What was found, once it is there."""
        return read_json(self.path / "investigation.json", Investigation)

    def write_finding(self, finding: Investigation) -> None:
        """Write investigation.json."""
        write_json(self.path / "investigation.json", finding)

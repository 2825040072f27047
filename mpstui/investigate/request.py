"""The request of an investigation, and the paths of its files; does not import torch."""

from __future__ import annotations

from pathlib import Path

import msgspec

from mpstui.domain.config import RunConfig
from mpstui.domain.investigation import Investigation
from mpstui.runs.files import TEXT_BYTES, read_json, write_json
from mpstui.runs.script_command import ScriptCommand


class InvestigationRequest(msgspec.Struct, frozen=True, kw_only=True):
    """A request to the worker, as in ``request.json``."""

    config: RunConfig
    """The run's config, or that of ``--workload`` and ``--device``."""
    run: str = ""
    """The folder of the run whose snapshots to use; empty to start from the first step."""
    steps: int = 20
    """The number of steps to check."""
    seconds: float = 40.0
    """About how long to check steps."""
    script: ScriptCommand | None = None
    """The script to check as it is; the config then has only its reference and the fault."""
    from_step: int = 0
    """The number of the script's steps before the checked ones."""


class InvestigationFolder:
    """An investigation's directory with its request, finding, report and repro."""

    def __init__(self, path: Path) -> None:
        self.path = path

    @property
    def report(self) -> Path:
        """The Markdown report."""
        return self.path / "report.md"

    @property
    def repro(self) -> Path:
        """The script that reproduces the fault."""
        return self.path / "repro.py"

    @property
    def journal(self) -> Path:
        """The journal of the last op that started, for when the process dies."""
        return self.path / "begun.bin"

    @property
    def script_journal(self) -> Path:
        """The journal of a script's own process."""
        return self.path / "script-begun.bin"

    @property
    def state(self) -> Path:
        """The state before the current step, during a step."""
        return self.path / "state.pt"

    def request(self) -> InvestigationRequest | None:
        """Read the request; None if there is none."""
        return read_json(self.path / "request.json", InvestigationRequest)

    def write_request(self, request: InvestigationRequest) -> None:
        """Write request.json."""
        write_json(self.path / "request.json", request)

    def finding(self) -> Investigation | None:
        """Read the finding; None if there is none yet."""
        return read_json(self.path / "investigation.json", Investigation, TEXT_BYTES)

    def write_finding(self, finding: Investigation) -> None:
        """Write investigation.json."""
        write_json(self.path / "investigation.json", finding)

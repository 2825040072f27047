"""``mpstui investigate``: finds the op at fault, from a diverged run or from a device."""

from __future__ import annotations

import sys
from datetime import datetime
from pathlib import Path

from msgspec.structs import replace

from mpstui.domain.config import RunConfig
from mpstui.domain.devices import parse_device
from mpstui.domain.errors import FieldError
from mpstui.domain.investigation import Investigation, ProgressMessage, Verdict
from mpstui.domain.script_ref import script_ref
from mpstui.domain.tables import as_json
from mpstui.investigate.client import InvestigationClient, create_folder, request_for_run
from mpstui.investigate.request import InvestigationFolder, InvestigationRequest
from mpstui.runs.own_settings import own_settings
from mpstui.runs.paths import runs_dir as default_runs_dir
from mpstui.runs.rundir import RunDir
from mpstui.runs.store import RunStore

from .lazy_facts import LazyFacts, refuse
from .output import print_document, print_line

EXPLAINED = (Verdict.LOWER_PRECISION, Verdict.DIVERGES_ON_CPU)
"""Verdicts with another cause than the device."""

STEP_RANGE = (1, 10_000)
"""Least and most steps to inspect."""


def investigate(
    config: RunConfig,
    device: str | None,
    run: str | None,
    steps: int | None,
    json: bool,
    out: Path | None,
    runs_dir: Path | None,
) -> int:
    """Investigate; progress goes to stderr, the finding to stdout.

    Args:
        config: The settings, if no run is named.
        device: A device spec; with a run, it replaces the run's.
        run: A run to start from, with its own settings.
        steps: How many steps to inspect.
        json: Print the finding as one JSON document.
        out: The folder for the files.
        runs_dir: The folder of runs; None for the default.

    Returns:
        0 if nothing is wrong with the device, 1 if something is or that can't be determined, 130
        after Ctrl-C.

    Raises:
        FieldError: When neither run nor device is named, or the steps are out of range.
        RunNotFound: When there is no such run.
        DeviceUnavailable: When the device is not available.
    """
    if run is not None:
        request = request_for_run(RunStore(runs_dir or default_runs_dir()).find(run))
        if device is not None and request.script is not None:
            allowed = "no --device; the script's own arguments may take one"
            raise FieldError("device", "a script chooses its device itself", allowed)
        if device is not None:
            spec = parse_device(device)
            own = own_settings(request.config.workload, RunDir(Path(request.run)).workload)
            request = replace(
                request, config=request.config.on(spec, request.config.comparison, own)
            )
    elif device is not None:
        own = own_settings(config.workload)
        request = InvestigationRequest(config=config.on(parse_device(device), own=own))
    else:
        raise FieldError("device", "none is named", "--device SPEC, or --from RUN_ID")
    if steps is not None:
        check_steps(steps)
        request = replace(request, steps=steps)
    refuse([request.config.spec], LazyFacts())
    folder = create_folder(request, datetime.now(), out)
    try:
        finding = follow_investigation(folder)
    except KeyboardInterrupt:
        print_line("stopped without a result", sys.stderr)
        return 130
    print_document(as_json(finding) if json else as_text(finding, folder), json)
    return int(finding.verdict not in (Verdict.NOTHING, *EXPLAINED) or bool(finding.error))


def check_steps(steps: int) -> None:
    """Check the number of steps to inspect.

    Raises:
        FieldError: If it is out of range.
    """
    low, high = STEP_RANGE
    if not low <= steps <= high:
        allowed = f"whole numbers from {low} to {high:,}"
        raise FieldError("steps", f"{steps} is out of range", allowed)


def follow_investigation(folder: InvestigationFolder) -> Investigation:
    """Run the investigation that a folder requests, with a line on stderr for each stage.

    A script's own output goes to stderr too.
    """
    client = InvestigationClient(folder, on_output=sys.stderr.write)
    try:
        return client.run(_print_progress)
    except KeyboardInterrupt:
        client.stop()
        raise


def _print_progress(message: ProgressMessage) -> None:
    mark = "✓" if message.done else "…"
    if message.done or sys.stderr.isatty():
        print_line(f"{message.stage.value:<9} {mark} {message.text}", sys.stderr)


def as_text(finding: Investigation, folder: InvestigationFolder) -> str:
    """Format the finding as a few lines of text."""
    kind = f": {finding.kind}" if finding.kind else ""
    lines = [f"{finding.verdict.value}{kind}", finding.summary]
    is_script = script_ref(finding.workload) is not None
    lines += [note for note in finding.notes if is_script or "SIMULATED" in note]
    if finding.remedy:
        lines.append(f"remedy: {finding.remedy}")
    lines += [f"{evidence.tried}: {evidence.outcome}" for evidence in finding.evidence]
    if finding.repro:
        lines.append(f"repro: {folder.repro} ({finding.repro_note})")
    elif finding.repro_note:
        lines.append(f"repro: {finding.repro_note}")
    if finding.unreferenced:
        lines.append(f"not checked: {', '.join(finding.unreferenced)}")
    if folder.report.exists():
        lines.append(f"report: {folder.report}")
    return "\n".join(lines)

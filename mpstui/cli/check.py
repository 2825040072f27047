"""``mpstui check``: finds the op of a script that is wrong on the device that it uses."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path

from mpstui.domain.errors import FieldError
from mpstui.domain.investigation import Verdict
from mpstui.domain.tables import as_json
from mpstui.investigate.client import create_folder, request_for_script
from mpstui.runs.paths import runs_dir as default_runs_dir
from mpstui.runs.script_command import script_command

from .investigate import as_text, check_steps, follow_investigation
from .output import print_document, print_line

INCOMPLETE = 3
"""Exit status of a check that could not be completed."""


def check_script(
    file: str | None,
    module: str | None,
    arguments: Sequence[str],
    *,
    steps: int,
    from_step: int,
    fault: str | None,
    json: bool,
    runs_dir: Path | None,
) -> int:
    """Check a script; its output and the progress go to stderr, the finding to stdout.

    Args:
        file: The script; None for a module.
        module: The module; None for a file.
        arguments: The script's own.
        steps: Optimizer steps to check.
        from_step: Plain steps before them.
        fault: A simulated fault; None for none.
        json: Print the finding as one JSON document.
        runs_dir: The folder of runs, beside which the finding goes; None for the default.

    Returns:
        0 if nothing is wrong, 1 if an op is, 3 if the check could not be completed, 130 after
        Ctrl-C.

    Raises:
        FieldError: If there is no such script or fault, or a number is out of range.
    """
    command = script_command(file, module, arguments)
    check_steps(steps)
    if from_step < 0:
        raise FieldError("from-step", f"{from_step} is out of range", "0 or more")
    request = request_for_script(command, steps, from_step, fault or "")
    now = datetime.now()
    home = (runs_dir or default_runs_dir()).parent
    folder = create_folder(request, now, home / "investigations" / f"{now:%Y%m%d-%H%M%S}")
    try:
        finding = follow_investigation(folder)
    except KeyboardInterrupt:
        print_line("stopped without a result", sys.stderr)
        return 130
    print_document(as_json(finding) if json else as_text(finding, folder), json)
    if finding.verdict is Verdict.INCOMPLETE:
        return INCOMPLETE
    return int(finding.verdict is not Verdict.NOTHING)

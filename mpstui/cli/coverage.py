"""``mpstui doctor --for mps``: whether a workload runs on MPS; it works on any machine."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from mpstui.coverage.client import CoverageClient
from mpstui.coverage.report import as_document, as_markdown, as_text
from mpstui.domain.config import BY_NAME
from mpstui.domain.coverage import Coverage
from mpstui.domain.errors import FieldError, MpstuiError, UsageError
from mpstui.domain.workloads import short_name
from mpstui.runs.script_command import ScriptCommand
from mpstui.runs.workload_path import absolute_workload

from .output import print_document, print_line
from .set_arguments import workload_values


def coverage(
    workload: str | None, torch: str, format: str, verbose: bool, sets: Sequence[str] = ()
) -> int:
    """Record a workload's step and print the verdict with its ops; progress goes to stderr.

    Args:
        workload: ``mnist``, ``vae`` or ``path/to/file.py:Class``.
        torch: The version of torch to check; empty for the installed one.
        format: ``text``, ``json`` or ``markdown``.
        verbose: List native ops too.
        sets: ``--set``'s values.

    Returns:
        0 if it runs on MPS, 1 if it does not or that can't be determined, 130 after Ctrl-C.

    Raises:
        FieldError: When no workload is named, or it is invalid.
        UsageError: When there is no table of that version, or no such workload.
    """
    if workload is None:
        raise FieldError("workload", "none is named", f"--workload {BY_NAME['workload'].allowed}")
    workload = BY_NAME["workload"].parse(absolute_workload(workload.strip()))
    client = CoverageClient(workload, torch, values=workload_values(workload, sets))
    return follow_coverage(client, workload, torch, format, verbose)


def cover_script(command: ScriptCommand, torch: str, format: str) -> int:
    """Record a script's first steps, and print the same for it.

    Args:
        command: How the script is started.
        torch: The version of torch to check; empty for the installed one.
        format: ``text`` or ``json``.
    """
    client = CoverageClient(command.ref, torch, script=command)
    return follow_coverage(client, command.ref, torch, format, verbose=False)


def follow_coverage(
    client: CoverageClient, workload: str, torch: str, format: str, verbose: bool
) -> int:
    """Run a coverage check and print its result; returns the exit status."""
    try:
        result = client.run(_print_progress)
    except KeyboardInterrupt:
        client.stop()
        print_line("stopped without a result", sys.stderr)
        return 130
    except UsageError:
        raise
    except MpstuiError as error:
        result = Coverage(
            workload=short_name(workload), torch=torch, recorded_with="", error=str(error)
        )
    print_document(_format(result, format, verbose).rstrip("\n"), format == "json")
    return result.exit_code


def _format(result: Coverage, format: str, verbose: bool) -> str:
    match format:
        case "json":
            return as_document(result) + "\n"
        case "markdown":
            return as_markdown(result, verbose)
        case _:
            return as_text(result, verbose)


def _print_progress(text: str) -> None:
    if sys.stderr.isatty():
        print_line(f"… {text}", sys.stderr)

"""``mpstui doctor --for mps``: whether a workload runs there, on a machine with or without it."""

from __future__ import annotations

import sys

from mpstui.coverage.client import CoverageClient
from mpstui.coverage.report import as_document, as_markdown, as_text
from mpstui.domain.coverage import Coverage
from mpstui.domain.errors import FieldError, MpstuiError, UsageError
from mpstui.domain.workloads import short_name

FORM = "mnist, vae, or path/to/file.py:Class"


def coverage(workload: str | None, torch: str, form: str, verbose: bool) -> int:
    """Record a workload's step and print the verdict with its ops; progress goes to stderr.

    Args:
        workload: ``mnist``, ``vae`` or ``path/to/file.py:Class``.
        torch: The version that is asked about; empty for the installed one.
        form: ``text``, ``json`` or ``markdown``.
        verbose: List native ops too.

    Returns:
        0 when it runs on MPS, 1 when it does not or it cannot be told, 130 when the user ended it.

    Raises:
        FieldError: When no workload is named, or it is none.
        UsageError: When there is no table of that version, or no such workload.
    """
    if workload is None:
        raise FieldError("workload", "none is named", f"--workload {FORM}")
    coverer = CoverageClient(workload, torch)
    try:
        answer = coverer.run(_say)
    except KeyboardInterrupt:
        coverer.stop()
        sys.stderr.write("stopped; nothing was concluded\n")
        return 130
    except UsageError:
        raise
    except MpstuiError as error:
        answer = Coverage(
            workload=short_name(workload), torch=torch, recorded_with="", error=str(error)
        )
    sys.stdout.write(_text(answer, form, verbose))
    return answer.exit_code


def _text(answer: Coverage, form: str, verbose: bool) -> str:
    match form:
        case "json":
            return as_document(answer) + "\n"
        case "markdown":
            return as_markdown(answer, verbose)
        case _:
            return as_text(answer, verbose)


def _say(text: str) -> None:
    if sys.stderr.isatty():
        sys.stderr.write(f"… {text}\n")
        sys.stderr.flush()

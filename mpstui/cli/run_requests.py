"""``mpstui runs pause``, ``unpause``, ``stop`` and ``kill``: control any run that is under way."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from mpstui.domain.errors import UsageError
from mpstui.runs import requests
from mpstui.runs.control import Request
from mpstui.runs.paths import runs_dir as default_runs_dir
from mpstui.runs.store import RunStore

from .output import print_error, print_line

ANSWERS: dict[Request, str] = {
    "pause": "pauses after its step; `mpstui runs unpause {id}` resumes it",
    "run": "goes on",
    "stop": "stops after its step; `mpstui watch {id}` follows it",
}


def send_requests(texts: Sequence[str], request: Request, runs_dir: Path | None) -> int:
    """Send a request to runs, and print a line for each of them.

    Args:
        texts: Runs or comparisons, as ``RunStore.select`` takes them.
        request: ``run`` ends a pause.
        runs_dir: The folder of runs; None for the default.

    Returns:
        0, or 2 if one of the runs is over already.

    Raises:
        RunNotFound: When one of them does not exist.
    """
    code = 0
    for run in RunStore(runs_dir or default_runs_dir()).select(texts):
        try:
            if request == "kill":
                answer = requests.kill(run)
            else:
                requests.send_request(run, request)
                answer = ANSWERS[request].format(id=run.id)
        except UsageError as error:  # the others of a comparison may still train
            print_error(error)
            code = error.exit_code
        else:
            print_line(f"{run.id} {answer}")
    return code

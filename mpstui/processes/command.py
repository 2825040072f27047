"""Helpers for child processes: how to start mpstui's modules, and exit statuses as text."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

OUTSIDE = frozenset({"SIGKILL", "SIGTERM", "SIGINT", "SIGHUP", "SIGXCPU"})
"""Signals that come from outside: from the out-of-memory killer, a job scheduler or the user, never
from a driver or a library."""

FACTS_FLAG = "--facts"
"""Asks a process that imports torch for its work to print torch's facts first."""

_SHELL = 128
"""Offset that a shell adds to a signal's number for the exit status."""


def module_command(module: str, *arguments: str) -> list[str]:
    """Return the command that runs a module under this Python."""
    return [sys.executable, "-m", module, *arguments]


_CHANGED = ("PYTHONSAFEPATH", "PYTHONPATH")
_BEFORE = "MPSTUI_BEFORE_"
"""Prefix of variables with the values that the user's environment has for the changed ones."""


def file_command(module: str, *arguments: str) -> list[str]:
    """Return the command that runs a module's ``main(arguments)`` in the user's environment.

    It starts a file: ``-m`` would need the variables of :func:`child_environment`, which a script
    and its own processes would inherit.
    """
    entry = Path(__file__).parent / "entry.py"
    return [sys.executable, str(entry), module, *arguments]


def child_environment() -> dict[str, str]:
    """Return this environment, changed so that ``-m`` finds mpstui but no local ``torch.py``."""
    before = {f"{_BEFORE}{name}": os.environ.get(name, "") for name in _CHANGED}
    variables = {**before, **os.environ, "PYTHONSAFEPATH": "1"}
    root = Path(__file__).parents[2]
    if root.name not in ("site-packages", "dist-packages"):  # a checkout that may not be installed
        paths = [str(root), os.environ.get("PYTHONPATH", "")]
        variables["PYTHONPATH"] = os.pathsep.join(filter(None, paths))
    return variables


def user_environment() -> dict[str, str]:
    """Return this environment as the user had it, without the changes of ``child_environment``."""
    variables = dict(os.environ)
    for name in _CHANGED:
        before = variables.pop(f"{_BEFORE}{name}", None)
        if before:
            variables[name] = before
        elif before is not None:
            variables.pop(name, None)
    return variables


def describe_exit(code: int) -> str:
    """Describe an exit status: ``SIGABRT``, ``exit status 3``."""
    if code >= 0:
        return f"exit status {code}"
    try:
        return signal.Signals(-code).name
    except ValueError:
        return f"signal {-code}"


def is_from_outside(code: int) -> bool:
    """Return whether an exit status shows that the process was ended from outside."""
    # A wrapper script reports SIGKILL as 137 and SIGTERM as 143.
    return describe_exit(-(code - _SHELL) if code in (_SHELL + 9, _SHELL + 15) else code) in OUTSIDE

"""Child processes: our own modules, started the same way everywhere, and their end in words."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

OUTSIDE = frozenset({"SIGKILL", "SIGTERM", "SIGINT", "SIGHUP", "SIGXCPU"})
"""Signals that come from outside: from the out-of-memory killer, a job scheduler, a person. No
driver and no library sends them."""

_SHELL = 128
"""What a shell adds to a signal's number to make it an exit status."""


def module_command(module: str, *arguments: str) -> list[str]:
    """The command that runs one of our modules under this Python."""
    return [sys.executable, "-m", module, *arguments]


def child_environment() -> dict[str, str]:
    """Ours, changed so that ``-m`` finds mpstui but not a ``torch.py`` in the current folder."""
    changed = {**os.environ, "PYTHONSAFEPATH": "1"}
    root = Path(__file__).parents[2]
    if root.name not in ("site-packages", "dist-packages"):  # a checkout, maybe not installed
        paths = [str(root), os.environ.get("PYTHONPATH", "")]
        changed["PYTHONPATH"] = os.pathsep.join(filter(None, paths))
    return changed


def ending(code: int) -> str:
    """An exit status in words: ``SIGABRT``, ``exit status 3``."""
    if code >= 0:
        return f"exit status {code}"
    try:
        return signal.Signals(-code).name
    except ValueError:
        return f"signal {-code}"


def is_from_outside(code: int) -> bool:
    """Whether an exit status says that somebody else ended the process."""
    # 137 is a wrapper's word for SIGKILL, 143 for SIGTERM.
    return ending(-(code - _SHELL) if code in (_SHELL + 9, _SHELL + 15) else code) in OUTSIDE

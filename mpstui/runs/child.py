"""Child processes: our own modules, started the same way everywhere, and their end in words."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path


def module_command(module: str, *arguments: str) -> list[str]:
    """The command that runs one of our modules under this Python."""
    return [sys.executable, "-m", module, *arguments]


def environment() -> dict[str, str]:
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

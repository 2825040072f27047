"""Virtual environments in which the tests of this checkout run."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).parents[1]


def python_of(environment: Path) -> Path:
    """Return a virtual environment's interpreter."""
    return environment / ("Scripts/python.exe" if os.name == "nt" else "bin/python")


def run_checkout(python: Path, arguments: Sequence[str]) -> int:
    """Run an interpreter with this checkout as the project; return the exit status.

    The copy that pip installed only brought what the project needs.
    """
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    return subprocess.run(
        [str(python), *arguments], cwd=ROOT, env=environment, check=False
    ).returncode


def run_tests(python: Path, arguments: Sequence[str]) -> int:
    """Run pytest on this checkout; return its exit status."""
    return run_checkout(python, ["-m", "pytest", "-p", "no:cacheprovider", *arguments])

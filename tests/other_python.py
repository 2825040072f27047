"""The app, a run and a command on another version: ``python -m tests.other_python [PYTEST…]``.

It looks for the newest Python of another minor version on the path and among pyenv's, installs
this project with its ``test`` extra in a temporary virtual environment, and runs the tests below,
or those that the arguments for pytest name. A Python for which a package has no wheels is passed
over. It exits with pytest's status; with 0 where there is no other Python. Textual runs the app in
another way from Python 3.12 on: tasks start at once.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

from .environments import ROOT, python_of, run_tests

OLDEST, NEWEST = 10, 14
"""Minor versions of Python 3 that are looked for."""

TESTS = (
    *("tests/ui/test_terminal.py", "tests/ui/screens/test_whole_path.py", "tests/ui/widgets"),
    *("tests/cli/test_train.py", "tests/runs"),
)
"""The app in a terminal, its first run, its widgets, the command, and the files of runs."""

NOT_INSTALLED = 100
"""Not a status of pytest."""

MINOR = "import sys, venv, ssl; print(*sys.version_info[:2])"
"""Prints a version; fails without what a new environment needs."""


def main(arguments: Sequence[str]) -> int:
    """Install and run; the status is pytest's, or ``NOT_INSTALLED``, or 0 without one."""
    pythons = list(interpreters())
    if not pythons:
        print("no other Python 3 here: nothing was tested")
        return 0
    statuses = (_test(python, arguments) for python in pythons)
    return next((status for status in statuses if status != NOT_INSTALLED), NOT_INSTALLED)


def _test(python: str, arguments: Sequence[str]) -> int:
    """Test on an interpreter; return pytest's status, or ``NOT_INSTALLED``."""
    with tempfile.TemporaryDirectory(prefix="python-") as folder:
        print(f"{python}: its environment is in {folder}", flush=True)
        subprocess.run([python, "-m", "venv", folder], check=True)
        new = python_of(Path(folder))
        pip = [str(new), "-m", "pip", "install", "--quiet", f"{ROOT}[test]"]
        if subprocess.run(pip, check=False).returncode:
            return NOT_INSTALLED
        return run_tests(new, arguments or TESTS)


def interpreters() -> Iterator[str]:
    """Yield the Pythons of other minor versions that start, the newest first."""
    pyenv = Path(os.environ.get("PYENV_ROOT") or Path.home() / ".pyenv") / "versions"
    for minor in range(NEWEST, OLDEST - 1, -1):
        if minor == sys.version_info[1]:
            continue
        name = f"python3.{minor}"
        places = [shutil.which(name), *sorted(pyenv.glob(f"3.{minor}.*/bin/{name}"), key=_number)]
        yield from (str(place) for place in places if place and _is_of(str(place), minor))


def _number(path: Path) -> list[int]:
    """Return a version's numbers, negative: the newest comes first."""
    return [-int(number) for number in re.findall(r"\d+", path.parents[1].name)]


def _is_of(python: str, minor: int) -> bool:
    """Return whether an interpreter starts and has what a new environment needs."""
    command = [python, "-c", MINOR]
    started = subprocess.run(command, capture_output=True, text=True, check=False)
    return started.stdout.split() == ["3", str(minor)]


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

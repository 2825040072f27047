"""The tests that meet torch, on another version of it.

``python -m tests.other_torch 2.15.0 [--vision 0.29.2] [--pip "OPTIONS"] [--keep] [-- PYTEST…]``
makes a virtual environment in a temporary folder, installs that torch, its torchvision and this
project with its ``test`` extra, prints what was installed, and runs the tests below, or what is
given to pytest behind ``--``; pytest prints the counts. It exits with pytest's status and is not
part of the quick suite: on Linux torch and its CUDA libraries take 5 GB. Smaller ones can be had
with ``--pip "--index-url https://…/whl/cpu"`` where that index can be reached. The system's pip
settings count too.
"""

from __future__ import annotations

import argparse
import shlex
import shutil
import subprocess
import sys
import tempfile
import venv
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from .environments import ROOT, python_of, run_checkout, run_tests

TESTS = (
    *("-m", ""),  # the slow ones too
    *("tests/doctor", "tests/engine", "tests/divergence", "tests/investigate"),
    *("tests/coverage", "tests/simulated_mps"),
)
"""Those that import torch or start a process that does."""

VERSIONS = (
    "import importlib.metadata as m, platform, torch;"
    "print('Python', platform.python_version(), 'torch', torch.__version__,"
    " 'torchvision', m.version('torchvision'))"
)


class Plan(NamedTuple):
    """What the command line says."""

    torch: str
    vision: str
    pip: tuple[str, ...]
    keep: bool
    pytest: tuple[str, ...]


def plan(arguments: Sequence[str]) -> Plan:
    """Read the command line."""
    parser = argparse.ArgumentParser(prog="python -m tests.other_torch")
    parser.add_argument("torch", help="a version: 2.15.0")
    parser.add_argument("--vision", default="", help="torchvision's version; pip's choice if empty")
    parser.add_argument("--pip", default="", help="more options for pip install, as one word")
    parser.add_argument("--keep", action="store_true", help="leave the environment, and say where")
    split = list(arguments).index("--") if "--" in arguments else len(arguments)
    request = parser.parse_args(arguments[:split])
    tests = tuple(arguments[split + 1 :]) or TESTS
    return Plan(request.torch, request.vision, tuple(shlex.split(request.pip)), request.keep, tests)


def installs(request: Plan, python: Path) -> list[list[str]]:
    """The two pip commands: the pair first, then the project, held to that torch."""
    pip = [str(python), "-m", "pip", "install", "--quiet"]
    pair = [f"torch=={request.torch}"]
    pair.append(f"torchvision=={request.vision}" if request.vision else "torchvision")
    project = f"{ROOT}[test]"
    return [[*pip, *request.pip, *pair], [*pip, *request.pip, project, f"torch=={request.torch}"]]


def main(arguments: Sequence[str]) -> int:
    """Install and run; the status is pytest's, or pip's when it fails."""
    request = plan(arguments)
    folder = Path(tempfile.mkdtemp(prefix=f"torch-{request.torch}-"))
    try:
        return _run(request, folder)
    finally:
        if request.keep:
            print(f"kept: {folder}")
        else:
            shutil.rmtree(folder, ignore_errors=True)


def _run(request: Plan, folder: Path) -> int:
    venv.create(folder, with_pip=True)
    python = python_of(folder)
    for command in installs(request, python):
        print("$", shlex.join(["pip", *command[3:]]), flush=True)
        if status := subprocess.run(command, check=False).returncode:
            return status
    return run_checkout(python, ["-c", VERSIONS]) or run_tests(python, request.pytest)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

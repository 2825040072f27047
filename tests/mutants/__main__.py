"""Whether tests notice wrong code: ``python -m tests.mutants [--only TEXT] [--part N/OF]``.

A copy of the source gets one mutant at a time, and the tests that are named beside it run in a
forked process. It prints the survivors and exits with 1 if fewer than 95 % are killed, or if tests
fail without a mutant. It takes about half an hour on two cores, and needs ``os.fork``. Parts,
as in ``--part 2/8``, may run at once.
"""

from __future__ import annotations

import argparse
import os
import shutil
import signal
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

from . import of_doctor, of_domain, of_engine, of_runs
from .mutant import Mutant

ROOT = Path(__file__).parents[2]
MUTANTS = [*of_domain.MUTANTS, *of_runs.MUTANTS, *of_engine.MUTANTS, *of_doctor.MUTANTS]
FLOOR = 95.0
"""Percent of the mutants that tests must kill."""

LIMIT_SECONDS = 900.0
"""For the tests of one mutant; one that exceeds it hangs them, and is killed."""

OPTIONS = ["-x", "-q", "-p", "no:cacheprovider", "-p", "no:xdist", "-o"]


def main() -> int:
    """Try all mutants."""
    parser = argparse.ArgumentParser(prog="python -m tests.mutants")
    parser.add_argument("--only", default="", help="mutants whose file contains this text")
    parser.add_argument("--part", default="1/1", help="of the mutants, as in 2/8")
    parser.add_argument("--floor", type=float, default=FLOOR)
    options = parser.parse_args()
    part, of = (int(number) for number in options.part.split("/"))
    mutants = [mutant for mutant in MUTANTS if options.only in mutant.file][part - 1 :: of]
    os.environ["OMP_NUM_THREADS"] = "1"
    with tempfile.TemporaryDirectory(prefix="mutants-") as folder:
        copy = Path(folder) / "copy"
        ignored = shutil.ignore_patterns(".git", "__pycache__", ".mypy_cache")
        shutil.copytree(ROOT, copy, ignore=ignored)
        os.chdir(copy)
        sys.path.insert(0, str(copy))
        _import_heavy()
        for tests in sorted({mutant.tests for mutant in mutants}):
            if (status := _run(tests)) != "survived":
                sys.stdout.write(f"without a mutant: {status}: {' '.join(tests)}\n")
                return 1
        counts = Counter(_try(copy, mutant) for mutant in mutants)
    killed = len(mutants) - counts["survived"]
    percent = 100 * killed / len(mutants)
    sys.stdout.write(f"{len(mutants)} mutants, {killed} killed: {percent:.1f} %\n")
    return int(percent < options.floor)


def _import_heavy() -> None:
    """Import what tests import and no mutant changes, so that a fork need not."""
    import hypothesis  # noqa: F401
    import numpy  # noqa: F401
    import psutil  # noqa: F401
    import pytest  # noqa: F401
    import torch

    torch.set_num_threads(1)


def _try(copy: Path, mutant: Mutant) -> str:
    path = copy / "mpstui" / mutant.file
    source = path.read_text(encoding="utf-8")
    assert source.count(mutant.old) == 1, mutant
    path.write_text(source.replace(mutant.old, mutant.new), encoding="utf-8")
    try:
        status = _run(mutant.tests)
    finally:
        path.write_text(source, encoding="utf-8")
    line = " ".join(mutant.new.split())
    sys.stdout.write(f"{status:<9} {mutant.file}: {line[:100]}\n")
    sys.stdout.flush()
    return status


def _run(tests: tuple[str, ...]) -> str:
    """Run tests in a fork; return ``killed``, ``survived`` or ``hung``."""
    if sys.platform == "win32":
        raise OSError("needs os.fork")
    process = os.fork()
    if process == 0:
        _run_in_fork(tests)
    deadline = time.monotonic() + LIMIT_SECONDS
    while True:
        ended, status = os.waitpid(process, os.WNOHANG)
        if ended:
            return "survived" if os.waitstatus_to_exitcode(status) == 0 else "killed"
        if time.monotonic() > deadline:
            os.killpg(process, signal.SIGKILL)
            os.waitpid(process, 0)
            return "hung"
        time.sleep(0.05)


def _run_in_fork(tests: tuple[str, ...]) -> None:
    import pytest

    if sys.platform == "win32":
        raise OSError("needs os.fork")
    os.setsid()
    devnull = os.open(os.devnull, os.O_WRONLY)
    for stream in (1, 2):
        os.dup2(devnull, stream)
    code = 99
    try:
        addopts = "addopts=--import-mode=importlib"
        code = int(pytest.main([*OPTIONS, addopts, *(f"tests/{test}" for test in tests)]))
    finally:
        os._exit(code)


if __name__ == "__main__":
    sys.exit(main())

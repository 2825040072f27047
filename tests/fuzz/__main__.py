"""Try damaged, hostile and random input of every kind, and print what fails.

``python -m tests.fuzz [folders|idx|snapshots|settings|cli|screens …] [--count N] [--seed S]``

It prints a line for each kind, with the first failures, and exits with 1 if there are any. A
failure is anything but a clean answer: another exception than mpstui's own, an exit code that is
none of 0, 1 and 2, a hang, a gigabyte of memory, something written or shown that lies outside of
the folder, and what is left over at the end. The same seed gives the same inputs.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
import warnings
from pathlib import Path

from . import cli, folders, idx, settings, snapshots
from .guard import Leaks
from .result import FuzzResult

KINDS = {
    "folders": (folders.fuzz_folders, 2000),
    "idx": (idx.fuzz_idx, 1000),
    "snapshots": (snapshots.fuzz_snapshots, 1000),
    "settings": (settings.fuzz_settings, 1000),
    "cli": (cli.fuzz_cli, 2000),
}
"""The function of each kind, and how many inputs it tries by default."""

SCREENS = 10_000
"""Random inputs on live screens."""

SHOWN = 20
"""Failures that are printed."""


def fuzz(kind: str, count: int | None, seed: int) -> FuzzResult:
    """Try inputs of one kind.

    Args:
        kind: A key of :data:`KINDS`, or ``screens``.
        count: Number of inputs; None for the default.
        seed: Of the random choices.
    """
    if kind == "screens":
        return _screens(count or SCREENS, seed)
    function, default = KINDS[kind]
    with tempfile.TemporaryDirectory() as folder:
        failures = function(count or default, seed, Path(folder))
    return FuzzResult(kind, count or default, failures)


def _screens(count: int, seed: int) -> FuzzResult:
    from .screens import fuzz_screens  # Textual is not imported for the other kinds

    return fuzz_screens(count, seed)


def main() -> int:
    """Fuzz the kinds on the command line, or all of them."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz")
    parser.add_argument("kinds", nargs="*", choices=(*KINDS, "screens", []), metavar="KIND")
    parser.add_argument("--count", type=int, help="inputs of each kind")
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    warnings.simplefilter("ignore")
    environment = dict(os.environ)
    failed = False
    for kind in arguments.kinds or (*KINDS, "screens"):
        fuzz(kind, 3, 0)  # what is loaded once is no leak
        leaks, began = Leaks(), time.perf_counter()
        result = fuzz(kind, arguments.count, arguments.seed)
        failures = [*result.failures, *(f"leaks {text}" for text in leaks.left())]
        os.environ.clear()
        os.environ.update(environment)
        failed = failed or bool(failures)
        seconds = time.perf_counter() - began
        print(
            f"{result.kind:<9} {result.tried:>6,} tried {len(failures):>5,} failed {seconds:5.0f} s"
        )
        for text in failures[:SHOWN]:
            print(f"  {text}")
        sys.stdout.flush()
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())

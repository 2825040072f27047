"""Hostile machines: ``python -m tests.chaos [KIND…] [--count N] [--seed N] [--minutes N]``.

Kinds: kills, hangs, comparison, disks, folders, clocks, starts, apps, soak. Without one it runs all
but ``soak``, with the counts of ``COUNTS``; that takes about an hour on two cores. It prints what
was tried and what failed, and exits with 1 if anything did.
``CHAOS_DEVICE`` is the device spec of the runs; without it they use the CPU with one thread.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

os.environ["OMP_NUM_THREADS"] = "1"  # before torch is imported, in every process

from .apps import apps, soak
from .clocks import clocks
from .disks import disks
from .folders import folders
from .hangs import comparison_with_one_that_hangs, hangs
from .kills import kills
from .starts import starts
from .tally import Tally, leaks

COUNTS = {
    "kills": 200,
    "hangs": 24,
    "disks": 12,
    "folders": 12,
    "clocks": 200,
    "starts": 20,
    "apps": 3,
}
SCENARIOS: dict[str, Callable[[Path, int, int], Tally]] = {
    "kills": kills,
    "hangs": hangs,
    "disks": disks,
    "folders": folders,
    "clocks": clocks,
    "starts": starts,
    "apps": apps,
}


def main() -> int:
    """Run scenarios and print a table."""
    parser = argparse.ArgumentParser(prog="python -m tests.chaos")
    parser.add_argument("kinds", nargs="*", metavar="KIND")
    parser.add_argument("--count", type=int)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--minutes", type=float, default=60.0, help="of soak")
    options = parser.parse_args()
    names = options.kinds or [*SCENARIOS, "comparison"]
    if unknown := set(names) - {*SCENARIOS, "comparison", "soak"}:
        parser.error(f"unknown: {', '.join(sorted(unknown))}")
    failed = False
    for name in names:
        with tempfile.TemporaryDirectory(prefix="chaos-") as folder:
            tally = _run(name, Path(folder), options)
        sys.stdout.write(f"{tally.line()}\n")
        sys.stdout.writelines(f"    {failure}\n" for failure in tally.failures[:20])
        sys.stdout.flush()
        failed = failed or bool(tally.failures)
    return int(failed)


def _run(name: str, folder: Path, options: argparse.Namespace) -> Tally:
    ahead = Tally("")
    with leaks(ahead, folder):
        if name == "soak":
            tally = soak(folder / name, options.minutes, options.seed)
        elif name == "comparison":
            tally = comparison_with_one_that_hangs(folder / name)
        else:
            count = options.count or COUNTS[name]
            tally = SCENARIOS[name](folder / name, count, options.seed)
    tally.failures += ahead.failures
    return tally


if __name__ == "__main__":
    sys.exit(main())

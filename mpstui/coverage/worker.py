"""The recording process: ``python -m mpstui.coverage.worker WORKLOAD [--torch VERSION]``.

It prints one :class:`~mpstui.domain.coverage.CoverageProgress` per line, and finally one
:class:`~mpstui.domain.coverage.Coverage` or :class:`~mpstui.domain.coverage.CoverageRefused`.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Callable, Sequence
from importlib.metadata import version
from pathlib import Path

from mpstui.domain.coverage import Coverage, CoverageProgress, CoverageRefused
from mpstui.domain.errors import MpstuiError, UsageError
from mpstui.kernel_tables.generate import table_of
from mpstui.processes.stdio import json_writer, take_stdout

Send = Callable[[CoverageProgress | Coverage | CoverageRefused], None]


def main(arguments: Sequence[str]) -> int:
    """Record a workload's step and return the exit status."""
    parser = argparse.ArgumentParser(prog="python -m mpstui.coverage.worker")
    parser.add_argument("workload")
    parser.add_argument("--torch", default="")
    options = parser.parse_args(arguments)
    with take_stdout() as out:
        send = json_writer(out)
        try:
            send(_cover(options.workload, options.torch, send))
        except MpstuiError as error:
            send(CoverageRefused(text=str(error), usage=isinstance(error, UsageError)))
    return 0


def _cover(workload: str, torch: str, send: Send) -> Coverage:
    table = table_of(torch or version("torch"))
    send(CoverageProgress(text="importing torch"))
    from .workload import cover, describe_error

    send(CoverageProgress(text="recording a training step and an evaluated batch on the CPU"))
    try:
        with tempfile.TemporaryDirectory() as folder:
            return cover(workload, table, Path(folder))
    except MpstuiError:
        raise
    except Exception as error:
        raise MpstuiError(describe_error(error)) from error  # for example from the user's model()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

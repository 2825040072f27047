"""The recording process: ``python -m mpstui.coverage.worker VALUES [--torch VERSION]``.

It prints one :class:`~mpstui.domain.coverage.CoverageProgress` per line, and finally one
:class:`~mpstui.domain.coverage.Coverage` or :class:`~mpstui.domain.coverage.CoverageRefused`.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from collections.abc import Callable, Sequence
from importlib.metadata import version
from pathlib import Path

import msgspec

from mpstui.domain.config import make_config
from mpstui.domain.coverage import Coverage, CoverageProgress, CoverageRefused
from mpstui.domain.errors import MpstuiError, UsageError
from mpstui.kernel_tables.generate import table_of
from mpstui.processes.parent import end_with_parent
from mpstui.processes.stdio import json_writer, take_stdout
from mpstui.runs.script_command import ScriptCommand

Send = Callable[[CoverageProgress | Coverage | CoverageRefused], None]


def main(arguments: Sequence[str]) -> int:
    """Record a workload's step and return the exit status."""
    parser = argparse.ArgumentParser(prog="python -m mpstui.coverage.worker")
    parser.add_argument("values", nargs="?", help="values for make_config as JSON")
    parser.add_argument("--torch", default="")
    parser.add_argument("--script", help="a ScriptCommand as JSON, instead of the workload")
    options = parser.parse_args(arguments)
    end_with_parent()
    with take_stdout() as out:
        send = json_writer(out)
        try:
            if options.script is not None:
                send(_cover_script(options.script, options.torch, send))
            else:
                send(_cover(options.values, options.torch, send))
        except MpstuiError as error:
            send(CoverageRefused(text=str(error), usage=isinstance(error, UsageError)))
    return 0


def _cover(values: str, torch: str, send: Send) -> Coverage:
    config = make_config(msgspec.json.decode(values))
    table = table_of(torch or version("torch"))
    send(CoverageProgress(text="importing torch"))
    from .workload import cover, describe_error

    send(CoverageProgress(text="recording a training step and an evaluated batch on the CPU"))
    try:
        with tempfile.TemporaryDirectory() as folder:
            return cover(config, table, Path(folder))
    except MpstuiError:
        raise
    except (Exception, SystemExit) as error:
        raise MpstuiError(describe_error(error)) from error  # for example from the user's model()


def _cover_script(command: str, torch: str, send: Send) -> Coverage:
    script = msgspec.json.decode(command, type=ScriptCommand)
    table = table_of(torch or version("torch"))
    os.environ["CUDA_VISIBLE_DEVICES"] = ""  # it would be chosen before MPS
    os.environ["TORCHDYNAMO_DISABLE"] = "1"  # compiled code has no single ops
    send(CoverageProgress(text="running the script's first two steps on the CPU"))
    from .script import cover_script

    return cover_script(script, table)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

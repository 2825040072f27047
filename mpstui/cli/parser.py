"""The command line: the parser of all commands, put together from one module per command."""

from __future__ import annotations

import argparse
import sys
from typing import Any

from typing_extensions import override

from mpstui import __version__

from .arguments import add_runs_dir, runs_dir_of
from .commands import check, compare, demo, doctor, investigate, new, run, runs, sweep, train, watch
from .output import write

COMMANDS = (doctor, demo, new, run, check, train, compare, runs, watch, investigate, sweep)
"""Modules with ``add_parser(commands)``, in the order of ``--help``."""


class CommandParser(argparse.ArgumentParser):
    """A parser whose messages repeat arguments, and so pass the door to stdout and stderr."""

    @override
    def _print_message(self, message: str, file: Any = None) -> None:
        """Print a message of the parser's own."""
        if message:
            write(message, file or sys.stderr)


def build_parser() -> argparse.ArgumentParser:
    """Build the parser; ``arguments.command`` is the function that runs the command."""
    parser = CommandParser(
        prog="mpstui",
        description="Is this machine set up to train on its GPU, how fast is it, and is it right? "
        "Without a command, starts the terminal app.",
    )
    parser.add_argument("--version", action="version", version=f"mpstui {__version__}")
    add_runs_dir(parser)
    parser.set_defaults(command=run_app)
    commands = parser.add_subparsers(metavar="COMMAND")
    for command in COMMANDS:
        command.add_parser(commands)
    return parser


def run_app(arguments: argparse.Namespace) -> int:
    """Start the terminal app."""
    from mpstui.ui.app import run_app

    return run_app(runs_dir_of(arguments))

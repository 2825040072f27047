"""Flags of ``mpstui demo``."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from mpstui.cli.arguments import add_runs_dir, runs_dir_of

if TYPE_CHECKING:
    from . import Subparsers


def add_parser(commands: Subparsers) -> None:
    """Add the command's parser."""
    parser = commands.add_parser(
        "demo", help="a diverging run and the op that causes it, simulated; about a minute"
    )
    parser.add_argument("--no-ui", action="store_true", help="plain lines in place of the app")
    add_runs_dir(parser)
    parser.set_defaults(command=run)


def run(arguments: argparse.Namespace) -> int:
    """Show the demo."""
    from mpstui.cli.demo import demo

    return demo(arguments.no_ui, runs_dir_of(arguments))

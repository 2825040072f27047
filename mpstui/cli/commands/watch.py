"""Flags of ``mpstui watch``."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from mpstui.cli.arguments import add_runs_dir, runs_dir_of

if TYPE_CHECKING:
    from . import Subparsers


def add_parser(commands: Subparsers) -> None:
    """Add the command's parser."""
    parser = commands.add_parser(
        "watch", help="follow a run that was started anywhere; Ctrl-C doesn't stop the run"
    )
    parser.add_argument(
        "id",
        nargs="?",
        metavar="RUN",
        help="a run's folder, its id or a part of it, or a comparison's id; default: the newest",
    )
    parser.add_argument(
        "--only", action="store_true", help="this run alone, without the rest of its comparison"
    )
    add_runs_dir(parser)
    parser.set_defaults(command=run)


def run(arguments: argparse.Namespace) -> int:
    """Follow a run."""
    from mpstui.cli.watch import watch

    return watch(arguments.id, arguments.only, runs_dir_of(arguments))

"""Flags of ``mpstui new``."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from mpstui.domain.zoo import ZOO

if TYPE_CHECKING:
    from . import Subparsers


def add_parser(commands: Subparsers) -> None:
    """Add the command's parser."""
    parser = commands.add_parser("new", help="write a workload of your own to start from")
    parser.add_argument("file", type=Path, metavar="FILE.py")
    parser.add_argument(
        "--from",
        dest="source",
        choices=tuple(ZOO),
        help="a workload that comes with mpstui, instead of the commented example",
    )
    parser.set_defaults(command=run)


def run(arguments: argparse.Namespace) -> int:
    """Write the file."""
    from mpstui.cli.new import new

    return new(arguments.file, arguments.source)

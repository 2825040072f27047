"""Flags of ``mpstui compare``."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from mpstui.cli.arguments import (
    DEVICE_HELP,
    add_format,
    add_runs_dir,
    add_settings,
    config_of,
    runs_dir_of,
)
from mpstui.cli.example_flags import add_example_flags
from mpstui.domain.errors import FieldError

if TYPE_CHECKING:
    from . import Subparsers


def add_parser(commands: Subparsers) -> None:
    """Add the command's parser."""
    parser = commands.add_parser("compare", help="the same training on several devices")
    add_example_flags(parser)
    parser.add_argument(
        "--devices", help=f"separated by commas, each {DEVICE_HELP}; default: cpu and the best"
    )
    add_settings(parser)
    add_format(parser)
    add_runs_dir(parser)
    parser.set_defaults(command=run)


def run(arguments: argparse.Namespace) -> int:
    """Train on several devices and compare them."""
    from mpstui.cli.train import compare

    if arguments.example_flags:
        flag = arguments.example_flags[0]
        raise FieldError("devices", f"{flag} names no two devices", "--devices cpu,mps")
    config = config_of(arguments)
    return compare(config, arguments.devices, arguments.format, runs_dir_of(arguments))

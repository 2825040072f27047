"""Flags of ``mpstui sweep``."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from mpstui.cli.arguments import DEVICE_HELP, add_format, add_workload
from mpstui.cli.set_arguments import add_set

if TYPE_CHECKING:
    from . import Subparsers


def add_parser(commands: Subparsers) -> None:
    """Add the command's parser."""
    parser = commands.add_parser("sweep", help="the throughput over batch sizes, device by device")
    parser.add_argument("--devices", required=True, help=f"separated by commas, each {DEVICE_HELP}")
    parser.add_argument(
        "--batch-sizes", default="16..4096", metavar="N,N…|N..N", help="(default: %(default)s)"
    )
    add_workload(parser, default="mnist")
    add_set(parser)
    parser.add_argument(
        "--seconds", type=float, default=0.3, help="timed, for each point (default: %(default)s)"
    )
    parser.add_argument(
        "--plain", action="store_true", help="measure the plain loop only, without a tuned curve"
    )
    add_format(parser)
    parser.set_defaults(command=run)


def run(arguments: argparse.Namespace) -> int:
    """Measure the throughput over batch sizes."""
    from mpstui.cli.sweep import sweep

    return sweep(
        arguments.devices,
        arguments.batch_sizes,
        arguments.workload,
        arguments.seconds,
        arguments.format,
        arguments.sets,
        arguments.plain,
    )

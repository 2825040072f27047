"""Flags of ``mpstui doctor``, also of its question whether a workload runs on MPS."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from mpstui.cli.arguments import add_workload
from mpstui.cli.set_arguments import add_set
from mpstui.domain.catalogue import SIMULATED
from mpstui.domain.errors import FieldError

if TYPE_CHECKING:
    from . import Subparsers


def add_parser(commands: Subparsers) -> None:
    """Add the command's parser."""
    parser = commands.add_parser("doctor", help="what this machine and this torch can do")
    parser.add_argument(
        "--only", action="append", default=[], metavar="ID", help="one finding; may be repeated"
    )
    parser.add_argument(
        "--ops", action="store_true", help="check the ops of each usable device against the CPU"
    )
    parser.add_argument(
        "--simulate",
        default="",
        metavar="FAULT",
        choices=["", *SIMULATED],
        help="with --ops: simulate a known fault, to see that the check finds it. A device spec "
        f"takes the same names after fault=. One of {', '.join(SIMULATED)}",
    )
    parser.add_argument(
        "--format", choices=("text", "json", "markdown"), default="text", help="on stdout"
    )
    parser.add_argument("--json", action="store_const", const="json", dest="format")
    coverage = parser.add_argument_group("whether a workload runs on MPS, answered on any machine")
    coverage.add_argument("--for", dest="target", choices=("mps",), help="the device in question")
    add_workload(coverage, help="with --for: what would run there")
    add_set(coverage)
    coverage.add_argument(
        "--torch", metavar="VERSION", help="with --for: another version's MPS, such as 2.15"
    )
    coverage.add_argument("--verbose", action="store_true", help="with --for: list native ops too")
    parser.set_defaults(command=run)


def run(arguments: argparse.Namespace) -> int:
    """Diagnose this machine, or answer whether a workload runs on MPS."""
    if arguments.target is not None:
        return _run_coverage(arguments)
    for name in ("workload", "sets", "torch", "verbose"):
        if getattr(arguments, name):
            flag = "--set" if name == "sets" else f"--{name}"
            raise FieldError(name, "is for a question about a workload", f"{flag} with --for mps")
    from mpstui.cli.doctor import doctor

    return doctor(arguments.format, arguments.only, arguments.ops, arguments.simulate)


def _run_coverage(arguments: argparse.Namespace) -> int:
    if arguments.only or arguments.ops or arguments.simulate:
        allowed = "--workload, --torch, --verbose, --format"
        raise FieldError("for", "judges a workload, not this machine", allowed)
    from mpstui.cli.coverage import coverage

    return coverage(
        arguments.workload,
        arguments.torch or "",
        arguments.format,
        arguments.verbose,
        arguments.sets,
    )

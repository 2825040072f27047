"""Flags of ``mpstui investigate``."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from mpstui.cli.arguments import (
    DEVICE_HELP,
    ID_HELP,
    add_json,
    add_runs_dir,
    add_settings,
    config_of,
    runs_dir_of,
)
from mpstui.domain.errors import FieldError

if TYPE_CHECKING:
    from . import Subparsers

LEFT_OUT = ("mode", "step_check", "steps", "on_alarm", "save_model", "dry_run")
"""Settings of a run that an investigation doesn't use."""


def add_parser(commands: Subparsers) -> None:
    """Add the command's parser."""
    parser = commands.add_parser(
        "investigate", help="from a diverged run to the op at fault, with a repro and a report"
    )
    parser.add_argument("--device", help=f"{DEVICE_HELP}; with --from: instead of the run's")
    parser.add_argument(
        "--from", dest="run", metavar="RUN", help=f"start from a run's snapshots. {ID_HELP}"
    )
    parser.add_argument(
        "--steps",
        dest="inspected_steps",
        type=int,
        metavar="N",
        help="steps to inspect (default: 20)",
    )
    parser.add_argument("--out", type=Path, metavar="DIR", help="where the files go")
    add_settings(parser, leave_out=LEFT_OUT)
    add_json(parser)
    add_runs_dir(parser)
    parser.set_defaults(command=run)


def run(arguments: argparse.Namespace) -> int:
    """Investigate a run or a device."""
    from mpstui.cli.investigate import investigate

    if arguments.run is not None and arguments.sets:
        raise FieldError("set", "a run keeps its own settings", "--set without --from")
    return investigate(
        config_of(arguments),
        arguments.device,
        arguments.run,
        arguments.inspected_steps,
        arguments.json,
        arguments.out,
        runs_dir_of(arguments),
    )

"""Flags of ``mpstui train``."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from mpstui.cli.arguments import (
    DEVICE_HELP,
    ID_HELP,
    add_json,
    add_runs_dir,
    add_settings,
    config_of,
    runs_dir_of,
    settings_of,
)
from mpstui.cli.example_flags import add_example_flags
from mpstui.cli.set_arguments import changes_of
from mpstui.domain.errors import FieldError

if TYPE_CHECKING:
    from . import Subparsers


def add_parser(commands: Subparsers) -> None:
    """Add the command's parser."""
    parser = commands.add_parser("train", help="train on one device, printing the article's lines")
    parser.add_argument("--device", help=f"{DEVICE_HELP}; default: the best available")
    add_example_flags(parser)
    parser.add_argument(
        "--resume",
        metavar="RUN",
        help="resume a run that ended early, with its own settings; --steps and --epochs may "
        f"make it longer, --workload names a mended file. {ID_HELP.capitalize()}",
    )
    add_settings(parser, leave_out=("mode", "step_check"))
    add_json(parser)
    add_runs_dir(parser)
    parser.set_defaults(command=run)


def run(arguments: argparse.Namespace) -> int:
    """Train, or resume a run."""
    from mpstui.cli.train import resume, train

    runs_dir = runs_dir_of(arguments)
    if arguments.resume is None:
        flags = arguments.example_flags or ()
        return train(config_of(arguments), arguments.device, flags, arguments.json, runs_dir)
    if arguments.example_flags:
        flag = arguments.example_flags[0]
        raise FieldError("resume", f"{flag} with it", "none: a run keeps its device")
    changes = {**settings_of(arguments), **changes_of(arguments.sets)}
    if arguments.device is not None:
        changes["device"] = arguments.device
    return resume(arguments.resume, changes, arguments.json, runs_dir)

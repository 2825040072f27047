"""Flags of ``mpstui run``."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from mpstui.cli.arguments import add_json, add_runs_dir, runs_dir_of

if TYPE_CHECKING:
    from . import Subparsers


def add_parser(commands: Subparsers) -> None:
    """Add the command's parser."""
    parser = commands.add_parser(
        "run",
        help="run a training script as it is, and record its steps",
        usage="mpstui run [OPTION…] SCRIPT [ARGUMENT…]\n"
        "       mpstui run [OPTION…] -m MODULE [ARGUMENT…]",
        description="Runs a training script without a change to it, and records every step of its "
        "optimizers. On a terminal the app shows it live. The exit status is the script's.",
    )
    add_script(parser)
    parser.add_argument(
        "--no-ui", action="store_true", help="print the script's output here, then a summary"
    )
    parser.add_argument(
        "--nproc",
        type=int,
        metavar="N",
        help="start N processes with torchrun, one for each device",
    )
    parser.add_argument(
        "--on-alarm",
        choices=("continue", "pause", "stop"),
        default="continue",
        help="what to do when a loss is not finite (default: %(default)s)",
    )
    add_json(parser)
    add_runs_dir(parser)
    parser.set_defaults(command=run)


def add_script(parser: argparse.ArgumentParser) -> None:
    """Add the script and its arguments; ``protect_script`` puts ``--`` before them."""
    parser.add_argument(
        "-m",
        "--module",
        metavar="MODULE",
        help="run a module, as python -m does; what follows are its arguments",
    )
    parser.add_argument(
        "script", nargs=argparse.REMAINDER, metavar="SCRIPT [ARGUMENT…]", help="a Python file"
    )


def script_of(arguments: argparse.Namespace) -> tuple[str | None, list[str]]:
    """Return the script's file, or None for a module, and its arguments."""
    words = list(arguments.script)
    if words[:1] == ["--"]:
        words = words[1:]
    if arguments.module is not None:
        return None, words
    return (words[0], words[1:]) if words else (None, [])


def run(arguments: argparse.Namespace) -> int:
    """Run a script and record it."""
    from mpstui.cli.run import run_script

    file, words = script_of(arguments)
    return run_script(
        file,
        arguments.module,
        words,
        no_ui=arguments.no_ui,
        json=arguments.json,
        processes=arguments.nproc,
        on_alarm=arguments.on_alarm,
        runs_dir=runs_dir_of(arguments),
    )

"""Flags of ``mpstui check``."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from mpstui.cli.arguments import add_json, add_runs_dir, runs_dir_of
from mpstui.domain.errors import FieldError
from mpstui.runs.script_command import ScriptCommand, script_command

from .run import add_script, script_of

if TYPE_CHECKING:
    from . import Subparsers


def add_parser(commands: Subparsers) -> None:
    """Add the command's parser."""
    parser = commands.add_parser(
        "check",
        help="which op of a training script is wrong on its device",
        usage="mpstui check [OPTION…] SCRIPT [ARGUMENT…]\n"
        "       mpstui check [OPTION…] -m MODULE [ARGUMENT…]",
        description="Runs a training script as it is, on the device that it uses, and repeats "
        "each op of a few steps on the CPU. The script writes its files as always. A wrong op is "
        "named with the script's line and the parameter, tried alone, and made into repro.py and "
        "report.md. The exit status is 0 if nothing is wrong, 1 if an op is, 3 if the check could "
        "not be completed.",
    )
    add_script(parser)
    parser.add_argument(
        "--steps",
        type=int,
        default=3,
        metavar="N",
        help="optimizer steps to check (default: %(default)s)",
    )
    parser.add_argument(
        "--from-step",
        type=int,
        default=0,
        metavar="K",
        help="check after K plain steps (default: %(default)s)",
    )
    parser.add_argument(
        "--simulate",
        metavar="FAULT",
        help="run the script under a simulated fault, to see that the check finds it: a name of "
        "the catalogue, or FILE.py:CLASS",
    )
    parser.add_argument(
        "--for",
        dest="target",
        metavar="mps[:TORCH]",
        help="check nothing, and list the support of the script's ops on MPS instead; TORCH is "
        "another version of torch, such as 2.15",
    )
    add_json(parser)
    add_runs_dir(parser)
    parser.set_defaults(command=run)


def run(arguments: argparse.Namespace) -> int:
    """Check a script, or list the support of its ops on MPS."""
    from mpstui.cli.check import check_script

    file, words = script_of(arguments)
    if arguments.target is not None:
        return _cover(arguments.target, script_command(file, arguments.module, words), arguments)
    return check_script(
        file,
        arguments.module,
        words,
        steps=arguments.steps,
        from_step=arguments.from_step,
        fault=arguments.simulate,
        json=arguments.json,
        runs_dir=runs_dir_of(arguments),
    )


def _cover(target: str, command: ScriptCommand, arguments: argparse.Namespace) -> int:
    from mpstui.cli.coverage import cover_script

    device, _, torch = target.partition(":")
    if device != "mps":
        raise FieldError("for", f"{target!r} has no table of ops", "mps, or mps:2.15")
    if arguments.simulate:
        raise FieldError("simulate", "is for a check, and --for mps runs none", "one of both")
    return cover_script(command, torch, "json" if arguments.json else "text")

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
    settings_of,
)
from mpstui.cli.example_flags import add_example_flags
from mpstui.cli.set_arguments import parse_sets
from mpstui.domain.errors import FieldError

if TYPE_CHECKING:
    from . import Subparsers


def add_parser(commands: Subparsers) -> None:
    """Add the command's parser."""
    parser = commands.add_parser(
        "compare",
        help="the same training, or script, on several devices",
        usage="mpstui compare [OPTION…]\n"
        "       mpstui compare [OPTION…] -- SCRIPT [ARGUMENT…]\n"
        "       mpstui compare [OPTION…] -- -m MODULE [ARGUMENT…]",
    )
    add_example_flags(parser)
    parser.add_argument(
        "--devices",
        help=f"separated by commas, each {DEVICE_HELP}; default: cpu and the best, or with several "
        "values of one --set the best alone",
    )
    add_settings(parser, several="; several values of one name make a run for each")
    add_format(parser)
    add_runs_dir(parser)
    parser.add_argument(
        "--with",
        dest="device_arguments",
        action="append",
        default=[],
        metavar="DEVICE=ARGUMENTS",
        help="arguments of the script on one device, e.g. --with cpu=--no-accel",
    )
    parser.add_argument(
        "script",
        nargs="*",
        metavar="-- SCRIPT [ARGUMENT…]",
        help="compare a script of your own; {device} in its arguments is replaced",
    )
    parser.set_defaults(command=run)


def run(arguments: argparse.Namespace) -> int:
    """Train on several devices and compare them."""
    words = arguments.script[1:] if arguments.script[:1] == ["--"] else arguments.script
    if words:
        return _compare_script(arguments, words)
    if arguments.device_arguments:
        raise FieldError("--with", "there is no script", "--with D=ARGUMENTS … -- SCRIPT")
    from mpstui.cli.train import compare

    if arguments.example_flags:
        flag = arguments.example_flags[0]
        raise FieldError("devices", f"{flag} names no two devices", "--devices cpu,mps")
    sets = parse_sets(arguments.sets)
    several = {name: texts for name, texts in sets.items() if len(texts) > 1}
    arguments.sets = [f"{name}={texts[0]}" for name, texts in sets.items()]
    config = config_of(arguments)  # each run replaces the first of several values
    return compare(config, arguments.devices, arguments.format, runs_dir_of(arguments), several)


SCRIPT_SETTINGS = ("mode", "on_alarm", "seed")
"""Settings that apply to a script; the others are its own."""


def _compare_script(arguments: argparse.Namespace, words: list[str]) -> int:
    from mpstui.cli.compare_script import compare_script

    if arguments.sets:
        raise FieldError("set", "a script has its own settings", "arguments of the script")
    settings = settings_of(arguments)
    other = next((name for name in settings if name not in SCRIPT_SETTINGS), None)
    if other is not None:
        allowed = ", ".join(f"--{name.replace('_', '-')}" for name in SCRIPT_SETTINGS)
        raise FieldError(other, "a script has its own settings", allowed)
    return compare_script(
        words,
        settings,
        arguments.devices,
        arguments.device_arguments,
        arguments.format,
        runs_dir_of(arguments),
    )

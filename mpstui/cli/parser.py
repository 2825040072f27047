"""The command line. Flags for a run's settings come from the one table of fields."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from mpstui import __version__
from mpstui.domain.catalogue import SIMULATED
from mpstui.domain.config import FIELDS, RunConfig, make_config
from mpstui.domain.fields import Choice, Flag
from mpstui.domain.workloads import WORKLOADS

DEVICE_HELP = "TYPE[:INDEX][@OPTION=VALUE]…, e.g. cpu, mps, cuda:1, cpu@threads=1"


def build_parser() -> argparse.ArgumentParser:
    """The parser of all commands; each sets ``command`` to what carries it out."""
    parser = argparse.ArgumentParser(
        prog="mpstui",
        description="Is this machine set up to train on its GPU, how fast is it, and is it right? "
        "Without a command, starts the terminal app.",
    )
    parser.add_argument("--version", action="version", version=f"mpstui {__version__}")
    _runs_dir(parser)
    parser.set_defaults(command=_app)
    commands = parser.add_subparsers(metavar="COMMAND")

    doctor = commands.add_parser("doctor", help="what this machine and this torch can do")
    doctor.add_argument(
        "--only", action="append", default=[], metavar="ID", help="one finding; may be repeated"
    )
    doctor.add_argument(
        "--ops", action="store_true", help="check the ops of each usable device against the CPU"
    )
    doctor.add_argument(
        "--simulate",
        default="",
        metavar="FAULT",
        choices=["", *SIMULATED],
        help="with --ops: simulate a known fault, to see that the check finds it",
    )
    doctor.add_argument(
        "--format", choices=("text", "json", "markdown"), default="text", help="on stdout"
    )
    doctor.add_argument("--json", action="store_const", const="json", dest="format")
    doctor.set_defaults(command=_doctor)

    train = commands.add_parser("train", help="train on one device, printing the article's lines")
    train.add_argument("--device", help=f"{DEVICE_HELP}; default: the best there is")
    _settings(train, leave_out=("mode",))
    train.add_argument("--json", action="store_true", help="one JSON document on stdout")
    _runs_dir(train)
    train.set_defaults(command=_train)

    compare = commands.add_parser("compare", help="the same training on several devices")
    compare.add_argument(
        "--devices", help=f"separated by commas, each {DEVICE_HELP}; default: cpu and the best"
    )
    _settings(compare, leave_out=())
    compare.add_argument(
        "--format", choices=("table", "markdown", "csv", "json"), default="table", help="on stdout"
    )
    compare.add_argument("--json", action="store_const", const="json", dest="format")
    _runs_dir(compare)
    compare.set_defaults(command=_compare)

    runs = commands.add_parser("runs", help="list the runs, or show one")
    runs.add_argument("--json", action="store_true", help="one JSON document on stdout")
    _runs_dir(runs)
    runs.set_defaults(command=_list, id=None)
    actions = runs.add_subparsers(metavar="ACTION")
    show = actions.add_parser("show", help="one run's settings, numbers and end")
    show.add_argument("id", help="a run's id, or a part that only it has")
    show.add_argument(  # SUPPRESS: `runs --json show` said it before
        "--json",
        action="store_true",
        default=argparse.SUPPRESS,
        help="one JSON document on stdout",
    )
    _runs_dir(show)
    show.set_defaults(command=_show)
    return parser


def config_of(arguments: argparse.Namespace) -> RunConfig:
    """The config that the flags ask for; what was left out is the workload's default.

    Raises:
        FieldError: Naming the field and what is allowed.
    """
    values = {
        field.name: field.parse(given) if isinstance(given, str) else given
        for field in FIELDS
        if (given := getattr(arguments, field.name, None)) is not None
    }
    return make_config(values)


def _settings(parser: argparse.ArgumentParser, leave_out: tuple[str, ...]) -> None:
    group = parser.add_argument_group("settings, by default those of the article's script")
    for field in FIELDS:
        if field.name in leave_out:
            continue
        flag = f"--{field.name.replace('_', '-')}"
        if isinstance(field, Flag):
            group.add_argument(
                flag, dest=field.name, action="store_const", const=True, help=field.help
            )
            continue
        # Values are checked by the field itself, so that every way in gives the same message.
        metavar = "|".join(field.choices) if isinstance(field, Choice) else "N"
        metavar = "DIR" if field.name == "data_dir" else metavar
        group.add_argument(
            flag, dest=field.name, metavar=metavar, help=_help(field.name, field.help)
        )


def _help(name: str, text: str) -> str:
    defaults = {key: getattr(info, name, None) for key, info in WORKLOADS.items()}
    if None in defaults.values():
        return text
    shown = ", ".join(f"{key} {value:g}" for key, value in defaults.items() if _is_number(value))
    return f"{text} (default: {shown})" if shown else text


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _runs_dir(parser: argparse.ArgumentParser) -> None:
    # SUPPRESS: a subcommand's silence must not undo what was said before it.
    parser.add_argument(
        "--runs-dir",
        type=Path,
        default=argparse.SUPPRESS,
        metavar="DIR",
        help="where runs are kept",
    )


# Each command imports what it needs when it is called: `--help` and the first frame are quick.


def _app(arguments: argparse.Namespace) -> int:
    from mpstui.ui.app import run_app

    return run_app(getattr(arguments, "runs_dir", None))


def _doctor(arguments: argparse.Namespace) -> int:
    from .doctor import doctor

    return doctor(arguments.format, arguments.only, arguments.ops, arguments.simulate)


def _train(arguments: argparse.Namespace) -> int:
    from .train import train

    runs_dir = getattr(arguments, "runs_dir", None)
    return train(config_of(arguments), arguments.device, arguments.json, runs_dir)


def _compare(arguments: argparse.Namespace) -> int:
    from .train import compare

    runs_dir = getattr(arguments, "runs_dir", None)
    return compare(config_of(arguments), arguments.devices, arguments.format, runs_dir)


def _list(arguments: argparse.Namespace) -> int:
    from .runs import list_runs

    return list_runs(arguments.json, getattr(arguments, "runs_dir", None))


def _show(arguments: argparse.Namespace) -> int:
    from .runs import show_run

    return show_run(arguments.id, arguments.json, getattr(arguments, "runs_dir", None))

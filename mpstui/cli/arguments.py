"""Flags that several commands share. A run's settings come from the one table of fields."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from mpstui.domain.config import BY_NAME, FIELDS, RunConfig, make_config
from mpstui.domain.fields import Choice, Field, Flag, WorkloadChoice
from mpstui.domain.workloads import WORKLOADS
from mpstui.runs.own_settings import own_settings
from mpstui.runs.workload_path import absolute_workload

from .set_arguments import add_set, apply_sets, parse_sets

DEVICE_HELP = (
    "TYPE[:INDEX][@OPTION=VALUE]…, e.g. cpu, mps, cuda:1, cpu@threads=1, cpu@fault=NAME "
    "(names: mpstui doctor --help)"
)
ID_HELP = "a run's id, or a unique part of it"
IDS_HELP = f"{ID_HELP}; or a comparison's id"


def add_settings(
    parser: argparse.ArgumentParser, leave_out: tuple[str, ...] = (), several: str = ""
) -> None:
    """Add a flag for each setting of a run, and ``--set``.

    Args:
        parser: The command's parser.
        leave_out: Fields without a flag.
        several: What several values of one name do with ``--set``; empty where they are refused.
    """
    group = parser.add_argument_group("settings, by default those of the article's script")
    add_set(group, several)
    for field in FIELDS:
        if field.name in leave_out:
            continue
        flag = f"--{field.name.replace('_', '-')}"
        if isinstance(field, Flag):
            group.add_argument(
                flag, dest=field.name, action="store_const", const=True, help=field.help
            )
            continue
        # The field checks its value, so that the form and the file give the same message.
        group.add_argument(
            flag, dest=field.name, metavar=metavar(field), help=_help(field.name, field.help)
        )


def settings_of(arguments: argparse.Namespace) -> dict[str, Any]:
    """Parse the settings on the command line; return them by field name.

    Raises:
        FieldError: The message has the field and its allowed values.
    """
    values = {field.name: getattr(arguments, field.name, None) for field in FIELDS}
    if isinstance(values["workload"], str):
        values["workload"] = absolute_workload(values["workload"].strip())
    return {
        field.name: field.parse(value) if isinstance(value, str) else value
        for field in FIELDS
        if (value := values[field.name]) is not None
    }


def config_of(arguments: argparse.Namespace) -> RunConfig:
    """Return the config of a command line; missing settings get the workload's defaults.

    Raises:
        FieldError: The message has the field and its allowed values.
    """
    flags = settings_of(arguments)
    own = own_settings(flags.get("workload", ""))
    return make_config(apply_sets(parse_sets(arguments.sets), flags, own), own)


def add_workload(
    parser: argparse.ArgumentParser | argparse._ArgumentGroup,
    default: Any = None,
    help: str | None = None,
) -> None:
    """Add ``--workload`` to a command that takes no other setting."""
    parser.add_argument(
        "--workload", metavar=metavar(BY_NAME["workload"]), default=default, help=help
    )


def metavar(field: Field) -> str:
    """Return the placeholder of a field's value, for ``--help``."""
    if isinstance(field, Choice):
        custom = ("FILE.py:CLASS",) if isinstance(field, WorkloadChoice) else ()
        return "|".join((*field.choices, *custom))
    return "DIR" if field.name == "data_dir" else "N"


def add_json(parser: argparse.ArgumentParser, default: Any = False) -> None:
    """Add ``--json`` to a command whose other output is plain lines."""
    parser.add_argument(
        "--json", action="store_true", default=default, help="one JSON document on stdout"
    )


def add_format(parser: argparse.ArgumentParser) -> None:
    """Add ``--format`` and its short form ``--json`` to a command that prints a table."""
    parser.add_argument(
        "--format", choices=("table", "markdown", "csv", "json"), default="table", help="on stdout"
    )
    parser.add_argument("--json", action="store_const", const="json", dest="format")


def add_runs_dir(parser: argparse.ArgumentParser) -> None:
    """Add ``--runs-dir``, which may come before or after the command."""
    # SUPPRESS: a subcommand's default must not replace a value from before it.
    parser.add_argument(
        "--runs-dir",
        type=Path,
        default=argparse.SUPPRESS,
        metavar="DIR",
        help="the folder of runs",
    )


def runs_dir_of(arguments: argparse.Namespace) -> Path | None:
    """Return the folder of runs on the command line; None for the default one."""
    folder: Path | None = getattr(arguments, "runs_dir", None)
    return folder


def _help(name: str, text: str) -> str:
    defaults = {key: getattr(info, name, None) for key, info in WORKLOADS.items()}
    if None in defaults.values():
        return text
    listing = ", ".join(f"{key} {value:g}" for key, value in defaults.items() if _is_number(value))
    return f"{text} (default: {listing})" if listing else text


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)

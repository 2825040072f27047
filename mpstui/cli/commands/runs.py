"""Flags of ``mpstui runs`` and its actions; without an action it lists runs."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mpstui.cli.arguments import (
    ID_HELP,
    IDS_HELP,
    add_format,
    add_json,
    add_runs_dir,
    add_workload,
    runs_dir_of,
)

if TYPE_CHECKING:
    from . import Subparsers


REQUESTS = {
    "pause": "pause runs after their step",
    "unpause": "let paused runs go on",
    "stop": "stop runs after their step, with a snapshot and a summary",
    "kill": "end runs' processes now, if they obey or not",
}


def add_parser(commands: Subparsers) -> None:
    """Add the command's parser, with one for each action."""
    parser = commands.add_parser("runs", help="list, show, compare, export, note or delete runs")
    _add_filters(parser, suppress=False)
    add_runs_dir(parser)
    parser.set_defaults(command=run_list)
    actions = parser.add_subparsers(metavar="ACTION")

    def add_action(
        name: str, run: Callable[[argparse.Namespace], int], help: str
    ) -> argparse.ArgumentParser:
        action: argparse.ArgumentParser = actions.add_parser(name, help=help)
        add_runs_dir(action)
        action.set_defaults(command=run)
        return action

    # SUPPRESS: the flags of `runs --json list` come before the action.
    _add_filters(add_action("list", run_list, "all of them, or some"), suppress=True)

    show = add_action("show", run_show, "one run's settings, numbers, note and end")
    show.add_argument("id", help=ID_HELP)
    add_json(show, argparse.SUPPRESS)

    compare = add_action("compare", run_compare, "the results of several runs side by side")
    compare.add_argument("ids", nargs="+", metavar="ID", help=IDS_HELP)
    compare.add_argument(
        "--baseline", metavar="ID", help="what speed-ups are relative to; default: the first"
    )
    add_format(compare)

    export = add_action("export", run_export, "runs as files, with every step's loss")
    export.add_argument("ids", nargs="+", metavar="ID", help=IDS_HELP)
    export.add_argument(
        "--format",
        choices=("markdown", "csv", "json", "html", "tensorboard"),
        default="markdown",
        help="(default: %(default)s)",
    )
    export.add_argument(
        "--out",
        type=Path,
        metavar="PATH",
        help="the file, or a folder; default: stdout. tensorboard: the folder",
    )
    export.add_argument("--force", action="store_true", help="replace existing files")

    note = add_action("note", run_note, "print a run's note, or write it")
    note.add_argument("id", help=ID_HELP)
    note.add_argument("text", nargs="?", help="the note; '' removes it")

    for name, help in REQUESTS.items():
        add_action(name, partial(run_request, request=name), help).add_argument(
            "ids", nargs="+", metavar="ID", help=IDS_HELP
        )

    delete = add_action("delete", run_delete, "move runs to the trash")
    delete.add_argument("ids", nargs="+", metavar="ID", help=IDS_HELP)
    delete.add_argument(
        "--force", action="store_true", help="also a run of another machine, whose end is not seen"
    )

    restore = add_action("restore", run_restore, "undo a deletion; without an id, list the trash")
    restore.add_argument("ids", nargs="*", metavar="ID", help=IDS_HELP)


def _add_filters(parser: argparse.ArgumentParser, suppress: bool) -> None:
    """Add the flags of a list of runs. A suppressed default leaves an earlier value alone."""

    def default(value: Any) -> Any:
        return argparse.SUPPRESS if suppress else value

    add_workload(parser, default=default(None))
    parser.add_argument(
        "--state",
        "--status",  # its name in earlier versions
        metavar="S",
        default=default(None),
        help="finished, stopped, failed, crashed, killed, training, …; also running, unreadable",
    )
    parser.add_argument(
        "--alarm",
        action="store_true",
        default=default(False),
        help="only runs that went wrong: diverged, not finite, or unlike the CPU",
    )
    parser.add_argument(
        "--device",
        metavar="TEXT",
        default=default(None),
        help="a part of the spec or the device's name",
    )
    parser.add_argument(
        "--sort",
        choices=("started", "epoch", "loss", "accuracy", "device"),
        default=default("started"),
        help="the newest, fastest, lowest test loss, best or first in the alphabet on top "
        "(default: started)",
    )
    add_json(parser, default(False))


def run_list(arguments: argparse.Namespace) -> int:
    """List runs."""
    from mpstui.cli.runs import list_runs

    return list_runs(
        arguments.json,
        runs_dir_of(arguments),
        workload=arguments.workload,
        state=arguments.state,
        alarm=arguments.alarm,
        device=arguments.device,
        sort=arguments.sort,
    )


def run_show(arguments: argparse.Namespace) -> int:
    """Show one run."""
    from mpstui.cli.runs import show_run

    return show_run(arguments.id, arguments.json, runs_dir_of(arguments))


def run_compare(arguments: argparse.Namespace) -> int:
    """Compare the results of runs."""
    from mpstui.cli.runs import compare_runs

    format = "json" if arguments.json else arguments.format  # `runs --json compare` is valid too
    return compare_runs(arguments.ids, arguments.baseline, format, runs_dir_of(arguments))


def run_export(arguments: argparse.Namespace) -> int:
    """Export runs."""
    from mpstui.cli.runs import export_runs

    runs_dir = runs_dir_of(arguments)
    return export_runs(arguments.ids, arguments.format, arguments.out, arguments.force, runs_dir)


def run_note(arguments: argparse.Namespace) -> int:
    """Print or write a run's note."""
    from mpstui.cli.runs import note_run

    return note_run(arguments.id, arguments.text, runs_dir_of(arguments))


def run_request(arguments: argparse.Namespace, request: str) -> int:
    """Send a request to runs."""
    from mpstui.cli.run_requests import send_requests

    wish: Any = "run" if request == "unpause" else request
    return send_requests(arguments.ids, wish, runs_dir_of(arguments))


def run_delete(arguments: argparse.Namespace) -> int:
    """Move runs to the trash."""
    from mpstui.cli.runs import delete_runs

    return delete_runs(arguments.ids, runs_dir_of(arguments), arguments.force)


def run_restore(arguments: argparse.Namespace) -> int:
    """Move runs back from the trash."""
    from mpstui.cli.runs import restore_runs

    return restore_runs(arguments.ids, runs_dir_of(arguments))

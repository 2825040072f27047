"""The command line. Flags for a run's settings come from the one table of fields."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import Any

from mpstui import __version__
from mpstui.domain.catalogue import SIMULATED
from mpstui.domain.config import BY_NAME, FIELDS, RunConfig, make_config
from mpstui.domain.errors import FieldError
from mpstui.domain.fields import Choice, ChoiceOrClass, Field, Flag
from mpstui.domain.workloads import WORKLOADS

from .example_flags import add_example_flags

DEVICE_HELP = (
    "TYPE[:INDEX][@OPTION=VALUE]…, e.g. cpu, mps, cuda:1, cpu@threads=1, cpu@fault=NAME "
    "(names: mpstui doctor --help)"
)
ID_HELP = "a run's id, or a part that only it has"
IDS_HELP = f"{ID_HELP}; or a comparison's id"


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
        help="with --ops: simulate a known fault, to see that the check finds it; in a device spec "
        f"the same names stand behind fault=. One of {', '.join(SIMULATED)}",
    )
    doctor.add_argument(
        "--format", choices=("text", "json", "markdown"), default="text", help="on stdout"
    )
    doctor.add_argument("--json", action="store_const", const="json", dest="format")
    coverage = doctor.add_argument_group("whether a workload runs on MPS, answered on any machine")
    coverage.add_argument(
        "--for", dest="target", choices=("mps",), help="the device that is asked about"
    )
    coverage.add_argument(
        "--workload", metavar=_metavar(BY_NAME["workload"]), help="with --for: what would run there"
    )
    coverage.add_argument(
        "--torch", metavar="VERSION", help="with --for: another version's MPS, such as 2.15"
    )
    coverage.add_argument("--verbose", action="store_true", help="with --for: list native ops too")
    doctor.set_defaults(command=_doctor)

    demo = commands.add_parser(
        "demo", help="a diverging run and the op behind it, simulated; about a minute"
    )
    demo.add_argument("--no-ui", action="store_true", help="plain lines in place of the app")
    _runs_dir(demo)
    demo.set_defaults(command=_demo)

    train = commands.add_parser("train", help="train on one device, printing the article's lines")
    train.add_argument("--device", help=f"{DEVICE_HELP}; default: the best there is")
    add_example_flags(train)
    train.add_argument(
        "--resume",
        metavar="RUN",
        help="go on with a run that ended early, with its own settings; --steps and --epochs may "
        f"make it longer. {ID_HELP.capitalize()}",
    )
    _settings(train, leave_out=("mode", "step_check"))
    train.add_argument("--json", action="store_true", help="one JSON document on stdout")
    _runs_dir(train)
    train.set_defaults(command=_train)

    compare = commands.add_parser("compare", help="the same training on several devices")
    add_example_flags(compare)
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

    _runs(commands.add_parser("runs", help="list, show, compare, export, note or delete runs"))

    watch = commands.add_parser("watch", help="follow a run started anywhere; Ctrl-C leaves it be")
    watch.add_argument(
        "id",
        nargs="?",
        metavar="RUN",
        help="a run's folder, its id or a part of it, or a comparison's id; default: the newest",
    )
    watch.add_argument(
        "--only", action="store_true", help="this run alone, without the rest of its comparison"
    )
    _runs_dir(watch)
    watch.set_defaults(command=_watch)

    investigate = commands.add_parser(
        "investigate", help="from a diverged run to the op at fault, with a repro and a report"
    )
    investigate.add_argument("--device", help=f"{DEVICE_HELP}; with --from: instead of the run's")
    investigate.add_argument(
        "--from", dest="run", metavar="RUN", help=f"begin behind a run's snapshots. {ID_HELP}"
    )
    investigate.add_argument(
        "--steps", dest="look", type=int, metavar="N", help="steps looked at (default: 20)"
    )
    investigate.add_argument("--out", type=Path, metavar="DIR", help="where the files go")
    alone = ("mode", "step_check", "steps", "on_alarm", "save_model", "dry_run")
    _settings(investigate, leave_out=alone)
    investigate.add_argument("--json", action="store_true", help="one JSON document on stdout")
    _runs_dir(investigate)
    investigate.set_defaults(command=_investigate)

    sweep = commands.add_parser("sweep", help="the throughput over batch sizes, device by device")
    sweep.add_argument("--devices", required=True, help=f"separated by commas, each {DEVICE_HELP}")
    sweep.add_argument(
        "--batch-sizes", default="16..4096", metavar="N,N…|N..N", help="(default: %(default)s)"
    )
    sweep.add_argument("--workload", metavar=_metavar(BY_NAME["workload"]), default="mnist")
    sweep.add_argument(
        "--seconds", type=float, default=1.0, help="timed, for each point (default: %(default)s)"
    )
    _format(sweep)
    sweep.set_defaults(command=_sweep)
    return parser


def _runs(runs: argparse.ArgumentParser) -> None:
    """The actions on runs that are kept; none lists them."""
    _listing(runs, suppress=False)
    _runs_dir(runs)
    runs.set_defaults(command=_list)
    actions = runs.add_subparsers(metavar="ACTION")

    def action(
        name: str, does: Callable[[argparse.Namespace], int], help: str
    ) -> argparse.ArgumentParser:
        added: argparse.ArgumentParser = actions.add_parser(name, help=help)
        _runs_dir(added)
        added.set_defaults(command=does)
        return added

    # SUPPRESS: `runs --json list` said it before.
    _listing(action("list", _list, "all of them, or some"), suppress=True)

    show = action("show", _show, "one run's settings, numbers, note and end")
    show.add_argument("id", help=ID_HELP)
    _json(show, argparse.SUPPRESS)

    compare = action("compare", _compare_runs, "the results of several runs side by side")
    compare.add_argument("ids", nargs="+", metavar="ID", help=IDS_HELP)
    compare.add_argument(
        "--baseline", metavar="ID", help="what speed-ups are against; default: the first"
    )
    _format(compare)

    export = action("export", _export, "runs as files, with every step's loss")
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
    export.add_argument("--force", action="store_true", help="replace files that are there")

    note = action("note", _note, "print a run's note, or write it")
    note.add_argument("id", help=ID_HELP)
    note.add_argument("text", nargs="?", help="the note; '' removes it")

    delete = action("delete", _delete, "move runs to the trash")
    delete.add_argument("ids", nargs="+", metavar="ID", help=IDS_HELP)

    restore = action("restore", _restore, "undo a deletion; without an id, list what is deleted")
    restore.add_argument("ids", nargs="*", metavar="ID", help=IDS_HELP)


def config_of(arguments: argparse.Namespace) -> RunConfig:
    """The config that the flags ask for; what was left out is the workload's default.

    Raises:
        FieldError: Naming the field and what is allowed.
    """
    return make_config(_given(arguments))


def _given(arguments: argparse.Namespace) -> dict[str, Any]:
    return {
        field.name: field.parse(given) if isinstance(given, str) else given
        for field in FIELDS
        if (given := getattr(arguments, field.name, None)) is not None
    }


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
        group.add_argument(
            flag, dest=field.name, metavar=_metavar(field), help=_help(field.name, field.help)
        )


def _metavar(field: Field) -> str:
    if isinstance(field, Choice):
        own = ("FILE.py:CLASS",) if isinstance(field, ChoiceOrClass) else ()
        return "|".join((*field.choices, *own))
    return "DIR" if field.name == "data_dir" else "N"


def _help(name: str, text: str) -> str:
    defaults = {key: getattr(info, name, None) for key, info in WORKLOADS.items()}
    if None in defaults.values():
        return text
    shown = ", ".join(f"{key} {value:g}" for key, value in defaults.items() if _is_number(value))
    return f"{text} (default: {shown})" if shown else text


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _listing(parser: argparse.ArgumentParser, suppress: bool) -> None:
    """Flags of a list of runs. Suppressed defaults leave alone what was given before."""

    def default(value: Any) -> Any:
        return argparse.SUPPRESS if suppress else value

    parser.add_argument("--workload", metavar=_metavar(BY_NAME["workload"]), default=default(None))
    parser.add_argument(
        "--state",
        "--status",  # what earlier versions called it
        metavar="S",
        default=default(None),
        help="finished, stopped, failed, crashed, killed, training, …; also running",
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
        help="the newest, quickest, least test loss, best or first in the alphabet on top "
        "(default: started)",
    )
    _json(parser, default(False))


def _json(parser: argparse.ArgumentParser, default: Any) -> None:
    parser.add_argument(
        "--json", action="store_true", default=default, help="one JSON document on stdout"
    )


def _format(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--format", choices=("table", "markdown", "csv", "json"), default="table", help="on stdout"
    )
    parser.add_argument("--json", action="store_const", const="json", dest="format")


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
    if arguments.target is not None:
        from .coverage import coverage

        if arguments.only or arguments.ops or arguments.simulate:
            allowed = "--workload, --torch, --verbose, --format"
            raise FieldError("for", "judges a workload, not this machine", allowed)
        return coverage(
            arguments.workload, arguments.torch or "", arguments.format, arguments.verbose
        )
    for name in ("workload", "torch", "verbose"):
        if getattr(arguments, name):
            raise FieldError(name, "is for a question about a workload", f"--{name} with --for mps")
    from .doctor import doctor

    return doctor(arguments.format, arguments.only, arguments.ops, arguments.simulate)


def _demo(arguments: argparse.Namespace) -> int:
    from .demo import demo

    return demo(arguments.no_ui, getattr(arguments, "runs_dir", None))


def _train(arguments: argparse.Namespace) -> int:
    from .train import resume, train

    runs_dir = getattr(arguments, "runs_dir", None)
    if arguments.resume is not None:
        if arguments.example_flags:
            flag = arguments.example_flags[0]
            raise FieldError("resume", f"{flag} beside it", "none: a run keeps its device")
        device = {} if arguments.device is None else {"device": arguments.device}
        changes = {**_given(arguments), **device}
        return resume(arguments.resume, changes, arguments.json, runs_dir)
    flags = arguments.example_flags or ()
    return train(config_of(arguments), arguments.device, flags, arguments.json, runs_dir)


def _compare(arguments: argparse.Namespace) -> int:
    from .train import compare

    runs_dir = getattr(arguments, "runs_dir", None)
    if arguments.example_flags:
        flag = arguments.example_flags[0]
        raise FieldError("devices", f"{flag} names no two devices", "--devices cpu,mps")
    return compare(config_of(arguments), arguments.devices, arguments.format, runs_dir)


def _list(arguments: argparse.Namespace) -> int:
    from .runs import list_runs

    return list_runs(
        arguments.json,
        getattr(arguments, "runs_dir", None),
        workload=arguments.workload,
        state=arguments.state,
        alarm=arguments.alarm,
        device=arguments.device,
        sort=arguments.sort,
    )


def _show(arguments: argparse.Namespace) -> int:
    from .runs import show_run

    return show_run(arguments.id, arguments.json, getattr(arguments, "runs_dir", None))


def _compare_runs(arguments: argparse.Namespace) -> int:
    from .runs import compare_runs

    runs_dir = getattr(arguments, "runs_dir", None)
    format = "json" if arguments.json else arguments.format  # `runs --json compare` says it too
    return compare_runs(arguments.ids, arguments.baseline, format, runs_dir)


def _export(arguments: argparse.Namespace) -> int:
    from .runs import export_runs

    runs_dir = getattr(arguments, "runs_dir", None)
    return export_runs(arguments.ids, arguments.format, arguments.out, arguments.force, runs_dir)


def _note(arguments: argparse.Namespace) -> int:
    from .runs import note_run

    return note_run(arguments.id, arguments.text, getattr(arguments, "runs_dir", None))


def _delete(arguments: argparse.Namespace) -> int:
    from .runs import delete_runs

    return delete_runs(arguments.ids, getattr(arguments, "runs_dir", None))


def _restore(arguments: argparse.Namespace) -> int:
    from .runs import restore_runs

    return restore_runs(arguments.ids, getattr(arguments, "runs_dir", None))


def _watch(arguments: argparse.Namespace) -> int:
    from .watch import watch

    return watch(arguments.id, arguments.only, getattr(arguments, "runs_dir", None))


def _investigate(arguments: argparse.Namespace) -> int:
    from .investigate import investigate

    return investigate(
        config_of(arguments),
        arguments.device,
        arguments.run,
        arguments.look,
        arguments.json,
        arguments.out,
        getattr(arguments, "runs_dir", None),
    )


def _sweep(arguments: argparse.Namespace) -> int:
    from .sweep import sweep

    return sweep(
        arguments.devices,
        arguments.batch_sizes,
        arguments.workload,
        arguments.seconds,
        arguments.format,
    )

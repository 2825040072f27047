"""Damaged and strangers' run folders: every command that reads runs, and the app's readers."""

from __future__ import annotations

import contextlib
import io
import os
import random
import shutil
from collections.abc import Callable, Iterator
from datetime import datetime
from functools import cache
from pathlib import Path
from typing import Any
from unittest import mock

from mpstui.__main__ import main
from mpstui.cli.parser import build_parser
from mpstui.domain.config import make_config, recorded_config
from mpstui.domain.devices import parse_devices
from mpstui.domain.errors import MpstuiError
from mpstui.domain.events import AnyEvent, PreparationAdvanced, RunFinished, SampleSaved, encode
from mpstui.investigate.client import request_for_run
from mpstui.runs import trash
from mpstui.runs.export import EXPORT_FORMATS
from mpstui.runs.notes import write_note
from mpstui.runs.output import OutputReader
from mpstui.runs.resume import resume_run
from mpstui.runs.rundir import Exit, RunDir
from mpstui.runs.script_command import ScriptCommand
from mpstui.runs.settings import settings_text
from mpstui.runs.store import RunStore
from mpstui.runs.view import RunView
from mpstui.telemetry.machine import read_machine
from mpstui.ui.model.history import HistoryReader
from mpstui.ui.model.inquiry import Inquiry

from .guard import failure_of
from .mutate import damage_file, remove

RECORDED = Path(__file__).parents[1] / "recorded" / "runs"
SECRET = "the content of a file outside of the folder"
ID = "20260101-000000-vae-aaaa-cpu"
NAMES = ("..x", "a\nb", "[b]", "x" * 200, "-rf", "é", " ", "\x1b[31m", ID)
DAMAGED = ("config.toml", "events.jsonl", "summary.json", "exit.json", "machine.json")


def fuzz_folders(count: int, seed: int, scratch: Path) -> list[str]:
    """Damage run folders and read them; return the failures.

    Args:
        count: Number of damaged folders.
        seed: Of the random choices.
        scratch: An empty folder to work in.
    """
    os.environ["MPSTUI_HOME"] = str(scratch / "home")
    template = _template(scratch / "template")
    secret = scratch / "outer" / "secret.txt"
    failures: list[str] = []
    for number in range(count):
        rng = random.Random(f"{seed} folders {number}")
        world = scratch / "outer" / "world"
        shutil.copytree(template, world / "runs", symlinks=True)
        secret.write_text(SECRET)
        damage = _damage(world / "runs", rng, secret)
        failures += [f"{number}: {damage}: {text}" for text in _read(world, rng)]
        if (names := sorted(os.listdir(scratch / "outer"))) != ["secret.txt", "world"]:
            failures.append(f"{number}: {damage}: writes outside of its folder: {names}")
        remove(scratch / "outer")
    return failures


def _template(root: Path) -> Path:
    """Make a folder of runs: recorded ones, and new ones with every kind of file."""
    shutil.copytree(RECORDED, root)
    store, machine, now = RunStore(root), read_machine(), datetime(2026, 11, 28)
    both = parse_devices("cpu,cpu@threads=1")
    with mock.patch("secrets.token_hex", side_effect=["aaaa", "bbbb"]):  # the same ids each time
        runs = store.create(make_config({"workload": "vae", "epochs": 1}), both, machine, now)
        recorded = recorded_config("script:/work/train.py")
        runs.append(store.create_recorded(recorded, 0, machine, now))
    runs[-1].write_script(ScriptCommand(ref="script:/work/train.py", folder="/work"))
    events: tuple[AnyEvent, ...] = (
        PreparationAdvanced(at=1.0, stage="importing torch"),
        SampleSaved(at=2.0, epoch=1, kind="sample", path="samples/epoch-001-sample.png"),
        RunFinished(at=3.0, step=1),
    )
    for run in runs:
        run.events.write_bytes(b"".join(encode(event) for event in events))
        run.worker_log.write_text("a line\n" * 9)
        run.write_exit(Exit(code=0))
        write_note(run, "a note\n\nof two lines")
    return root


def _damage(root: Path, rng: random.Random, secret: Path) -> str:
    """Damage one of the runs; return what was done."""
    runs = sorted(root.iterdir())
    run = rng.choice(runs)
    done = [run.name]
    for _ in range(rng.choice((1, 1, 2, 4))):
        if run.is_symlink() or not run.is_dir():
            break
        files = sorted(path for path in run.rglob("*") if not path.is_symlink())
        names = [run / name for name in (*DAMAGED, "note.md", "control.json", "supervisor.json")]
        path = rng.choice(rng.choice((files or names, names)))
        if path.parent.is_dir():
            done.append(f"{path.relative_to(run)}: {damage_file(path, rng, secret)}")
    roll = rng.random()
    if roll < 0.05:
        done.append(f"the folder: {damage_file(run, rng, secret)}")
    elif roll < 0.15 and os.path.lexists(run):
        name = rng.choice(NAMES)
        os.rename(run, root / name)
        done.append(f"renamed to {name!r}")
    return ", ".join(done)


def _read(world: Path, rng: random.Random) -> Iterator[str]:
    """Read the runs in every way; yield what goes wrong."""
    store, out = RunStore(world / "runs"), world / "out"
    ids = sorted(name for name in os.listdir(store.root) if not name.startswith("."))
    rng.shuffle(ids)
    (some, other), shown = ids[:2], io.StringIO()
    format, flags = rng.choice(EXPORT_FORMATS), ["--runs-dir", str(store.root)]
    lines = (
        ["runs", *flags],
        ["runs", "--json", *flags, "--sort", rng.choice(("epoch", "loss", "device"))],
        *(["runs", "show", f"{id}", *flags] for id in ids[:3]),
        ["runs", "show", some, "--json", *flags],
        ["runs", "compare", some, other, *flags, "--format", rng.choice(("table", "json", "csv"))],
        ["runs", "export", some, other, *flags, "--format", format, "--out", str(out), "--force"],
        ["runs", "note", some, *flags],
        ["watch", some, *flags],
    )
    for line in lines:
        out.mkdir(exist_ok=True)
        if problem := failure_of(lambda line=line: command(line, shown)):  # type: ignore[misc]
            yield f"{line[:3]}: {problem}"
    for name, action in _readings(store, some, rng):
        if problem := failure_of(action):
            yield f"{name}: {problem}"
    if SECRET in shown.getvalue() or any(SECRET in text for text in _texts(out)):
        yield "shows or exports a file outside of the folder"
    if extra := set(os.listdir(world)) - {"runs", "out"}:
        yield f"writes {sorted(extra)}"


def _readings(
    store: RunStore, id: str, rng: random.Random
) -> Iterator[tuple[str, Callable[[], Any]]]:
    run = RunDir(store.root / id)
    yield "HistoryReader", lambda: list(HistoryReader(store).read(store.all(), {}))
    yield "RunView", lambda: settings_text(_followed(run))
    yield "OutputReader", lambda: OutputReader(run.worker_log).read()
    yield "Inquiry", lambda: Inquiry.load_newest(run)
    yield "newest group", store.newest_group
    yield "investigate", lambda: request_for_run(run)
    now, machine = datetime(2026, 12, 1), read_machine()
    yield "resume", lambda: resume_run(store, run, {"epochs": 99}, machine, now)
    if rng.random() < 0.3:
        yield "delete", lambda: trash.delete(store, [id])
        yield "restore", lambda: trash.restore(store, [id])


def _followed(run: RunDir) -> RunView:
    view = RunView(run)
    view.catch_up()
    view.summary()
    return view


def command(line: list[str], shown: io.StringIO) -> None:
    """Run a command line in this process.

    Raises:
        AssertionError: If its exit code is none of 0, 1 and 2.
    """
    to_shown = contextlib.redirect_stdout(shown), contextlib.redirect_stderr(shown)
    with to_shown[0], to_shown[1], mock.patch("mpstui.cli.parser.build_parser", _parser):
        try:
            code: Any = main(line)
        except SystemExit as end:
            code = end.code
    assert code in (0, 1, 2), f"exit code {code}"
    assert "Traceback (most recent call last)" not in shown.getvalue()


_parser = cache(build_parser)
"""Building it takes longer than most commands."""


def _texts(folder: Path) -> Iterator[str]:
    for path in folder.rglob("*"):
        if path.is_file():
            with contextlib.suppress(OSError, MpstuiError):
                yield path.read_text(errors="replace")

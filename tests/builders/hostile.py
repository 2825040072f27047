"""Run folders whose texts are hostile: markup that cannot be parsed, and escape sequences."""

from __future__ import annotations

import json
import os
import re
import shutil
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar

import msgspec
import tomli_w

from mpstui.domain.errors import MpstuiError
from mpstui.domain.events import AlarmRaised, RunFailed, decode
from mpstui.domain.machine import Machine, PythonEnvironment
from mpstui.investigate.request import InvestigationFolder
from mpstui.runs.rundir import RunDir
from mpstui.runs.store import RunStore
from tests.builders.scripts import script_events, script_runs

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

Struct = TypeVar("Struct", bound=msgspec.Struct)

MARKUP = "[/b][@click=app.bell]"
ESCAPES = "\x1b[2J\x1b]0;owned\x07\x9b31m\u202e"
HOSTILE = MARKUP + ESCAPES
"""Added to every text that a reader lets pass; markup alone to those that it lets be printable."""

CONTROL = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")
"""What no terminal may get from a run's texts."""

RECORDED = Path(__file__).parents[1] / "recorded" / "runs"
AT = 1_795_000_000.0
MACHINE = Machine(
    name="machine",
    system="Linux",
    arch="x86_64",
    python="3.12.7",
    python_arch="x86_64",
    translated=None,
    cores_physical=2,
    cores_logical=2,
    memory_bytes=2**34,
    torch="2.14.1",
    torchvision="0.29.1",
    environment=PythonEnvironment(executable="/venv/bin/python", kind="venv", folder="/venv"),
)


def hostile_runs(root: Path) -> list[RunDir]:
    """Copy the recorded runs and a script's to a folder, with every text in their files spoiled."""
    shutil.copytree(RECORDED, root, ignore=shutil.ignore_patterns("*.pt"))
    for config in root.glob("*/config.toml"):
        text = config.read_text().replace("=neg-stride0", "=/work/[/b]/fault.py:Fault")
        config.write_text(text.replace("tests/own/", "/work/[/b]/"))
    alarm = AlarmRaised(at=AT, step=9, value=2.0, other=1.0, gap=1.0, against="cpu", policy="go on")
    failure = RunFailed(at=AT + 90, step=400, error="RuntimeError: no")
    (script,) = script_runs(RunStore(root), MACHINE, [[*script_events(AT), alarm, failure]])
    for path in root.iterdir():
        spoil(RunDir(path))
    renamed = root / f"{script.id}{HOSTILE.replace('/', '')}"
    if os.name == "posix":
        script.path.rename(renamed)
    return [RunDir(path) for path in sorted(root.iterdir())]


def spoil(run: RunDir) -> None:
    """Spoil a run's texts in place."""
    files: list[tuple[Path, Callable[[], object]]] = [
        (run.path / "machine.json", run.machine),
        (run.path / "summary.json", run.summary),
        (run.path / "script.json", run.script),
    ]
    for path in (run.path / "investigations").glob("*"):
        folder = InvestigationFolder(path)
        files += [(path / "investigation.json", folder.finding)]
        files += [(path / "request.json", folder.request)]
        folder.report.write_text(HOSTILE)
        folder.repro.write_text(f"# {HOSTILE}\n")
    for file, read in files:
        if file.exists():
            spoil_file(file, json.loads, json.dumps, read)
    spoil_file(run.path / "config.toml", tomllib.loads, tomli_w.dumps, run.config)
    run.events.write_text("".join(map(spoil_event, run.events.read_bytes().splitlines())))
    (run.path / "note.md").write_text(f"a note {HOSTILE}\nits second line {HOSTILE}\n")
    run.worker_log.write_text(f"a last word {HOSTILE}\n" * 3)


def spoil_event(line: bytes) -> str:
    """Return a line of a log with its texts spoiled."""
    event = json.loads(line)

    def passes() -> bool:
        try:
            decode(json.dumps(event).encode())
        except msgspec.DecodeError:
            return False
        return True

    spoil_texts(event, passes)
    return json.dumps(event) + "\n"


def spoil_file(
    path: Path,
    load: Callable[[str], Any],
    dump: Callable[[Any], str],
    read: Callable[[], object],
) -> None:
    """Spoil the texts of a file, but for those that its reader refuses."""
    document = load(path.read_text())

    def passes() -> bool:
        path.write_text(dump(document))
        try:
            read()
        except MpstuiError:
            return False
        return True

    spoil_texts(document, passes)
    path.write_text(dump(document))


def spoil_texts(document: Any, passes: Callable[[], bool]) -> None:
    """Spoil one text of a document after the other; each that does not pass is restored."""
    for holder, key in list(texts(document)):
        before = holder[key]
        for ending in (HOSTILE, MARKUP, ""):
            holder[key] = before + ending
            if passes():
                break


REFERENCES = ("event", "comparison", "device", "workload", "state", "run_id", "ref", "phase")
"""Texts that refer to something else, and stay."""


def texts(node: Any) -> Iterator[tuple[Any, Any]]:
    """Yield where the texts below a node are."""
    for key, value in list(node.items() if isinstance(node, dict) else enumerate(node)):
        if isinstance(value, (dict, list)):
            yield from texts(value)
        elif isinstance(value, str) and key not in REFERENCES:
            yield node, key


def spoil_struct(value: Struct) -> Struct:
    """Return a struct with its texts spoiled, but for those that its type refuses."""
    document = msgspec.to_builtins(value)

    def passes() -> bool:
        try:
            msgspec.convert(document, type(value))
        except msgspec.ValidationError:
            return False
        return True

    spoil_texts(document, passes)
    return msgspec.convert(document, type(value))

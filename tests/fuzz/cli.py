"""Random command lines, made from the parser's own table; nothing is launched or downloaded."""

from __future__ import annotations

import argparse
import io
import os
import random
import shutil
import subprocess
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any
from unittest import mock

from mpstui.cli.parser import build_parser
from mpstui.domain.errors import UsageError

from .folders import RECORDED, command
from .guard import failure_of
from .mutate import remove

_WORDS = """
0 -1 1 2 nan inf x -- - 1_000 0x10 true pause stop again * x=1 lr=1,2 lr= =1 cpu cpu@threads=0
cpu@threads=1 cpu@threads=99999999999999999999 cpu@ @ cpu: cpu:-1 cpu:9999999999999 cpu,cpu
cpu,cpu@threads=1 mps cuda:0 , cuda:0@precision=tf32 cpu@fault=nope cpu@fault=own.py:Mine
cpu@fault=/:A cpu@fault=neg-stride0 cpu@set.lr=1,cpu@set.lr=2 cpu@set.=1 cpu@compile vae mnist
gan torchvision:x@size=1,y own.py:Mine own.py:B own.py: own.py bad.py:A .:A /dev/null:A
../x.py:A a.b:C /dev/zero.py:A timm:x script:/x.py 1..2 4096..1 16..64 1,2,,3 /dev/null
/proc/self/mem runs 2026 vae- 20261126-173059-mnist-f86b-cpu 20261126-173140-vae-fdbb markdown
csv json table html tensorboard finished unreadable epoch
"""
VALUES = (
    *("", " ", "1e999", "9" * 400, "9" * 5000, "\x1b[31m", "[/b]", "a" * 5000, "é", "１"),
    *_WORDS.split(),
)
PLACES = ("", " ", "runs", "runs/x", "nowhere/x", "own.py", "a" * 5000, "é", "/dev/null", "/proc/x")
"""Values of options that say where to write: none that a file outside could come from."""

WRITING = frozenset(("--out", "--runs-dir"))
"""Such options."""


class Launched(UsageError):
    """Raised where a process would be started."""


def fuzz_cli(count: int, seed: int, scratch: Path) -> list[str]:
    """Run random command lines in this process; return the failures."""
    os.environ["MPSTUI_HOME"] = str(scratch / "home")
    commands = list(_commands(build_parser(), ()))
    failures: list[str] = []
    before = os.getcwd()
    with mock.patch.object(subprocess, "Popen", _refuse), mock.patch("os.execv", _refuse):
        for number in range(count):
            rng = random.Random(f"{seed} cli {number}")
            world = _world(scratch / "world")
            os.chdir(world)
            try:
                line = _line(commands, rng)
                problem = failure_of(lambda line=line: _run(line))  # type: ignore[misc]
            finally:
                os.chdir(before)
            if problem:
                failures.append(f"{number}: {[word[:60] for word in line]}: {problem}")
            if extra := set(os.listdir(scratch)) - {"world", "home"}:
                failures.append(f"{number}: {line}: writes {sorted(extra)}")
            remove(world)
    return failures


def _commands(
    parser: argparse.ArgumentParser, words: tuple[str, ...]
) -> Iterator[tuple[tuple[str, ...], list[argparse.Action]]]:
    """Yield each command's words and its arguments."""
    actions = parser._actions
    nested = [action for action in actions if isinstance(action, argparse._SubParsersAction)]
    if words:  # without a command, the app starts
        yield words, [action for action in actions if action not in nested]
    for action in nested:
        for name, below in action.choices.items():
            yield from _commands(below, (*words, name))


def _line(
    commands: Sequence[tuple[tuple[str, ...], list[argparse.Action]]], rng: random.Random
) -> list[str]:
    words, actions = rng.choice(commands)
    options = [action for action in actions if action.option_strings]
    line = [*words, "--runs-dir", rng.choice(("runs", "runs", "runs", "runs", rng.choice(PLACES)))]
    for action in actions:
        if not action.option_strings:
            few = 0 if action.nargs in ("?", "*", "...") else 1
            line += [_value(action, rng) for _ in range(rng.choice((few, few, 1, 2)))]
    for _ in range(rng.choice((0, 1, 1, 2, 4))):
        if options:
            action = rng.choice(options)
            line.append(rng.choice(action.option_strings))
            if action.nargs != 0:
                line.append(_value(action, rng))
    if rng.random() < 0.1:
        line.append(rng.choice(VALUES))
    return line


def _value(action: argparse.Action, rng: random.Random) -> str:
    if WRITING & set(action.option_strings):
        return rng.choice(PLACES)
    if action.choices and rng.random() < 0.7:
        return str(rng.choice(list(action.choices)))
    return rng.choice(VALUES)


def _run(line: list[str]) -> None:
    with mock.patch("sys.stdin", io.StringIO()):
        command(line, io.StringIO())


def _world(folder: Path) -> Path:
    shutil.copytree(RECORDED, folder / "runs")
    (folder / "own.py").write_text(
        "class Mine:\n def model(self): pass\n def objective(self, m, x, y): pass\n"
        " def __enter__(self): pass\n def __exit__(self, *_): pass\n"
    )
    (folder / "bad.py").write_bytes(b"\xff\x00(")
    return folder


def _refuse(*_: Any, **__: Any) -> Any:
    raise Launched("a process would be started; allowed: none here")

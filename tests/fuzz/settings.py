"""Damaged files of settings, and the user's class files, which are parsed and never run."""

from __future__ import annotations

import os
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

from mpstui.domain.class_path import ClassPath
from mpstui.domain.config import make_config
from mpstui.domain.devices import parse_devices
from mpstui.domain.plan import PLAIN, AutotuneResult, PlanKey
from mpstui.runs.class_check import check_class, defines
from mpstui.runs.class_source import FAULT, WORKLOAD
from mpstui.runs.last_settings import load_last, save_last
from mpstui.runs.own_imports import find_surroundings
from mpstui.runs.own_settings import class_arguments, own_settings
from mpstui.runs.paths import home
from mpstui.runs.rundir import RunDir, config_toml
from mpstui.runs.saved_plans import load_plan, save_plan
from mpstui.ui.charts.view_state import ViewState, load_view, save_view

from .guard import failure_of
from .mutate import damage_bytes, damage_file, remove

CLASS = b'''
from dataclasses import dataclass
import helper, torch.nn as nn
@dataclass
class Base:
    """Args:
        width: how wide
    """
    width: int = 64  # a row of the form
    rate: "float | None" = None
@dataclass
class Mine(Base):
    depth: Literal[1, 2] = 1
    path: Path = Path("x")
    def model(self): return nn.Linear(2, self.width)
    def objective(self, model, x, y): return model(x)
    def __enter__(self): ...
    def __exit__(self, *_): ...
'''
PIECES = (
    *(b"(", b")", b"[", b"class Mine(Mine):", b"\n", b"\t", b"\0", b"\xff", b"# coding: nope\n"),
    *(b"'''", b'"', b"Optional[", b"Union[int, ", b"|None", b"import a.b.c\n"),
    *(
        b"from . import x\n",
        b"*",
        b"=",
        b"lambda: ",
        b"@dataclass\n",
        b"**kwargs",
        b"field(",
        b"1e999",
        b"9" * 5000,
    ),
)
WHOLE = (
    b"(" * 5000,
    b"x = " + b"-" * 100_000 + b"1\nclass Mine: pass",
    b"\n".join(b"class C%d(C%d): x: int = 1" % (n, n + 1) for n in range(5000)) + b"\nMine = C0",
    b"\n".join(b"@dataclass\nclass C%d(C%d, C%d): x: int" % (n, n + 1, n + 1) for n in range(60))
    + b"\nclass Mine(C0): pass",
    b"@dataclass\nclass Mine:\n x: '" + b"-" * 100_000 + b"1' = 1",
    b"@dataclass\nclass Mine:\n x: " + b"A[" * 90 + b"int" + b"]" * 90 + b" = 1",
    b"import " + b"a" * 5000 + b"\nclass Mine: pass",
    "class Mine: pass".encode("utf-16"),
    b"\x00",
)
"""Files that are whole, and more than a parser bears."""


def fuzz_settings(count: int, seed: int, scratch: Path) -> list[str]:
    """Read damaged settings and class files; return the failures."""
    os.environ["MPSTUI_HOME"] = str(scratch / "home")
    key = PlanKey(
        machine="m",
        torch="t",
        device="cpu",
        workload="vae",
        batch_size=1,
        test_batch_size=1,
        precision="float32",
        pipeline="resident",
    )
    config = make_config({"workload": "vae", "seed": 7})
    run = RunDir(scratch / "run")
    run.path.mkdir()
    save_plan(key, AutotuneResult(plan=PLAIN, text="", seconds=0.5, gain=2.0))
    save_last(config, parse_devices("cpu"))
    save_view(home() / "view.json", ViewState())
    (plan,) = (home() / "plans").iterdir()
    mine, secret = scratch / "mine.py", scratch / "secret"
    whole = {
        "config.toml": (run.path / "config.toml", config_toml(config)),
        "last.toml": (home() / "last.toml", (home() / "last.toml").read_bytes()),
        "plan": (plan, plan.read_bytes()),
        "view": (home() / "view.json", (home() / "view.json").read_bytes()),
        "class": (mine, CLASS),
    }
    readers: dict[str, Callable[[], Any]] = {
        "config.toml": lambda: run.config().total_steps,
        "last.toml": load_last,
        "plan": lambda: load_plan(key),
        "view": lambda: load_view(home() / "view.json"),
    }
    secret.write_bytes(b"epochs = 1")
    failures: list[str] = []
    for number in range(count):
        rng = random.Random(f"{seed} settings {number}")
        kind = rng.choice(("config.toml", "last.toml", "plan", "view", "class", "class"))
        path, content = whole[kind]
        path.write_bytes(content)
        done = _damage_class(path, rng) if kind == "class" else damage_file(path, rng, secret)
        actions = _class_readers(mine, config) if kind == "class" else [readers[kind]]
        problems = filter(None, map(failure_of, actions))
        failures += [f"{number}: {kind}, {done}: {problem}" for problem in problems]
        if os.path.lexists(path):
            remove(path)
    return failures


def _class_readers(file: Path, config: Any) -> list[Callable[[], Any]]:
    ref, workload = ClassPath(str(file), "Mine"), f"{file}:Mine"

    def source() -> bytes:
        return file.read_bytes() if file.is_file() and file.stat().st_size < 1 << 24 else b""

    return [
        lambda: check_class(WORKLOAD, ref),
        lambda: check_class(FAULT, ref),
        lambda: class_arguments(own_settings(workload), config),
        lambda: defines(source(), "Mine", "loaders"),
        lambda: find_surroundings(file, source(), file.parent),
    ]


def _damage_class(path: Path, rng: random.Random) -> str:
    roll = rng.random()
    if roll < 0.15:
        return damage_file(path, rng, path)
    content = rng.choice(WHOLE) if roll < 0.25 else CLASS
    for _ in range(rng.randrange(1, 6) if roll >= 0.25 else 0):
        place = rng.randrange(len(content) + 1)
        piece = rng.choice(PIECES) * rng.choice((1, 1, 3, 200))
        content = content[:place] + piece + content[place + rng.randrange(3) :]
    path.write_bytes(damage_bytes(content, rng) if roll > 0.8 else content)
    return f"{content[:40]!r}"

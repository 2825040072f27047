"""Damaged and hostile snapshots: bytes, values, types, packed archives, code in pickles."""

from __future__ import annotations

import io
import os
import pickle
import random
import zipfile
from pathlib import Path
from typing import Any

import torch

from mpstui.engine.snapshots import Snapshot, load_snapshot

from .folders import RECORDED
from .guard import failure_of
from .mutate import damage_bytes, damage_file, remove

VALUES: tuple[Any, ...] = (
    None,
    0,
    -1,
    "x",
    [],
    {},
    10**30,
    float("nan"),
    {"a": 1},
    [1],
    torch.zeros(2),
)


class Bomb:
    """Runs code when it is unpickled."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self.mark),)


def fuzz_snapshots(count: int, seed: int, scratch: Path) -> list[str]:
    """Load damaged snapshots; return the failures."""
    torch.set_num_threads(1)
    (original,) = RECORDED.rglob("step-*.pt")
    content = original.read_bytes()
    state = torch.load(original, weights_only=True)
    whole, mark = load_snapshot(original), scratch / "code ran"
    failures: list[str] = []
    for number in range(count):
        rng = random.Random(f"{seed} snapshots {number}")
        path = scratch / "step-000001.pt"
        done = _write(path, content, state, mark, rng)
        loaded: list[Snapshot] = []
        problem = failure_of(lambda path=path, out=loaded: out.append(load_snapshot(path)))  # type: ignore[misc]
        if not problem and done == "bytes" and loaded and not _equal(vars(loaded[0]), vars(whole)):
            problem = "loads other values than were saved"
        if not problem and mark.exists():
            problem = "runs code of the file"
        if problem:
            failures.append(f"{number}: {done}: {problem}")
        for left in (path, mark):
            if os.path.lexists(left):
                remove(left)
    return failures


def _write(
    path: Path, content: bytes, state: dict[str, Any], mark: Path, rng: random.Random
) -> str:
    match rng.randrange(6):
        case 0 | 1:
            path.write_bytes(damage_bytes(content, rng))
            return "bytes"
        case 2:
            key, value = rng.choice(list(state)), rng.choice(VALUES)
            changed = {**state, key: value}
            if rng.random() < 0.2:
                del changed[key]
            torch.save(rng.choice((changed, changed, changed, value)), path)
            return f"{key}: {value!r}"[:60]
        case 3:
            key = rng.choice([key for key, value in state.items() if isinstance(value, dict)])
            name, value = rng.choice(("x", "step", 1)), rng.choice(VALUES)
            torch.save({**state, key: {**state[key], name: value}}, path)
            return f"in {key}"
        case 4:
            path.write_bytes(_repacked(content, mark, rng))
            return "repacked"
        case _:
            path.write_bytes(content)
            return damage_file(path, rng, path.parent / "nowhere")


def _repacked(content: bytes, mark: Path, rng: random.Random) -> bytes:
    """Return the archive with another pickle in it, packed records or a bomb of zeros."""
    out, way = io.BytesIO(), rng.randrange(4)
    packing = zipfile.ZIP_DEFLATED if way in (0, 3) else zipfile.ZIP_STORED
    with zipfile.ZipFile(io.BytesIO(content)) as source, zipfile.ZipFile(out, "w", packing) as to:
        for name in source.namelist():
            text = source.read(name)
            if way in (1, 2) and name.endswith("data.pkl"):
                text = pickle.dumps(Bomb(mark)) if way == 1 else damage_bytes(text, rng)
            if way == 3 and name.endswith("/data/0"):
                text = bytes(1 << 25)
            to.writestr(name, text)
    return out.getvalue()


def _equal(loaded: Any, whole: Any) -> bool:
    """Return whether two values have the same tensors and the same plain values."""
    if isinstance(whole, torch.Tensor):
        return isinstance(loaded, torch.Tensor) and torch.equal(loaded, whole)
    if isinstance(whole, dict):
        same = list(loaded) == list(whole)
        return same and all(_equal(loaded[name], value) for name, value in whole.items())
    if isinstance(whole, (list, tuple)):
        pairs = zip(loaded, whole, strict=False)
        return len(loaded) == len(whole) and all(_equal(*pair) for pair in pairs)
    return bool(loaded == whole)

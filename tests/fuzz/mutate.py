"""Damage: of bytes, of JSON values, of lines, and of what kind of thing a file is."""

from __future__ import annotations

import json
import os
import random
import shutil
import socket
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

VALUES: tuple[Any, ...] = (
    *(None, True, False, 0, -1, 1, 2**31, 2**63, -(2**63), 10**30, 10**17, 10**400),
    *(0.5, -0.5, 1e17, -1e17, 1e300, 1e308, 5e-324),
    *("", " ", "x", "é", "\x1b[31m", "[/b]", "a\nb", "\0", "../../x", "/etc/passwd", "C:\\x"),
    *("a" * 50_000, "cpu", "vae", "mnist", "script:/x.py", "cuda:1@precision=tf32", "9" * 5000),
    *([], {}, [[]], [1], {"a": 1}, [{}], [None] * 50, "AAAAAA==", "AAAA"),
)
LITERALS = (b"1e999", b"-1e999", b"NaN", b"Infinity", b"1" * 5000, b'"\\ud800"', b"[" * 20_000)
"""JSON that no value of Python's writes."""


def damage_bytes(content: bytes, rng: random.Random) -> bytes:
    """Return bytes with some of them changed, missing or added."""
    match rng.randrange(7):
        case 0:
            return content[: rng.randrange(len(content) + 1)]
        case 1:
            return b""
        case 2:
            return content + rng.randbytes(rng.randrange(1, 100))
        case 3:
            return rng.randbytes(rng.randrange(300))
        case 4:
            place = rng.randrange(len(content) + 1)
            return content[:place] + b"\xff" + content[place:]
        case 5:
            place = rng.randrange(len(content) + 1)
            return content[:place] + rng.choice(LITERALS) + content[place:]
        case _:
            changed = bytearray(content)
            for _ in range(rng.randrange(1, 8) if content else 0):
                changed[rng.randrange(len(changed))] = rng.randrange(256)
            return bytes(changed)


def damage_value(value: Any, rng: random.Random) -> Any:
    """Return a JSON value in which one place has another value, another name or none."""
    if not isinstance(value, (dict, list)) or not value or rng.random() < 0.1:
        return rng.choice(VALUES)
    changed: Any = value.copy()
    key = rng.choice(list(value) if isinstance(value, dict) else range(len(value)))
    roll = rng.random()
    if roll < 0.15:
        del changed[key]
    elif roll < 0.25 and isinstance(value, dict):
        changed[str(rng.choice(VALUES))] = changed.pop(key)
    elif roll < 0.3:
        changed[key] = [value[key]]
    else:
        changed[key] = damage_value(value[key], rng)
    return changed


def damage_json(content: bytes, rng: random.Random) -> bytes:
    """Return JSON with another value somewhere; or damaged bytes, if it is no JSON."""
    try:
        value = json.loads(content)
    except ValueError:
        return damage_bytes(content, rng)
    text = json.dumps(damage_value(value, rng)).encode()
    return text.replace(b'"x"', rng.choice(LITERALS), 1) if rng.random() < 0.2 else text


def damage_lines(content: bytes, rng: random.Random) -> bytes:
    """Return a log with lines changed, out of order, missing, repeated or glued together."""
    lines = content.splitlines(keepends=True) or [b"\n"]
    for _ in range(rng.randrange(1, 5)):
        place = rng.randrange(len(lines))
        match rng.randrange(6):
            case 0:
                rng.shuffle(lines)
            case 1:
                lines[place] = lines[place].rstrip(b"\n")
            case 2:
                lines *= 2
            case 3:
                lines[place] = damage_bytes(lines[place], rng)
            case _:
                lines[place] = damage_json(lines[place], rng) + b"\n"
    return b"".join(lines[:4000])


def damage_toml(content: bytes, rng: random.Random) -> bytes:
    """Return TOML with another value, key or structure in a line."""
    lines = content.decode(errors="replace").splitlines() or [""]
    place = rng.randrange(len(lines))
    key = lines[place].partition("=")[0].strip() or "x"
    value = rng.choice(
        (
            *("0", "-1", "1e17", "1e400", "nan", "inf", "true", "[]", "[[]]", "{}", '"x"', "''"),
            *('"../../x"', '"/etc"', '"\\u0000"', "1979-05-27", "9" * 400, "9" * 5000, "0x10"),
            *("[" * 5000, "{a=" * 2000, '"' + "a" * 50_000 + '"', '"cpu@fault=neg-stride0"'),
            *('"script:/x.py"', '"cpu@set.lr=1"', '"/nowhere.py:A"', '"torchvision:x"', "2020"),
        )
    )
    names = ("comparison", "rank", "ranks", "epoch_steps", "device", "settings", "a.b", "seed")
    match rng.randrange(5):
        case 0:
            del lines[place]
        case 1:
            lines.insert(0, f"{rng.choice(names)} = {value}")
        case 2:
            name = rng.choice(("width", "lr", '""'))
            lines.append(f"[settings]\n{name} = {value}")
        case 3:
            lines[place] = "a." * rng.choice((10, 100, 50_000)) + "b = 1"
        case _:
            lines[place] = f"{key} = {value}"
    return "\n".join(lines).encode()


def damage_file(path: Path, rng: random.Random, secret: Path) -> str:
    """Damage a file where it is; return what was done.

    Args:
        path: The file.
        rng: Chooses.
        secret: A file outside, which links may lead to.
    """
    if rng.random() < 0.25:
        return _change_kind(path, rng, secret)
    if not os.path.lexists(path):
        path.write_bytes(b'{"pid": 1, "created": 1.0, "wish": "stop"}')
    if not path.is_file():
        return "nothing"
    content, suffix = path.read_bytes(), path.suffix
    by_suffix = {".json": damage_json, ".jsonl": damage_lines, ".toml": damage_toml}
    damage = by_suffix.get(suffix, damage_bytes) if rng.random() < 0.75 else damage_bytes
    path.write_bytes(damage(content, rng))
    return damage.__name__


def _change_kind(path: Path, rng: random.Random, secret: Path) -> str:
    kinds: dict[str, Callable[[], object]] = {
        "missing": lambda: None,
        "folder": path.mkdir,
        "sparse": lambda: _sparse(path, 3 << 30),
        "shut": lambda: _shut(path),
    }
    targets = (secret, path, path.parent / "nowhere", path.parent, Path("/dev/zero"), Path("/dev"))
    if sys.platform != "win32":
        kinds |= {
            "link": lambda: path.symlink_to(rng.choice(targets)),
            "secret link": lambda: path.symlink_to(secret),
            "FIFO": lambda: _fifo(path),
            "socket": lambda: _socket(path),
        }
    kind = rng.choice(list(kinds))
    remove(path)
    kinds[kind]()
    return kind


def _sparse(path: Path, size: int) -> None:
    with path.open("wb") as file:
        file.truncate(size)


def _shut(path: Path) -> None:
    path.write_bytes(b"{}")
    path.chmod(0)


def _fifo(path: Path) -> None:
    if sys.platform != "win32":
        os.mkfifo(path)


def _socket(path: Path) -> None:
    if sys.platform == "win32":
        return
    folder = os.open(path.parent, os.O_RDONLY)
    try:  # the address of a socket is short
        with socket.socket(socket.AF_UNIX) as server:
            server.bind(f"/proc/self/fd/{folder}/{path.name}")
    except OSError:
        path.write_bytes(b"")
    finally:
        os.close(folder)


def remove(path: Path) -> None:
    """Remove whatever is there."""
    if path.is_dir() and not path.is_symlink():
        for folder, _, _ in os.walk(path):
            os.chmod(folder, 0o700)
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)

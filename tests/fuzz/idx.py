"""Damaged files of digits: IDX, plain and packed."""

from __future__ import annotations

import gzip
import os
import random
import struct
import zlib
from functools import cache
from pathlib import Path

from mpstui.engine.data.idx import read_idx

from .guard import failure_of
from .mutate import damage_bytes, damage_file, remove

SIZES = (0, 1, 2, 5, 28, 2**16, 2**31 - 1, 2**31, 2**32 - 1)


def fuzz_idx(count: int, seed: int, scratch: Path) -> list[str]:
    """Read damaged IDX files; return the failures."""
    digits = _header(5, 28, 28) + bytes(5 * 784)
    secret = scratch / "secret"
    secret.write_bytes(digits)
    failures = []
    for number in range(count):
        rng = random.Random(f"{seed} idx {number}")
        path = scratch / rng.choice(("images", "images.gz"))
        content = digits
        match rng.randrange(5):
            case 0:
                content = _header(*(rng.choice(SIZES) for _ in range(3))) + bytes(100)
            case 1:
                content = damage_bytes(content, rng)
        if path.suffix == ".gz":
            content = gzip.compress(content, 1) if rng.random() < 0.9 else content
            content = damage_bytes(content, rng) if rng.random() < 0.4 else content
            if rng.random() < 0.02:
                content = _bomb()
        path.write_bytes(content)
        done = damage_file(path, rng, secret) if rng.random() < 0.2 else f"{content[:16]!r}"
        dimensions = rng.choice((1, 3, 3, 3))
        problem = failure_of(lambda path=path, n=dimensions: read_idx(path, n))  # type: ignore[misc]
        if problem:
            failures.append(f"{number}: {path.name} {done}: {problem}")
        if os.path.lexists(path):
            remove(path)
    return failures


def _header(*sizes: int) -> bytes:
    return struct.pack(f">BBBB{len(sizes)}I", 0, 0, 8, len(sizes), *sizes)


@cache
def _bomb() -> bytes:
    """Return a small gzip file that unpacks to 2 GB, and promises a quarter of that."""
    packer, block = zlib.compressobj(1, wbits=31), bytes(1 << 24)
    parts = [packer.compress(_header(2**10, 2**10, 500))]
    parts += [packer.compress(block) for _ in range(128)]
    return b"".join((*parts, packer.flush()))

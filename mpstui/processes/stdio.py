"""The standard streams of child processes: stdout for answers in JSON lines, stderr for a log.

Libraries print to stdout too, from C++ as well as from Python. An answer must not mix with that.
"""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Callable
from typing import TextIO, TypeVar

import msgspec

T = TypeVar("T")


def take_stdout() -> TextIO:
    """Return the real stdout for answers; from now on, other output to stdout goes to stderr."""
    out = os.fdopen(os.dup(1), "w", encoding="utf-8", buffering=1)
    os.dup2(2, 1)
    return out


def print_error(line: str) -> None:
    """Print a line on stderr; does nothing if that fails: stderr may be a log on a full disk."""
    with contextlib.suppress(OSError):
        sys.stderr.write(f"{line}\n")
        sys.stderr.flush()


def read_answer(line: str, answer: type[T]) -> T | None:
    """Return an answer that :func:`json_writer` wrote; None for what something else printed.

    A ``sitecustomize`` or a driver may print as well.
    """
    try:
        return msgspec.json.decode(line, type=answer)
    except msgspec.DecodeError:
        return None


def json_writer(out: TextIO) -> Callable[[msgspec.Struct], None]:
    """Return a function that writes an answer to ``out`` as one line of JSON, without delay."""

    def write(answer: msgspec.Struct) -> None:
        out.write(msgspec.json.encode(answer).decode() + "\n")
        out.flush()

    return write

"""Errors in the user's code: which ones are caught, and the line that raised them."""

from __future__ import annotations

import contextlib
import linecache
import sys
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType

from .module_copies import SOURCE

USER_ERRORS = (Exception, SystemExit, KeyboardInterrupt)
"""What the user's code may raise. A Ctrl-C arrives in the main thread, which runs none of it."""


def describe_error(error: BaseException) -> str:
    """Return an error's type, the first line of its text, and the user's line, if it is from one.

    ``ValueError: no such class (my_model.py:98, in forward)``
    """
    line = str(error).strip().partition("\n")[0]
    if isinstance(error, SyntaxError):
        line = error.msg  # the rest is the place
    text = f"{type(error).__name__}: {line}" if line else type(error).__name__
    return f"{text}{place_of(error)}"


def place_of(error: BaseException) -> str:
    """Return the innermost line of the user's files in an error, in brackets after a space.

    Errors that it was raised from are searched too. Empty if no line is the user's.
    """
    seen: set[int] = set()
    current: BaseException | None = error
    while current is not None and id(current) not in seen:
        seen.add(id(current))
        if isinstance(current, SyntaxError) and _is_own(current.filename):
            return f" ({Path(str(current.filename)).name}:{current.lineno})"
        if place := _innermost(current.__traceback__):
            return f" ({place})"
        current = current.__cause__ or current.__context__
    return ""


def _innermost(trace: TracebackType | None) -> str:
    place = ""
    while trace is not None:
        code = trace.tb_frame.f_code
        # A frame of a generated function (dataclasses, torch.compile) has the user's globals only.
        if SOURCE in trace.tb_frame.f_globals and not code.co_filename.startswith("<"):
            function = "" if code.co_name == "<module>" else f", in {code.co_name}"
            place = f"{Path(code.co_filename).name}:{trace.tb_lineno}{function}"
        trace = trace.tb_next
    return place


def _is_own(file: str | None) -> bool:
    """Return whether the text of a file is one that ``show_lines`` registered."""
    entry: tuple[object, ...] = linecache.cache.get(file or "", ())
    return len(entry) > 1 and entry[1] is None


@contextlib.contextmanager
def bare_arguments(file: Path) -> Iterator[None]:
    """Set ``sys.argv`` to that of a script without arguments: its ``argparse`` reads it."""
    before = sys.argv
    sys.argv = [str(file)]
    try:
        yield
    finally:
        sys.argv = before

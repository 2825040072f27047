"""Errors in the user's code: which ones are caught, and the line that raised them."""

from __future__ import annotations

import contextlib
import linecache
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from types import FrameType, TracebackType

from .module_copies import SOURCE

USER_ERRORS = (Exception, SystemExit, KeyboardInterrupt)
"""What the user's code may raise. A Ctrl-C arrives in the main thread, which runs none of it."""

_FROM_WORKER = re.compile(r"Caught \w+ in [^\n]*\.\nOriginal (Traceback .*)", re.DOTALL)
"""The text of an error that torch carries from a DataLoader's process (torch._utils)."""

_FRAME = re.compile(r'^  File "(?P<file>[^"\n]+)", line (?P<line>\d+), in (?P<function>.+)$', re.M)


def describe_error(error: BaseException) -> str:
    """Return an error's type, the first line of its text, and the user's line, if it is from one.

    ``ValueError: no such class (my_model.py:98, in forward)``

    An error in a DataLoader's process is described as it was there.
    """
    line = str(error).strip().partition("\n")[0]
    if isinstance(error, SyntaxError):
        line = error.msg  # the rest is the place
    text = f"{type(error).__name__}: {line}" if line else type(error).__name__
    if from_worker := _FROM_WORKER.match(str(error)):
        text = _last_error(from_worker[1])
    return f"{text}{place_of(error)}"


def _last_error(text: str) -> str:
    """Return the type and text of a traceback's error: the first line after its last frame."""
    *_, end = _FRAME.split(text)
    return next((line for line in end.splitlines() if line[:1].strip()), "an error without a text")


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
        if from_worker := _FROM_WORKER.match(str(current)):
            return _place_in(from_worker[1])
        if place := _innermost(current.__traceback__):
            return f" ({place})"
        current = current.__cause__ or current.__context__
    return ""


def _place_in(text: str) -> str:
    """Return the innermost line of the user's files in a traceback's text, as ``place_of``."""
    frames = [frame for frame in _FRAME.finditer(text) if _is_own(frame["file"])]
    if not frames:
        return ""
    file, line, function = frames[-1].groups()
    return f" ({Path(file).name}:{line}, in {function})"


def _innermost(trace: TracebackType | None) -> str:
    place = ""
    while trace is not None:
        place = _own_line(trace.tb_frame, trace.tb_lineno) or place
        trace = trace.tb_next
    return place


def place_of_frame(frame: FrameType | None) -> str:
    """Return the innermost line of the user's files that leads to a frame; empty if none does."""
    while frame is not None:
        if place := _own_line(frame, frame.f_lineno):
            return place
        frame = frame.f_back
    return ""


def _own_line(frame: FrameType, line: int) -> str:
    code = frame.f_code
    # A frame of a generated function (dataclasses, torch.compile) has the user's globals only.
    if SOURCE not in frame.f_globals or code.co_filename.startswith("<"):
        return ""
    function = "" if code.co_name == "<module>" else f", in {code.co_name}"
    return f"{Path(code.co_filename).name}:{line}{function}"


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

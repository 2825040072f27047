"""Runs a script or module as ``python`` does: as ``__main__``, with its own path and arguments.

Source of the details: Python's own ``runpy`` and the documentation of ``python -m``.
"""

from __future__ import annotations

import importlib.util
import io
import os
import sys
import traceback
from pathlib import Path
from types import CodeType, ModuleType, TracebackType

from mpstui.domain.script_ref import ScriptRef
from mpstui.runs.script_command import DEVICE_VARIABLE, ScriptCommand

PACKAGE = Path(__file__).parents[1]
"""Frames of files in here are not the user's."""


def enter_command(command: ScriptCommand) -> None:
    """Put this process where a command runs: its folder, its device's variable, its name."""
    os.chdir(command.folder)
    if command.device:
        os.environ[DEVICE_VARIABLE] = command.device
    sys.argv = [command.name or command.script.target]


def run_as_main(script: ScriptRef, arguments: tuple[str, ...]) -> None:
    """Run a script to its end, in this thread; its errors and ``SystemExit`` come through.

    Raises:
        ImportError: If there is no such module.
        SyntaxError: If the file does not compile.
    """
    module = ModuleType("__main__")
    is_safe = getattr(sys.flags, "safe_path", False)
    if script.kind == "module":
        if not is_safe:
            sys.path[0] = os.getcwd()
        code, spec = _find_module(script.target)
        module.__spec__, module.__package__ = spec, spec.parent
        module.__loader__, file = spec.loader, str(spec.origin)
    else:
        file = script.target
        if not is_safe:
            sys.path[0] = str(Path(file).parent)
        with io.open_code(file) as source:
            code = compile(source.read(), file, "exec", dont_inherit=True)
        module.__package__ = None
        module.__loader__ = importlib.machinery.SourceFileLoader("__main__", file)
    module.__file__ = file
    vars(module).update(__builtins__=__builtins__, __cached__=None)
    if sys.version_info < (3, 14):
        module.__annotations__ = {}
    sys.argv = [file if script.kind == "module" else sys.argv[0], *arguments]
    sys.modules["__main__"] = module  # processes that are spawned look for it there
    exec(code, vars(module))


def _find_module(name: str) -> tuple[CodeType, importlib.machinery.ModuleSpec]:
    spec = importlib.util.find_spec(name)
    if spec is not None and spec.submodule_search_locations is not None:
        spec = importlib.util.find_spec(f"{name}.__main__")
    code = spec.loader.get_code(spec.name) if spec is not None and spec.loader else None  # type: ignore[attr-defined]
    if spec is None or code is None:
        raise ImportError(f"No module named {name}", name=name)
    return code, spec


def strip_own_frames(error: BaseException) -> None:
    """Remove mpstui's frames from an error's traceback, and from those of its causes."""
    seen: set[int] = set()
    pending: list[BaseException | None] = [error]
    while pending:
        current = pending.pop()
        if current is None or id(current) in seen:
            continue
        seen.add(id(current))
        current.__traceback__ = _without_own(current.__traceback__)
        pending += [current.__cause__, current.__context__]


def _without_own(trace: TracebackType | None) -> TracebackType | None:
    entries = []
    while trace is not None:
        if not trace.tb_frame.f_code.co_filename.startswith(str(PACKAGE)):
            entries.append(trace)
        trace = trace.tb_next
    following = None
    for entry in reversed(entries):
        entry.tb_next = following
        following = entry
    return following


def error_text(error: BaseException) -> str:
    """Return an error's type, the first line of its message, and the user's line."""
    message = (str(error).splitlines() or [""])[0]
    return f"{type(error).__name__}: {message} {line_of_script(error)}".rstrip()


def line_of_script(error: BaseException) -> str:
    """Return where an error was raised in the user's code: ``(train.py:12)``; empty if unknown."""
    frames = traceback.extract_tb(error.__traceback__)
    own = [
        frame
        for frame in frames
        if "site-packages" not in frame.filename and not frame.filename.startswith("<")
    ]
    return f"({Path(own[-1].filename).name}:{own[-1].lineno})" if own else ""

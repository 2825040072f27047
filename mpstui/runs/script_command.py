"""script.json: how recorded code of the user's is started, so that it can be started again."""

from __future__ import annotations

import os
import shlex
from collections.abc import Sequence
from pathlib import Path

import msgspec

from mpstui.domain.errors import FieldError
from mpstui.domain.script_ref import ScriptRef, script_ref
from mpstui.processes.command import file_command

DEVICE_VARIABLE = "MPSTUI_DEVICE"
"""Environment variable with the device that a comparison gives to a script."""


RANK_RUNS_VARIABLE = "MPSTUI_RANK_RUNS"
"""Environment variable with the directories of all ranks' runs, as a JSON list."""


class ScriptCommand(msgspec.Struct, frozen=True, kw_only=True):
    """A command line of the user's, with where and how it runs."""

    ref: str
    """A :class:`~mpstui.domain.script_ref.ScriptRef` as text."""
    name: str = ""
    """The script as the user wrote it, for ``sys.argv[0]``."""
    arguments: tuple[str, ...] = ()
    folder: str
    """The current folder, absolute."""
    device: str = ""
    """The device that a comparison gives to the script; empty for a single run."""
    seed: int | None = None
    """Seed of torch, NumPy and random before the script's first line; None to leave them."""

    def __post_init__(self) -> None:
        if script_ref(self.ref) is None:  # msgspec turns this into a ValidationError
            raise ValueError(f"ref: {self.ref!r} names no code")

    @property
    def script(self) -> ScriptRef:
        """The parsed reference."""
        script = script_ref(self.ref)
        assert script is not None  # as checked by script_command
        return script

    def __str__(self) -> str:
        """Return the command as the user would type it after ``python``."""
        script = self.script
        start = ["-m", script.target] if script.kind == "module" else [script.target]
        return shlex.join([*start, *self.arguments])


def script_command(
    file: str | None,
    module: str | None,
    arguments: Sequence[str],
    device: str = "",
    seed: int | None = None,
) -> ScriptCommand:
    """Describe the command of a file, or of a module for ``python -m``, in the current folder.

    Raises:
        FieldError: If neither or both are set, or there is no such file.
    """
    if (file is None) == (module is None):
        raise FieldError("script", "no script" if file is None else "two scripts", "FILE or -m M")
    folder, name = os.getcwd(), file or ""
    if module is not None:
        if not all(part.isidentifier() for part in module.split(".")):
            raise FieldError("-m", f"{module!r} is not a module's name", "package.module")
        ref = ScriptRef("module", module)
    else:
        assert file is not None
        path = Path(os.path.abspath(file))
        if os.path.isfile(path / "__main__.py"):
            path = path / "__main__.py"
        if not os.path.isfile(path):  # False too for a name that is too long
            reason = "is a folder without __main__.py" if os.path.isdir(path) else "does not exist"
            raise FieldError("script", f"{file} {reason}", "a Python file, or -m MODULE")
        ref = ScriptRef("script", str(path))
    if script_ref(str(ref)) is None:
        raise FieldError("script", f"{str(ref)!r} is not printable", "a name of printable letters")
    return ScriptCommand(
        ref=str(ref), name=name, arguments=tuple(arguments), folder=folder, device=device, seed=seed
    )


def words_of(words: Sequence[str]) -> tuple[str | None, str | None, list[str]]:
    """Split ``SCRIPT ARGUMENT…`` or ``-m MODULE ARGUMENT…`` into file, module and arguments."""
    if words[:1] == ["-m"]:
        return None, words[1] if len(words) > 1 else "", list(words[2:])
    return (words[0], None, list(words[1:])) if words else (None, None, [])


def worker_command(run_path: Path, *flags: str) -> list[str]:
    """Return the command of the process that runs and records a script."""
    return file_command("mpstui.recording.worker", *flags, str(run_path))

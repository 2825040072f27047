"""The user's file with a workload, what it imports from its folder, and the working directory.

``workload.json`` describes the copies in a run's folder: ``workload.py``, and below
``workload_modules`` the modules, laid out as the originals.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

import msgspec

from mpstui.domain.bounds import Inside
from mpstui.domain.class_path import ClassPath
from mpstui.domain.errors import LogError

from .class_source import WORKLOAD, ClassSource, read_file, read_source
from .files import TEXT_BYTES, read_json
from .own_imports import OwnModule, Surroundings, find_surroundings
from .paths import current_folder
from .rundir import RunDir

RECORD = "workload.json"
"""The name of the description."""

MODULES = "workload_modules"
"""The folder of the modules' copies."""


class ModuleCopy(msgspec.Struct, frozen=True, kw_only=True):
    """A module and its copy."""

    name: str
    """Its name when imported."""
    file: str
    """The original's absolute path."""
    copy: Inside = ""
    """Below ``workload_modules``; empty for a folder without ``__init__.py``."""
    is_package: bool = False


class OwnCode(msgspec.Struct, frozen=True, kw_only=True):
    """workload.json: what the user's file needs to run as where the run was created."""

    folder: str
    """The working directory, absolute."""
    file: str
    """The file's absolute path."""
    package: str = ""
    """The package that it belongs to."""
    roots: tuple[str, ...] = ()
    """Folders for ``sys.path``."""
    modules: tuple[ModuleCopy, ...] = ()
    notes: tuple[str, ...] = ()
    """What was not copied."""


def read_code(
    class_ref: ClassPath, earlier: RunDir | None = None, mended: bool = False
) -> dict[str, bytes]:
    """Read the files that a run needs of the user's code, by their paths in its folder.

    Args:
        class_ref: The user's file.
        earlier: A run whose copies are read if it has them.
        mended: Whether the file and its modules are read nevertheless; the run still works in the
            earlier one's directory.

    Raises:
        FieldError: If the file cannot be read.
        LogError: If the earlier run's description cannot be read.
    """
    earlier_code = code_of(earlier.path) if earlier is not None else None
    if earlier is not None and earlier_code is not None and not mended:
        copies = {f"{MODULES}/{module.copy}" for module in earlier_code.modules if module.copy}
        names = sorted(("workload.py", RECORD, *copies))
        return {
            name: _copied(earlier, name) for name in names if os.path.isfile(earlier.path / name)
        }
    file = Path(os.path.abspath(class_ref.file))
    if earlier is None and file.name == "workload.py" and code_of(file.parent) is not None:
        return read_code(class_ref, RunDir(file.parent))  # a run's copy, as reports name it
    copy_of_file = earlier.workload if earlier is not None and not mended else None
    text = read_file(WORKLOAD, class_ref, copy_of_file)
    folder = Path(earlier_code.folder) if earlier_code is not None else current_folder()
    surroundings = find_surroundings(file, text, folder)
    base = Path(min(surroundings.roots, key=len))
    files = {"workload.py": text}
    copies_of: list[ModuleCopy] = []
    for module in surroundings.modules:
        copy = ""
        if module.text is not None:
            copy = Path(module.file).relative_to(base).as_posix()
            files[f"{MODULES}/{copy}"] = module.text
        copies_of.append(
            ModuleCopy(name=module.name, file=module.file, copy=copy, is_package=module.is_package)
        )
    code = OwnCode(
        folder=str(folder),
        file=str(file),
        package=surroundings.package,
        roots=surroundings.roots,
        modules=tuple(copies_of),
        notes=surroundings.notes,
    )
    files[RECORD] = msgspec.json.format(msgspec.json.encode(code))
    return files


def code_of(run_dir: Path) -> OwnCode | None:
    """Read the description of the user's code in a run's folder; None if it has none.

    Raises:
        LogError: If the file holds something else; the message names it.
    """
    return read_json(run_dir / RECORD, OwnCode, TEXT_BYTES, within=run_dir)


def workload_source(class_ref: ClassPath, run_dir: Path) -> ClassSource:
    """Return the source of a workload: the run's copies, or the file and what it imports.

    Raises:
        FieldError: If the file cannot be read.
        LogError: If the run's description cannot be read.
    """
    source = read_source(WORKLOAD, class_ref, RunDir(run_dir).workload)
    code = code_of(run_dir)
    if code is None:
        file = Path(os.path.abspath(class_ref.file))
        return source._replace(surroundings=find_surroundings(file, source.text, current_folder()))
    modules = tuple(_module(run_dir, module) for module in code.modules)
    surroundings = Surroundings(code.package, code.roots, modules, code.notes)
    return source._replace(file=Path(code.file), surroundings=surroundings)


def source_of_run(run_dir: Path) -> ClassSource | None:
    """Return the source of a run's copy of the user's file; None if it has none.

    Raises:
        LogError: If the run's description cannot be read.
    """
    copy, code = RunDir(run_dir).workload, code_of(run_dir)
    if not os.path.isfile(copy):
        return None
    return workload_source(ClassPath(code.file if code is not None else str(copy), ""), run_dir)


def _module(run_dir: Path, module: ModuleCopy) -> OwnModule:
    text = _copied(RunDir(run_dir), f"{MODULES}/{module.copy}") if module.copy else None
    return OwnModule(module.name, module.file, text, module.is_package)


def _copied(run: RunDir, name: str) -> bytes:
    try:
        return run.source(name)
    except OSError as error:
        problem = f"{run.path / name}: {error.strerror or error}"
        raise LogError(f"{problem}; allowed: a copy of the user's file") from error


def enter_folder(run_dir: Path) -> None:
    """Move to the directory where a run was created, if it exists: own code may open files there.

    ``sys.argv`` becomes that of a script without arguments. Runs without own code, and those of
    earlier versions, change nothing.
    """
    code = code_of(run_dir)
    if code is None:
        return
    sys.argv = [code.file]
    if os.path.isdir(code.folder):
        os.chdir(code.folder)


def code_notes(run_dir: Path) -> tuple[str, ...]:
    """Return what the log says of a run's own code: a missing directory, modules not copied."""
    code = code_of(run_dir)
    if code is None:
        return ()
    is_gone = not os.path.isdir(code.folder)
    gone = (f"the working directory {code.folder} is gone: the run works in another",)
    return (*(gone if is_gone else ()), *code.notes)

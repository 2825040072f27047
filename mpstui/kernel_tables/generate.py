"""Writes a torch's kernels to ``kernels.json``: ``python -m mpstui.kernel_tables.generate``.

By default for the installed torch; with ``--wheel FILE`` for wheels of any platform. It needs
PyYAML (``pip install "mpstui[test]"``), since torchgen does.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Sequence
from contextlib import suppress
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import msgspec

from mpstui.domain.errors import FieldError
from mpstui.processes.command import child_environment, module_command

from .tables import FILE, KernelTable, encode, kernel_table, make_table, versions

TORCHGEN = "torchgen/"


def main(argv: Sequence[str]) -> int:
    """Read the requested versions of torch and rewrite the file."""
    parser = argparse.ArgumentParser(
        prog="python -m mpstui.kernel_tables.generate",
        description="Write the ops that a torch has MPS kernels for to mpstui's table.",
    )
    parser.add_argument(
        "--wheel",
        type=Path,
        action="append",
        default=[],
        help="a torch wheel, for any platform; may be repeated (default: the installed torch)",
    )
    parser.add_argument("--out", type=Path, default=FILE, help="default: the package's own table")
    arguments = parser.parse_args(argv)
    try:
        generated = [from_wheel(wheel) for wheel in arguments.wheel] or [from_installed()]
    except (OSError, ValueError, ImportError, zipfile.BadZipFile) as error:
        sys.stderr.write(f"{error}\n")
        return 2
    tables = {torch_version: kernel_table(torch_version) for torch_version in versions()}
    tables |= {table.torch: table for table in generated}
    arguments.out.write_bytes(encode(list(tables.values())))
    for table in generated:
        sys.stdout.write(f"torch {table.torch}: {len(table.native)} ops with an MPS kernel\n")
    return 0


def from_wheel(wheel: Path) -> KernelTable:
    """Generate the table of a wheel's torch with the torchgen in the wheel.

    Raises:
        ValueError: If it is not a wheel of torch, or its torchgen cannot be run.
        OSError: If it cannot be read.
    """
    package, _, tags = wheel.name.partition("-")
    if package != "torch" or wheel.suffix != ".whl":
        raise ValueError(f"{wheel.name} is not a wheel of torch; allowed: torch-VERSION-….whl")
    with tempfile.TemporaryDirectory() as folder, zipfile.ZipFile(wheel) as archive:
        members = [name for name in archive.namelist() if name.startswith(TORCHGEN)]
        archive.extractall(folder, members)
        return _read(tags.partition("-")[0].partition("+")[0], folder)


def from_installed() -> KernelTable:
    """Generate the table of the installed torch.

    Raises:
        ImportError: If torch is not installed.
        ValueError: If its torchgen cannot be run, for example without PyYAML.
    """
    try:
        installed = version("torch").partition("+")[0]
    except PackageNotFoundError as error:
        raise ImportError("torch is not installed") from error
    return _read(installed)


def table_of(torch: str) -> KernelTable:
    """Return the table of a version, stored or generated from the installed torch.

    Raises:
        FieldError: If there is none, and the installed torch is another version or unreadable.
    """
    try:
        return kernel_table(torch)
    except FieldError:
        with suppress(PackageNotFoundError, ValueError):
            installed = version("torch").partition("+")[0]
            if torch.partition("+")[0] == installed:
                return from_installed()
        raise


def _read(torch: str, folder: str = "") -> KernelTable:
    """Run :mod:`mpstui.kernel_tables.native_functions` with a folder at the front of its path."""
    variables = child_environment()
    variables["PYTHONPATH"] = os.pathsep.join(
        filter(None, [folder, variables.get("PYTHONPATH", "")])
    )
    command = module_command("mpstui.kernel_tables.native_functions")
    completed = subprocess.run(command, capture_output=True, env=variables, check=False)
    if completed.returncode:
        last_line = completed.stderr.decode(errors="replace").strip().rpartition("\n")[2]
        raise ValueError(f"torchgen of torch {torch} cannot be run: {last_line}")
    return make_table(torch, msgspec.json.decode(completed.stdout, type=dict[str, list[str]]))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

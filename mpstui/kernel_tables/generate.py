"""Write a torch's kernels into ``kernels.json``: ``python -m mpstui.kernel_tables.generate``.

Without an argument the installed torch's; with ``--wheel FILE`` those of wheels, which need not be
for this machine. It needs PyYAML (``pip install "mpstui[test]"``), as torchgen does.
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
    """Read each torch that is named, and write the file anew."""
    parser = argparse.ArgumentParser(
        prog="python -m mpstui.kernel_tables.generate",
        description="Write which ops a torch has MPS kernels for into mpstui's table.",
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
        fresh = [from_wheel(wheel) for wheel in arguments.wheel] or [from_installed()]
    except (OSError, ValueError, ImportError, zipfile.BadZipFile) as error:
        sys.stderr.write(f"{error}\n")
        return 2
    tables = {known: kernel_table(known) for known in versions()}
    tables |= {table.torch: table for table in fresh}
    arguments.out.write_bytes(encode(list(tables.values())))
    for table in fresh:
        sys.stdout.write(f"torch {table.torch}: {len(table.native)} ops with an MPS kernel\n")
    return 0


def from_wheel(wheel: Path) -> KernelTable:
    """The table of a wheel's torch, read by the torchgen that is in it.

    Raises:
        ValueError: When it is no wheel of torch, or its torchgen cannot be run.
        OSError: When it cannot be read.
    """
    kind, _, rest = wheel.name.partition("-")
    if kind != "torch" or wheel.suffix != ".whl":
        raise ValueError(f"{wheel.name} is not a wheel of torch; allowed: torch-VERSION-….whl")
    with tempfile.TemporaryDirectory() as folder, zipfile.ZipFile(wheel) as archive:
        members = [name for name in archive.namelist() if name.startswith(TORCHGEN)]
        archive.extractall(folder, members)
        return _read(rest.partition("-")[0].partition("+")[0], folder)


def from_installed() -> KernelTable:
    """The table of the installed torch.

    Raises:
        ImportError: Without a torch.
        ValueError: When its torchgen cannot be run, as without PyYAML.
    """
    try:
        installed = version("torch").partition("+")[0]
    except PackageNotFoundError as error:
        raise ImportError("torch is not installed") from error
    return _read(installed)


def table_of(torch: str) -> KernelTable:
    """The table of a version: the package's own, else generated from the installed torch.

    Raises:
        FieldError: When there is none, and the installed torch is another or cannot be read.
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
    """Run :mod:`.native_functions` with a folder first on its path."""
    variables = child_environment()
    variables["PYTHONPATH"] = os.pathsep.join(
        filter(None, [folder, variables.get("PYTHONPATH", "")])
    )
    command = module_command("mpstui.kernel_tables.native_functions")
    done = subprocess.run(command, capture_output=True, env=variables, check=False)
    if done.returncode:
        last = done.stderr.decode(errors="replace").strip().rpartition("\n")[2]
        raise ValueError(f"torchgen of torch {torch} cannot be run: {last}")
    return make_table(torch, msgspec.json.decode(done.stdout, type=dict[str, list[str]]))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

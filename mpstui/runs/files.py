"""Reads and replaces small files. Every file of a run's folder is read here.

A run's folder may be damaged, or a stranger's. So only regular files are read, since a FIFO waits
for ever and a device has no end; no more of them than their kind can need; and nothing that a link
brings in from outside. Whatever is wrong becomes one :class:`LogError` with the file and the place.

Replacing is atomic: a reader sees the old or the new file, never a part. On Windows a file that
another process has open cannot be replaced, and a file that is being replaced cannot be opened:
both fail with PermissionError (MoveFileExW and CreateFileW, sharing violation). Readers here keep a
file open for less than a millisecond, so retrying is enough.
"""

from __future__ import annotations

import contextlib
import errno
import io
import os
import re
import stat
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from mpstui.domain.errors import LogError

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

T = TypeVar("T")

_UNFINISHED = re.compile(r"\..+\.[a-z0-9_]{8}")
"""Names that ``tempfile.mkstemp`` draws for ``replace``."""

ATTEMPTS = 40
PAUSE_SECONDS = 0.025
"""Pause between two attempts. The total of one second allows for a virus scanner."""

SETTINGS_BYTES = 1 << 20
"""Most bytes of a file of settings or results, such as config.toml and summary.json."""

TEXT_BYTES = 16 << 20
"""Most bytes of a user's text: a note, a source file, an investigation's report."""

_READ_ONLY = (
    os.O_RDONLY
    | getattr(os, "O_BINARY", 0)  # Windows
    | getattr(os, "O_NOINHERIT", 0)
    | getattr(os, "O_CLOEXEC", 0)  # POSIX
    | getattr(os, "O_NONBLOCK", 0)  # opening a FIFO does not wait for a writer
    | getattr(os, "O_NOCTTY", 0)
)

MOST_KEY_PARTS = 64
"""Parts of a dotted key of TOML: tomllib is quadratic in them, so that 1 MiB may take hours."""


def persist(
    action: Callable[[], T],
    windows: bool = os.name == "nt",
    wait: Callable[[float], None] = time.sleep,
) -> T:
    """Run a file operation, with retries if another process may have the file open.

    Args:
        action: The operation.
        windows: Whether the system locks open files. On other systems PermissionError is
            raised immediately.
        wait: Sleeps for the given seconds.

    Raises:
        PermissionError: If the last attempt fails too.
    """
    for _ in range(ATTEMPTS - 1 if windows else 0):
        try:
            return action()
        except PermissionError:
            wait(PAUSE_SECONDS)
    return action()


def move(source: Path, target: Path) -> None:
    """Replace a file with another one atomically."""
    persist(lambda: os.replace(source, target))


def replace(path: Path, content: bytes, parents: bool = False) -> None:
    """Write a file atomically, through a temporary file beside it.

    Args:
        path: The file.
        content: All of it.
        parents: Whether to create missing folders above it. A run's folder must not be made anew
            by what is written into it: it may just have been deleted.

    Raises:
        OSError: If it cannot be written, or there is no such folder; it names the file.
    """
    try:
        if parents:
            path.parent.mkdir(parents=True, exist_ok=True)
        _replace(path, content)
    except OSError as error:
        if error.errno is not None:  # write() names no file, and mkstemp its own
            error.filename, error.filename2 = str(path), None
        raise


def _replace(path: Path, content: bytes) -> None:
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
        move(Path(temporary), path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise


def remove_unfinished(folder: Path) -> None:
    """Remove what a killed process was writing in a folder: the temporary files of ``replace``."""
    with contextlib.suppress(OSError):
        for name in os.listdir(folder):
            if _UNFINISHED.fullmatch(name):
                (folder / name).unlink(missing_ok=True)


def write_json(path: Path, value: msgspec.Struct, parents: bool = False) -> None:
    """Replace a JSON file; see :func:`replace`."""
    content = msgspec.json.format(msgspec.json.encode(value), indent=2) + b"\n"
    replace(path, content, parents)


def open_file(path: Path, within: Path | None = None) -> io.BufferedReader:
    """Open a regular file for reading, without waiting.

    Args:
        path: The file.
        within: A folder that links must not lead out of.

    Raises:
        OSError: If it cannot be opened, is not a regular file, or is outside of the folder.
    """
    try:
        handle = persist(lambda: _open(path))
    except ValueError as error:  # a null character in the path
        raise OSError(errno.EINVAL, str(error)) from error
    try:
        if not stat.S_ISREG(os.fstat(handle).st_mode):
            raise OSError(errno.EINVAL, "not a regular file")
        if within is not None and not _is_inside(path, within):
            raise OSError(errno.EINVAL, f"a link that leads out of {within.name or within}")
        return os.fdopen(handle, "rb")
    except BaseException:
        os.close(handle)
        raise


def read_bytes(path: Path, at_most: int = SETTINGS_BYTES, within: Path | None = None) -> bytes:
    """Read a regular file whole.

    Args:
        path: The file.
        at_most: Most bytes that it may have.
        within: A folder that links must not lead out of.

    Raises:
        OSError: If it cannot be read, is larger, or :func:`open_file` refuses it.
    """
    with open_file(path, within) as file:
        if os.fstat(file.fileno()).st_size > at_most:
            raise _too_large(at_most)
        content = file.read(at_most + 1)  # it may grow, and some files of a system have no size
    if len(content) > at_most:
        raise _too_large(at_most)
    return content


def load(
    path: Path,
    decode: Callable[[bytes], T],
    at_most: int = SETTINGS_BYTES,
    within: Path | None = None,
) -> T | None:
    """Read and decode a file; None if there is no such file.

    Args:
        path: The file.
        decode: Decodes its content; it raises ValueError for an invalid one.
        at_most: Most bytes that it may have.
        within: A folder that links must not lead out of.

    Raises:
        LogError: If it cannot be read or decoded; the message has the file and the place.
    """
    try:
        return decode(read_bytes(path, at_most, within))
    except FileNotFoundError:
        return None
    except OSError as error:
        problem = f"{error.strerror or error}; allowed: a file that can be read"
        raise LogError(f"{path}: {problem}") from error
    except UnicodeDecodeError as error:
        problem = f"byte {error.start:,} is not UTF-8 ({error.reason})"
        raise LogError(f"{path}: {problem}; allowed: a text file in UTF-8") from error
    except RecursionError as error:
        raise LogError(f"{path}: nested too deeply; allowed: what mpstui wrote there") from error
    except ValueError as error:  # of msgspec and tomllib too
        raise LogError(f"{path}: {error}; allowed: what mpstui wrote there") from error


def read_json(
    path: Path, kind: type[T], at_most: int = SETTINGS_BYTES, within: Path | None = None
) -> T | None:
    """Read a JSON file's value; None if there is no such file. See :func:`load`."""
    return load(path, lambda content: msgspec.json.decode(content, type=kind), at_most, within)


def read_toml(path: Path, within: Path | None = None) -> dict[str, Any] | None:
    """Read a TOML file's table; None if there is no such file. See :func:`load`."""
    return load(path, _decode_toml, within=within)


def read_text(path: Path, at_most: int = TEXT_BYTES, within: Path | None = None) -> str | None:
    """Read a text file in UTF-8; None if there is no such file. See :func:`load`."""
    return load(path, bytes.decode, at_most, within)


def _open(path: Path) -> int:
    try:
        return os.open(path, _READ_ONLY)
    except PermissionError:
        if os.name == "nt" and path.is_dir():  # nobody holds it: no other attempt helps
            raise IsADirectoryError(errno.EISDIR, "a folder, not a file") from None
        raise


def _is_inside(path: Path, folder: Path) -> bool:
    real_folder = os.path.join(os.path.realpath(folder), "")
    return os.path.realpath(path).startswith(real_folder)


def _too_large(at_most: int) -> OSError:
    return OSError(errno.EFBIG, f"larger than {at_most >> 20} MiB")


def _decode_toml(content: bytes) -> dict[str, Any]:
    text = content.decode()
    for number, line in enumerate(text.splitlines(), 1):
        if _key_parts(line) > MOST_KEY_PARTS:
            raise ValueError(f"line {number:,} has a key of more than {MOST_KEY_PARTS} parts")
    table: dict[str, Any] = tomllib.loads(text)
    return table


def _key_parts(line: str) -> int:
    """Return at least how many parts a line's longest key has; dots of a plain text don't count."""
    key, _, value = line.partition("=")
    is_text = value.lstrip()[:1] in ("'", '"') and not {"'", '"'} & set(key)
    return (key if is_text else line).count(".") + 1

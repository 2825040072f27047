"""A table from an import error's text to its cause and a remedy.

The texts are errors that users reported, as each row's thread quotes them. The first row that
matches counts. A text that no row matches has no known cause, and none is guessed.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import NamedTuple

from . import import_remedies as remedies
from .check import THREAD
from .import_remedies import BrokenPackage, Remedy


class Meaning(NamedTuple):
    """A row of the table: a pattern of error texts, with their cause and remedy."""

    pattern: str
    """A regular expression, searched for in the whole text, ignoring case."""
    cause: str
    """One line; ``{0}``, ``{1}`` are the pattern's groups, ``{package}`` is the package."""
    remedy: Callable[[BrokenPackage], Remedy]
    source: str


def meaning_of(error: str) -> Meaning | None:
    """Return the first row that matches an error's text; None when no row does."""
    return next((row for row in MEANINGS if re.search(row.pattern, error, re.I | re.S)), None)


def cause_of(row: Meaning, broken: BrokenPackage) -> str:
    """Return a row's cause, with the pattern's groups and the package filled in."""
    match = re.search(row.pattern, broken.error, re.I | re.S)
    groups = [group or "" for group in match.groups()] if match else []
    return row.cause.format(*groups, package=broken.package)


MEANINGS = (
    Meaning(
        r"OMP: Error #15|multiple copies of the OpenMP runtime",
        "two OpenMP runtimes are loaded into one process",
        remedies.clean_environment,
        f"{THREAD}78490; pytorch/vision#6087",
    ),
    Meaning(
        r"undefined symbol: ((?:__nvJitLink|cublas|cudnn|cusparse|cusolver|cufft|nccl)\w*)",
        "LD_LIBRARY_PATH puts another CUDA's libraries before the wheel's; they lack {0}",
        remedies.library_path,
        f"{THREAD}111469, 134929; infiniflow/ragflow#4466",
    ),
    Meaning(
        r"undefined symbol: (iJIT_NotifyEvent)",
        "the MKL that is loaded is newer than this torch knows ({0} is missing in it)",
        remedies.mkl,
        f"{THREAD}123097",
    ),
    Meaning(
        r"WinError 1455|paging file is too small|cannot allocate memory|MemoryError|bad_alloc",
        "the system had no memory left",
        remedies.memory,
        f"{THREAD}59904",
    ),
    Meaning(
        r"WinError 193|not a valid Win32|invalid ELF header|file too short|wrong ELF class",
        "a binary of {package} is damaged, or made for another machine",
        remedies.reinstall_owner,
        "dlopen(3); Windows' ERROR_BAD_EXE_FORMAT",
    ),
    Meaning(
        r"WinError (?:126|127|1114)|DLL load failed",
        "a library of Windows that {package} needs is missing: the Visual C++ runtime",
        remedies.visual_c,
        f"{THREAD}131662, 129568",
    ),
    Meaning(
        r"incompatible architecture \(have \(?'?(\w+)'?\)?, need \(?'?(\w+)|wrong architecture",
        "a binary of {package} was made for another processor",
        remedies.architecture,
        "python-pillow/Pillow#6910; ihaveamac/custom-install#70",
    ),
    Meaning(
        r"built for macOS ([\d.]+) which is newer|which was built for Mac OS X ([\d.]+)",
        "{package} was built for a newer macOS ({0}{1})",
        remedies.newer_macos,
        "dyld's missing-symbol message; valentinocossar in tomvachon/dpaf#1",
    ),
    Meaning(
        r"version `(GLIBC_[\d.]+)' not found",
        "this Linux's glibc is older than {package} needs ({0})",
        remedies.newer_glibc,
        f"{THREAD}150724",
    ),
    Meaning(
        r"version `((?:GLIBCXX|CXXABI)_[\d.]+)' not found",
        "the libstdc++ that is loaded is older than {package} needs ({0})",
        remedies.newer_libstdcxx,
        f"{THREAD}87279, 115138",
    ),
    Meaning(
        r"_ARRAY_API not found|compiled using NumPy 1|core.multiarray failed to import"
        r"|Numpy is not available|numpy.dtype size changed",
        "{package} and what uses it were made for different NumPy releases (1 and 2)",
        remedies.numpy,
        f"{THREAD}135013",
    ),
    Meaning(
        r"operator torchvision::\w+ does not exist"
        r"|torchvision\S*: undefined symbol|torchvision\S*\.so.*Symbol not found",
        "torchvision was built for another torch than the one that is installed",
        remedies.pair,
        f"{THREAD}157648; pytorch/vision#8985",
    ),
    Meaning(
        r"\bPIL\b.*_imaging|_imaging|numpy C-extensions failed|_multiarray_umath",
        "a binary of {package} is missing or does not fit this Python",
        remedies.reinstall_owner,
        "piwheels/packages#252; numpy/numpy#16057",
    ),
    Meaning(
        r"(lib(?:cu|nv|nccl)\w*\.so[.\d]*): cannot open shared object",
        "{0} is missing: a package that torch requires is not installed whole",
        remedies.reinstall_with_dependencies,
        f"{THREAD}51080",
    ),
    Meaning(
        r"(lib\S+\.so[.\d]*): cannot open shared object",
        "{0}, a library of the system, is missing",
        remedies.system_library,
        "dlopen(3)",
    ),
    Meaning(
        r"Library not loaded: (\S+)|undefined symbol: (\S+)|Symbol not found: (\S+)",
        "libraries of {package} do not fit each other ({0}{1}{2}), as after half an update",
        remedies.reinstall,
        f"{THREAD}36941",
    ),
    Meaning(
        r"SIGILL|Illegal instruction",
        "this processor lacks instructions that {package} was built with",
        remedies.other_cpu,
        "signal(7)",
    ),
)
"""In order: a row comes before those whose patterns also match its texts."""

"""What an import error means: a table from its text to a cause and a remedy.

The texts are those that people met, as the thread of each row quotes them. The first row that fits
counts. A text that is in no row has no known cause, and none is made up for it.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import NamedTuple

from mpstui.domain.facts import Facts
from mpstui.domain.shell import pip_install, shell_of

from .base import THREAD, memory_first
from .upstream import older_torch

Remedy = tuple[str, tuple[str, ...]]
"""Words, and commands to copy."""


class Broken(NamedTuple):
    """A package that cannot be imported."""

    facts: Facts
    package: str
    """As it is installed: ``torch``, ``pillow``."""
    error: str


class Meaning(NamedTuple):
    """What a text says."""

    pattern: str
    """Searched for in the whole text, in any case."""
    cause: str
    """In one line; ``{0}``, ``{1}`` are the pattern's groups, ``{package}`` the package."""
    remedy: Callable[[Broken], Remedy]
    source: str


def meaning_of(error: str) -> Meaning | None:
    """The row that an error's text fits; None when there is none."""
    return next((row for row in MEANINGS if re.search(row.pattern, error, re.I | re.S)), None)


def cause_of(row: Meaning, broken: Broken) -> str:
    """A row's cause, with what the text and the package are called filled in."""
    found = re.search(row.pattern, broken.error, re.I | re.S)
    groups = [group or "" for group in found.groups()] if found else []
    return row.cause.format(*groups, package=broken.package)


def afresh(broken: Broken) -> Remedy:
    """Install the one package afresh, without a wheel from pip's cache and without its needs."""
    words = ("--force-reinstall", "--no-deps", "--no-cache-dir", _requirement(broken))
    command = pip_install(broken.facts.machine, *words, *_index(broken))
    return f"Install {broken.package} afresh with this Python.", (command,)


def whose(broken: Broken) -> str:
    """The package that the text itself names: importing torchvision imports Pillow, too."""
    for package, names in {"pillow": r"\bPIL\b|_imaging", "numpy": r"_multiarray_umath"}.items():
        if re.search(names, broken.error):
            return package
    return broken.package


def _requirement(broken: Broken) -> str:
    machine = broken.facts.machine
    versions = {"torch": machine.torch, "torchvision": machine.torchvision}
    version = versions.get(broken.package)
    return f"{broken.package}=={version}" if version else broken.package


def _index(broken: Broken) -> tuple[str, ...]:
    """Where a wheel with a local version, such as 2.14.1+cu126, came from."""
    local = re.search(r"\+((?:cu|cpu|rocm|xpu)[\d.]*)", _requirement(broken))
    return ("--index-url", f"https://download.pytorch.org/whl/{local[1]}") if local else ()


def _owner_afresh(broken: Broken) -> Remedy:
    return afresh(broken._replace(package=whose(broken)))


def _pair(broken: Broken) -> Remedy:
    command = pip_install(broken.facts.machine, "--upgrade", "torch", "torchvision")
    return "Install torch and torchvision together, so that they fit.", (command,)


def _with_its_needs(broken: Broken) -> Remedy:
    command = pip_install(broken.facts.machine, "--force-reinstall", _requirement(broken))
    return f"Install {broken.package} afresh, with the packages that it requires.", (command,)


def _clean_environment(broken: Broken) -> Remedy:
    machine = broken.facts.machine
    python = machine.environment.executable if machine.environment else "python"
    commands: tuple[str, ...] = ()
    if machine.environment is None or machine.environment.kind != "conda":
        shell = shell_of(machine)
        commands = (shell.words(python, "-m", "venv", "clean"), shell.activate("clean"))
    return (
        "Make a clean environment, and install all of it with one package manager: pip alone, or "
        "conda alone. KMP_DUPLICATE_LIB_OK only hides it; results can be wrong then.",
        commands,
    )


def _library_path(broken: Broken) -> Remedy:
    command = shell_of(broken.facts.machine).unset_variable("LD_LIBRARY_PATH")
    return (
        "The wheel brings its own CUDA libraries. Unset LD_LIBRARY_PATH, here and in your shell's "
        "start files.",
        (command,),
    )


def _visual_c(_: Broken) -> Remedy:
    return (
        "Install the Microsoft Visual C++ Redistributable, for x64: "
        "https://aka.ms/vs/17/release/vc_redist.x64.exe. Then open a new terminal.",
        ("winget install Microsoft.VCRedist.2015+.x64",),
    )


def _memory(broken: Broken) -> Remedy:
    return memory_first(broken.facts.machine)


def _numpy(broken: Broken) -> Remedy:
    command = pip_install(broken.facts.machine, "--upgrade", "numpy", "torch", "torchvision")
    return "Bring NumPy and what was compiled for it to versions of one time.", (command,)


def _architecture(broken: Broken) -> Remedy:
    machine = broken.facts.machine
    if machine.translated or (machine.apple_silicon and machine.python_arch != "arm64"):
        return "Use an arm64 Python, in a new environment; see arm64 Python.", ()
    return _owner_afresh(broken)


def _newer_macos(broken: Broken) -> Remedy:
    older = older_torch(broken.facts.machine, None) if broken.package != "pillow" else ""
    words = "Update macOS, or install a release that was built for this one."
    command = pip_install(broken.facts.machine, older, "torchvision") if older else ""
    return words, (command,) if command else ()


def _newer_glibc(_: Broken) -> Remedy:
    return (
        "Use a newer Linux, or a container with one; `ldd --version` shows this one's glibc. "
        "Never replace the system's glibc by hand.",
        ("ldd --version",),
    )


def _newer_libstdcxx(broken: Broken) -> Remedy:
    machine = broken.facts.machine
    if machine.environment and machine.environment.kind == "conda":
        command = f"conda install -p {machine.environment.folder} -c conda-forge libstdcxx-ng"
        return "Give this conda environment a newer libstdc++.", (command,)
    return (
        "If LD_LIBRARY_PATH names an older libstdc++, unset it; otherwise use a newer Linux.",
        (shell_of(machine).unset_variable("LD_LIBRARY_PATH"),),
    )


def _mkl(broken: Broken) -> Remedy:
    environment = broken.facts.machine.environment
    where = f"-p {environment.folder} " if environment and environment.kind == "conda" else ""
    return "Conda's MKL is newer than this torch knows.", (f"conda install {where}'mkl<2024.1'",)


def _system_library(_: Broken) -> Remedy:
    return "Install the system's package that has this library; installing torch adds none.", ()


def _other_cpu(_: Broken) -> Remedy:
    return (
        "Use another machine, or build torch from source; installing it again changes nothing.",
        (),
    )


MEANINGS = (
    Meaning(
        r"OMP: Error #15|multiple copies of the OpenMP runtime",
        "two OpenMP runtimes are loaded into one process",
        _clean_environment,
        f"{THREAD}78490; pytorch/vision#6087",
    ),
    Meaning(
        r"undefined symbol: ((?:__nvJitLink|cublas|cudnn|cusparse|cusolver|cufft|nccl)\w*)",
        "LD_LIBRARY_PATH puts another CUDA's libraries before the wheel's; they lack {0}",
        _library_path,
        f"{THREAD}111469, 134929; infiniflow/ragflow#4466",
    ),
    Meaning(
        r"undefined symbol: (iJIT_NotifyEvent)",
        "the MKL that is loaded is newer than this torch knows ({0} is missing in it)",
        _mkl,
        f"{THREAD}123097",
    ),
    Meaning(
        r"WinError 1455|paging file is too small|cannot allocate memory|MemoryError|bad_alloc",
        "the system had no memory left",
        _memory,
        f"{THREAD}59904",
    ),
    Meaning(
        r"WinError 193|not a valid Win32|invalid ELF header|file too short|wrong ELF class",
        "a binary of {package} is damaged, or made for another machine",
        _owner_afresh,
        "dlopen(3); Windows' ERROR_BAD_EXE_FORMAT",
    ),
    Meaning(
        r"WinError (?:126|127|1114)|DLL load failed",
        "a library of Windows that {package} needs is missing: the Visual C++ runtime",
        _visual_c,
        f"{THREAD}131662, 129568",
    ),
    Meaning(
        r"incompatible architecture \(have \(?'?(\w+)'?\)?, need \(?'?(\w+)|wrong architecture",
        "a binary of {package} was made for another processor",
        _architecture,
        "python-pillow/Pillow#6910; ihaveamac/custom-install#70",
    ),
    Meaning(
        r"built for macOS ([\d.]+) which is newer|which was built for Mac OS X ([\d.]+)",
        "{package} was built for a newer macOS ({0}{1})",
        _newer_macos,
        "dyld's missing-symbol message; valentinocossar in tomvachon/dpaf#1",
    ),
    Meaning(
        r"version `(GLIBC_[\d.]+)' not found",
        "this Linux's glibc is older than {package} needs ({0})",
        _newer_glibc,
        f"{THREAD}150724",
    ),
    Meaning(
        r"version `((?:GLIBCXX|CXXABI)_[\d.]+)' not found",
        "the libstdc++ that is loaded is older than {package} needs ({0})",
        _newer_libstdcxx,
        f"{THREAD}87279, 115138",
    ),
    Meaning(
        r"_ARRAY_API not found|compiled using NumPy 1|core.multiarray failed to import"
        r"|Numpy is not available|numpy.dtype size changed",
        "{package} and what uses it were made for different NumPy releases (1 and 2)",
        _numpy,
        f"{THREAD}135013",
    ),
    Meaning(
        r"operator torchvision::\w+ does not exist"
        r"|torchvision\S*: undefined symbol|torchvision\S*\.so.*Symbol not found",
        "torchvision was built for another torch than the one that is installed",
        _pair,
        f"{THREAD}157648; pytorch/vision#8985",
    ),
    Meaning(
        r"\bPIL\b.*_imaging|_imaging|numpy C-extensions failed|_multiarray_umath",
        "a binary of {package} is missing or does not fit this Python",
        _owner_afresh,
        "piwheels/packages#252; numpy/numpy#16057",
    ),
    Meaning(
        r"(lib(?:cu|nv|nccl)\w*\.so[.\d]*): cannot open shared object",
        "{0} is missing: a package that torch requires is not installed whole",
        _with_its_needs,
        f"{THREAD}51080",
    ),
    Meaning(
        r"(lib\S+\.so[.\d]*): cannot open shared object",
        "{0}, a library of the system, is missing",
        _system_library,
        "dlopen(3)",
    ),
    Meaning(
        r"Library not loaded: (\S+)|undefined symbol: (\S+)|Symbol not found: (\S+)",
        "libraries of {package} do not fit each other ({0}{1}{2}), as after half an update",
        afresh,
        f"{THREAD}36941",
    ),
    Meaning(
        r"SIGILL|Illegal instruction",
        "this processor lacks instructions that {package} was built with",
        _other_cpu,
        "signal(7)",
    ),
)
"""Ordered: a row stands before those whose patterns also fit its texts."""

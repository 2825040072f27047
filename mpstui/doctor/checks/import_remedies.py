"""Remedies for packages that cannot be imported."""

from __future__ import annotations

import re
from typing import NamedTuple

from mpstui.domain.facts import DoctorFacts
from mpstui.domain.shell import pip_install, shell_of

from .check import out_of_memory_remedy
from .upstream import WHEEL_INDEX, older_torch

Remedy = tuple[str, tuple[str, ...]]
"""A sentence, and commands to copy."""


class BrokenPackage(NamedTuple):
    """A package that cannot be imported."""

    facts: DoctorFacts
    package: str
    """The name of its distribution: ``torch``, ``pillow``."""
    error: str


def reinstall(broken: BrokenPackage) -> Remedy:
    """Reinstall one package, without pip's cache and without its dependencies."""
    arguments = ("--force-reinstall", "--no-deps", "--no-cache-dir", _requirement(broken))
    command = pip_install(broken.facts.machine, *arguments, *_index(broken))
    return f"Reinstall {broken.package} with this Python.", (command,)


def owner_of(broken: BrokenPackage) -> str:
    """Return the package that the error names: importing torchvision imports Pillow, too."""
    for package, names in {"pillow": r"\bPIL\b|_imaging", "numpy": r"_multiarray_umath"}.items():
        if re.search(names, broken.error):
            return package
    return broken.package


def _requirement(broken: BrokenPackage) -> str:
    machine = broken.facts.machine
    versions = {"torch": machine.torch, "torchvision": machine.torchvision}
    version = versions.get(broken.package)
    return f"{broken.package}=={version}" if version else broken.package


def _index(broken: BrokenPackage) -> tuple[str, ...]:
    """Return the index options of a wheel with a local version, such as 2.14.1+cu126."""
    local = re.search(r"\+((?:cu|cpu|rocm|xpu)[\d.]*)", _requirement(broken))
    return ("--index-url", f"{WHEEL_INDEX}{local[1]}") if local else ()


def reinstall_owner(broken: BrokenPackage) -> Remedy:
    """Reinstall the package that the error names."""
    return reinstall(broken._replace(package=owner_of(broken)))


def pair(broken: BrokenPackage) -> Remedy:
    """Install torch and torchvision together."""
    command = pip_install(broken.facts.machine, "--upgrade", "torch", "torchvision")
    return "Install torch and torchvision together, so that they fit.", (command,)


def reinstall_with_dependencies(broken: BrokenPackage) -> Remedy:
    """Reinstall a package and its dependencies."""
    command = pip_install(broken.facts.machine, "--force-reinstall", _requirement(broken))
    return f"Reinstall {broken.package} and the packages that it requires.", (command,)


def clean_environment(broken: BrokenPackage) -> Remedy:
    """Make an environment with one OpenMP runtime."""
    machine = broken.facts.machine
    python = machine.environment.executable if machine.environment else "python"
    commands: tuple[str, ...] = ()
    if machine.environment is None or machine.environment.kind != "conda":
        shell = shell_of(machine)
        commands = (shell.command(python, "-m", "venv", "clean"), shell.activate("clean"))
    return (
        "Make a clean environment, and install all of it with one package manager: pip alone, or "
        "conda alone. KMP_DUPLICATE_LIB_OK only hides it; results can be wrong then.",
        commands,
    )


def library_path(broken: BrokenPackage) -> Remedy:
    """Keep the system's CUDA libraries out of the way."""
    command = shell_of(broken.facts.machine).unset_variable("LD_LIBRARY_PATH")
    return (
        "The wheel brings its own CUDA libraries. Unset LD_LIBRARY_PATH, here and in your shell's "
        "start files.",
        (command,),
    )


def visual_c(_: BrokenPackage) -> Remedy:
    """Install the runtime of programs built with Microsoft's compiler."""
    return (
        "Install the Microsoft Visual C++ Redistributable, for x64: "
        "https://aka.ms/vs/17/release/vc_redist.x64.exe. Then open a new terminal.",
        ("winget install Microsoft.VCRedist.2015+.x64",),
    )


def memory(broken: BrokenPackage) -> Remedy:
    """Check whether memory ran out."""
    return out_of_memory_remedy(broken.facts.machine)


def numpy(broken: BrokenPackage) -> Remedy:
    """Install matching versions of NumPy and the packages compiled for it."""
    command = pip_install(broken.facts.machine, "--upgrade", "numpy", "torch", "torchvision")
    return "Update NumPy and the packages compiled for it together.", (command,)


def architecture(broken: BrokenPackage) -> Remedy:
    """Install binaries for this processor, or use the Python that is made for it."""
    machine = broken.facts.machine
    if machine.translated or (machine.apple_silicon and machine.python_arch != "arm64"):
        return "Use an arm64 Python, in a new environment; see arm64 Python.", ()
    return reinstall_owner(broken)


def newer_macos(broken: BrokenPackage) -> Remedy:
    """Use a newer macOS, or an older package."""
    older = older_torch(broken.facts.machine, None) if broken.package.startswith("torch") else ""
    remedy = "Update macOS, or install a release that was built for this one."
    command = pip_install(broken.facts.machine, older, "torchvision") if older else ""
    return remedy, (command,) if command else ()


def newer_glibc(_: BrokenPackage) -> Remedy:
    """Use a newer Linux."""
    return (
        "Use a newer Linux, or a container with one; `ldd --version` shows this one's glibc. "
        "Never replace the system's glibc by hand.",
        ("ldd --version",),
    )


def newer_libstdcxx(broken: BrokenPackage) -> Remedy:
    """Use a newer libstdc++."""
    machine = broken.facts.machine
    if machine.environment and machine.environment.kind == "conda":
        command = f"conda install -p {machine.environment.folder} -c conda-forge libstdcxx-ng"
        return "Give this conda environment a newer libstdc++.", (command,)
    return (
        "If LD_LIBRARY_PATH names an older libstdc++, unset it; otherwise use a newer Linux.",
        (shell_of(machine).unset_variable("LD_LIBRARY_PATH"),),
    )


def mkl(broken: BrokenPackage) -> Remedy:
    """Use an older MKL."""
    environment = broken.facts.machine.environment
    where = f"-p {environment.folder} " if environment and environment.kind == "conda" else ""
    return "Install an older MKL.", (f"conda install {where}'mkl<2024.1'",)


def system_library(_: BrokenPackage) -> Remedy:
    """Install a library of the system."""
    return "Install the system's package that has this library; installing torch adds none.", ()


def other_cpu(_: BrokenPackage) -> Remedy:
    """State that reinstalling does not help."""
    return (
        "Use another machine, or build torch from source; installing it again changes nothing.",
        (),
    )

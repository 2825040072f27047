"""What is installed, in which Python, and whether it can be imported."""

from __future__ import annotations

import re

from mpstui.doctor.probes import TORCH_MISSING
from mpstui.domain.facts import Facts, ImportFact, Need, TorchFacts
from mpstui.domain.findings import Status
from mpstui.domain.machine import Machine
from mpstui.domain.shell import pip_install, shell_of

from .base import PROBING, Check, Verdict, ok, undecided, unknown
from .import_errors import Broken, afresh, cause_of, meaning_of, whose
from .upstream import PAIRS, TORCH_FROM, no_wheel, torch_release

GROUP = "Torch"

PATH = "PYTHONPATH"


def _python(facts: Facts) -> Verdict:
    """Which Python was judged: a notebook or another terminal may run another one."""
    machine, environment = facts.machine, facts.machine.environment
    if environment is None:
        return ok(machine.python, "Its environment was not read.")
    where = {
        "venv": f"in {environment.name}",
        "uv": f"in uv's {environment.name}",
        "conda": f"in conda's {environment.name}",
        "system": "in no environment",
    }[environment.kind]
    summary = f"{machine.python} {where}: {environment.executable}"
    if environment.managed:
        return Verdict(
            Status.WARN,
            summary,
            "The system's package manager owns this Python: pip refuses to install into it.",
            "Make a virtual environment, and install mpstui and torch there.",
            (shell_of(machine).words(environment.executable, "-m", "venv", ".venv"),),
            "every remedy that installs something",
        )
    reason = "All of this holds for this Python, and for no other."
    if environment.kind == "conda":
        reason += " Packages of conda and of pip can bring two OpenMP runtimes: use one of them."
    return ok(summary, reason)


def wheel_origin(version: str, cuda: str | None) -> str:
    """What a torch was built for, by its version's local part and the CUDA version that it names.

    Args:
        version: Such as ``2.14.1+cu130``.
        cuda: ``torch.version.cuda``.
    """
    local = version.partition("+")[2]
    if local == "cpu":
        return "CPU-only wheel"
    if found := re.fullmatch(r"cu(\d+)(\d)", local):
        return f"wheel for CUDA {found[1]}.{found[2]}"
    if found := re.match(r"rocm([\d.]+)", local):
        return f"wheel for ROCm {found[1].rstrip('.')}"
    if local == "xpu":
        return "wheel for Intel GPUs (XPU)"
    if local.startswith("git"):
        return "built from source"
    return f"built for CUDA {cuda}" if cuda else "built without CUDA"


def release(version: str) -> str:
    """``stable``, ``nightly of 2026-11-20`` or ``release candidate``."""
    if found := re.search(r"\.dev(\d{4})(\d\d)(\d\d)", version):
        return f"nightly of {found[1]}-{found[2]}-{found[3]}"
    if re.search(r"\d+\.\d+\.\d+rc\d", version):
        return "release candidate"
    return "pre-release" if re.search(r"\.\d+a\d", version) else "stable"


def _torch(facts: Facts) -> Verdict:
    machine, torch = facts.machine, facts.torch
    if torch is not None:
        return _imported_torch(facts, torch)
    if facts.torch_state == "probing":
        return unknown(f"{machine.torch or 'no package metadata'} {PROBING}")
    if facts.torch_state == "undecided":
        named = f"torch {machine.torch}" if machine.torch else "torch"
        return undecided(facts, named, facts.torch_error, "torch-installed")
    if facts.torch_error == TORCH_MISSING and machine.torch is None:
        remedy, commands = _install(facts, "Install it.")
        return Verdict(
            Status.FAIL, "not installed", _why_missing(machine), remedy, commands, "every run"
        )
    fact = facts.torch_import or ImportFact(
        package="torch", imported=False, version=machine.torch, error=facts.torch_error
    )
    return _broken(facts, fact, "every run")


def _why_missing(machine: Machine) -> str:
    if machine.mac:
        plain = "PyTorch's indexes for CUDA have no wheels for macOS: leave --index-url out."
        return f"{no_wheel(machine)} {plain}".strip()
    return no_wheel(machine)


def _imported_torch(facts: Facts, torch: TorchFacts) -> Verdict:
    machine, version = facts.machine, torch.version
    fact = facts.imported("torch")
    if fact is not None and fact.shadows and machine.torch not in (None, version):
        return Verdict(
            Status.WARN,
            f"{version} comes before the installed {machine.torch}: {fact.path}",
            "Python takes the first torch on its path.",
            *_out_of_the_way(facts, fact),
            affects="every run",
        )
    origin = wheel_origin(version, torch.cuda)
    by = f", by {machine.torch_installer}" if machine.torch_installer else ""
    tag = f"; tag {machine.torch_tag}" if machine.torch_tag else ""
    imported = f"Imported in {torch.import_seconds:.1f} s{by}{tag}."
    if (torch_release(version) or TORCH_FROM) < TORCH_FROM:
        return _too_old(facts, version)
    return ok(f"{version}, {origin}, {release(version)}", imported)


def _broken(facts: Facts, fact: ImportFact, affects: str) -> Verdict:
    """Why a package cannot be imported, as far as its error and its place tell."""
    error = " ".join(fact.error.split())
    broken = Broken(facts, fact.package, error)
    if "No module named" in error and not fact.path:
        if fact.version is None:
            command = pip_install(facts.machine, fact.package)
            return Verdict(Status.FAIL, "not installed", "", "Install it.", (command,), affects)
        return Verdict(
            Status.FAIL,
            f"its files are gone; its metadata, {fact.version}, is still there",
            "Half an uninstall leaves this. Pip then calls the requirement satisfied already.",
            *afresh(broken),
            affects=affects,
        )
    if fact.shadows:
        return Verdict(
            Status.FAIL,
            f"cannot be imported: another {fact.package} comes first, {fact.path}",
            error,
            *_out_of_the_way(facts, fact),
            affects=affects,
        )
    row = meaning_of(error)
    if row is not None:
        cause = cause_of(row, broken._replace(package=whose(broken)))
        return Verdict(
            Status.FAIL,
            f"cannot be imported: {cause}",
            error[:1500],
            *row.remedy(broken),
            affects=affects,
        )
    if "has no __version__" in error or "partially initialized" in error:
        return Verdict(
            Status.FAIL,
            f"cannot be imported: what is at {fact.path or 'its place'} is not all of it",
            error,
            *afresh(broken),
            affects=affects,
        )
    remedy, commands = _install(
        facts,
        "What it means is not known here. If the installation is damaged, install it afresh.",
        *("--force-reinstall",),
    )
    reason = " ".join(filter(None, (error[:1500], no_wheel(facts.machine))))
    return Verdict(Status.FAIL, "cannot be imported", reason, remedy, commands, affects)


def _out_of_the_way(facts: Facts, fact: ImportFact) -> tuple[str, tuple[str, ...]]:
    words = f"Rename {fact.path}, or take its folder out of {PATH}."
    return words, (shell_of(facts.machine).unset_variable(PATH),)


def _too_old(facts: Facts, version: str) -> Verdict:
    """A torch that our own metadata refuses; pip installs none such beside mpstui."""
    least = ".".join(map(str, TORCH_FROM))
    remedy, commands = _install(facts, "Install a newer one.", "--upgrade")
    return Verdict(
        Status.WARN,
        f"{version} is older than what mpstui asks for, torch>={least}",
        no_wheel(facts.machine) or "mpstui was not tried with it.",
        remedy,
        commands,
        "every run",
    )


def _install(facts: Facts, remedy: str, *options: str) -> tuple[str, tuple[str, ...]]:
    """A remedy that installs torch, where the package index has one for the machine."""
    machine = facts.machine
    if not no_wheel(machine):
        return remedy, (pip_install(machine, "torch", "torchvision", *options),)
    if machine.apple_silicon:
        return "Use an arm64 Python; see arm64 Python.", ()
    if machine.windows:
        return "An x86_64 Python runs there under emulation; mpstui was not tried so.", ()
    return "Build torch from source, or use another machine.", ()


def _torchvision(facts: Facts) -> Verdict:
    vision, fact = facts.machine.torchvision, facts.imported("torchvision")
    torch = facts.torch.version if facts.torch else facts.machine.torch
    if vision is None and (fact is None or not fact.imported):
        return Verdict(
            Status.WARN,
            "not installed",
            "The reference pipeline, the article's script as it stands, needs it.",
            "Install it.",
            (pip_install(facts.machine, "torchvision"),),
        )
    if vision and (mismatch := _mismatch(torch or "", vision, facts.machine.torchvision_requires)):
        failed = fact is not None and fact.imported is False
        return Verdict(
            Status.FAIL if failed else Status.WARN,
            mismatch,
            "By torchvision's own metadata."
            if facts.machine.torchvision_requires
            else "Torchvision's metadata does not say which torch it needs; its wheels' does.",
            "Install the pair together.",
            (pip_install(facts.machine, "torch", "torchvision", "--upgrade"),),
            "the reference pipeline",
        )
    if _is_for_pillow(facts, fact):
        summary = "cannot be imported, since Pillow cannot"
        return Verdict(Status.FAIL, summary, "", "See Pillow.", affects="the reference pipeline")
    return _judged(facts, "torchvision", vision, "the reference pipeline, and MNIST's download")


def _is_for_pillow(facts: Facts, fact: ImportFact | None) -> bool:
    pillow = facts.imported("pillow")
    if fact is None or fact.imported is not False or pillow is None or pillow.imported:
        return False
    return whose(Broken(facts, "torchvision", fact.error)) == "pillow"


def _numpy(facts: Facts) -> Verdict:
    return _judged(facts, "numpy", None, "every run")


def _pillow(facts: Facts) -> Verdict:
    return _judged(facts, "pillow", None, "every run: samples are written as pictures")


def _judged(facts: Facts, package: str, version: str | None, affects: str) -> Verdict:
    """A package by what importing it showed."""
    fact = facts.imported(package)
    if fact is None and facts.torch is None:
        if facts.torch_state == "probing":
            return unknown(f"{version or ''} {PROBING}".strip())
        return unknown("was not imported, since torch could not be", facts.torch_error)
    if fact is None:
        return ok(version) if version else unknown("was not imported")
    if fact.imported is None:
        return undecided(facts, package, fact.error, f"{package}-installed")
    if fact.imported is False:
        return _broken(facts, fact, affects)
    if fact.shadows:
        return ok(f"{fact.version}", f"Imported from {fact.path}.")
    return ok(f"{fact.version}")


def _mismatch(torch: str, vision: str, requires: str | None) -> str:
    """Why the two do not go together; empty when they do, or when it is not known.

    Torchvision's own metadata says which torch it goes with: one version up to 0.28, and
    ``torch>=2.14.0`` from 0.29 on. Where there is none, as in a build from source, the wheels of
    the same torchvision are needs; of one that is not in :data:`PAIRS` nothing is known.
    """
    from packaging.requirements import InvalidRequirement, Requirement
    from packaging.version import InvalidVersion, Version

    release = re.match(r"0\.\d+(?=\.)", vision)
    pair = PAIRS.get(release[0]) if release else None
    needs = requires or (f"torch{pair}" if pair else "torch")
    try:
        fits = Requirement(needs).specifier.contains(Version(torch), prereleases=True)
    except (InvalidRequirement, InvalidVersion):
        return ""
    return "" if fits else f"{vision} needs {needs}, but torch is {torch}"


CHECKS = (
    Check("python", GROUP, "Python", Need.MACHINE, _python),
    Check("torch-installed", GROUP, "torch", Need.MACHINE, _torch),
    Check("torchvision-installed", GROUP, "torchvision", Need.MACHINE, _torchvision),
    Check("numpy-installed", GROUP, "NumPy", Need.MACHINE, _numpy),
    Check("pillow-installed", GROUP, "Pillow", Need.MACHINE, _pillow),
)

IMPORTED = tuple(check.id for check in CHECKS if check.id.endswith("-installed"))
"""Checks that say what they can at once, and the rest once torch has answered."""
